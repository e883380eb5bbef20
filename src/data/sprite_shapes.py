"""The twelve sprites: signed distances in a frame where the object fills a box of side 1 around (0, 0).

All look the same in a mirror (left to right), and none is what a straight cut leaves of another, but for cuts from
straight below. x points right, y up. Only element-wise IEEE arithmetic, as in rendering.py.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np

from .rendering import circle, heart, square, triangle
from .scenes import Shape

Point = tuple[float, float]


def polygon(corners: list[Point]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The exact signed distance to a simple polygon: the nearest side, negative where a ray leaves it an odd number
    of times."""
    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, x.dtype)  # squared
        inside = np.zeros(nearest.shape, bool)
        for (x0, y0), (x1, y1) in sides:
            along_x, along_y = x1 - x0, y1 - y0
            right, up = x - x0, y - y0
            share = (right * along_x + up * along_y) * (1 / (along_x * along_x + along_y * along_y))
            share = np.clip(share, 0, 1)
            off_x, off_y = right - share * along_x, up - share * along_y
            nearest = np.minimum(nearest, off_x * off_x + off_y * off_y)
            if y0 != y1:
                inside ^= ((y < y0) != (y < y1)) & (right < up * (along_x / along_y))
        root = np.sqrt(nearest)
        return np.where(inside, -root, root)

    return distance


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ring of outer diameter 1 and inner diameter 0.5."""
    return np.abs(np.sqrt(x * x + y * y) - 0.375) - 0.125


def half_disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The upper half of a disc of diameter 1, centred on its bounding box (height 0.5)."""
    y = y + 0.25
    return np.maximum(np.sqrt(x * x + y * y) - 0.5, -y)


def _mirrored(right_half: list[Point]) -> list[Point]:
    """A polygon from its right half, given from top to bottom; points on the axis stay single."""
    return right_half + [(-x, y) for x, y in reversed(right_half) if x]


def _star() -> list[Point]:
    """Five tips, 1 wide, inner corners at 0.45 of the outer radius; centred on its bounding box."""
    outer = 0.5 / cos(pi / 10)
    turns = [(outer if k % 2 == 0 else 0.45 * outer, pi / 2 - k * pi / 5) for k in range(10)]
    middle = (outer - outer * cos(pi / 5)) / 2
    # Seven digits, so that no platform's sine changes the picture.
    return [(round(r * cos(a), 7), round(r * sin(a) - middle, 7)) for r, a in turns]


CROSS = _mirrored([(0.16, 0.5), (0.16, 0.16), (0.5, 0.16), (0.5, -0.16), (0.16, -0.16), (0.16, -0.5)])
SALTIRE = _mirrored([(0.0, 0.2), (0.3, 0.5), (0.5, 0.3), (0.2, 0.0), (0.5, -0.3), (0.3, -0.5), (0.0, -0.2)])
BOW_TIE = _mirrored([(0.0, 0.1), (0.5, 0.45), (0.5, -0.45), (0.0, -0.1)])
CUP = _mirrored([(0.0, -0.2), (0.2, -0.2), (0.2, 0.5), (0.5, 0.5), (0.5, -0.5)])
ARROW = _mirrored([(0.0, 0.5), (0.5, 0.0), (0.17, 0.0), (0.17, -0.5)])

SPRITES = (
    Shape("circle", circle),
    Shape("square", square),
    Shape("triangle", triangle),
    Shape("cross", polygon(CROSS)),
    Shape("saltire", polygon(SALTIRE)),
    Shape("heart", heart),
    Shape("half disc", half_disc),
    Shape("bow tie", polygon(BOW_TIE)),
    Shape("cup", polygon(CUP)),
    Shape("star", polygon(_star())),
    Shape("ring", ring),
    Shape("arrow", polygon(ARROW)),
)
