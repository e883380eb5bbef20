"""Anti-aliased pictures of scene descriptions, vectorised over scenes.

Legend: B scenes, S objects, C channels, H = W = image_size. Only element-wise IEEE arithmetic is used (no
sums whose order a library may choose), so that the bytes are the same on every platform.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .scenes import Family, Scenes

_CHUNK_BYTES = 32 * 2**20  # canvas painted at once; bounds the memory whatever the number or size of the images


def circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Circle of diameter 1."""
    return np.sqrt(x * x + y * y) - 0.5


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Upright square of side 1."""
    return np.maximum(np.abs(x), np.abs(y)) - 0.5


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Equilateral triangle of side 1, one corner up, centred on its bounding box (height sqrt(3) / 2)."""
    slanted = (3**0.5 / 2) * np.abs(x) + 0.5 * y - 3**0.5 / 8
    return np.maximum(slanted, -y - 3**0.5 / 4)


def turned_square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Square with diagonal 1, so that it fits in the same circle in every rotation."""
    return np.maximum(np.abs(x), np.abs(y)) - 0.5**1.5


def ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ellipse with axes 1 (horizontal) and 0.5; first-order distance, exact at the outline."""
    level = np.sqrt((x * 2) ** 2 + (y * 4) ** 2)
    slope = np.sqrt((x * 4) ** 2 + (y * 16) ** 2)
    return np.where(slope > 1e-6, level * (level - 1) / np.maximum(slope, 1e-6), -0.25)  # 0 / 0 at the centre


def heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Heart, tip down: a square on its corner, half discs on its upper two sides; in a circle of diameter 1.

    With the square's diagonal 1 and the tip at (0, 0), the smallest circle around the heart has its centre at
    (0, r) and the radius r = 1 / (3 - sqrt(2)); the exact distance is Quilez's ("2D distance functions").
    """
    radius = 1 / (3 - 2**0.5)
    x, y = np.abs(x) * (2 * radius), y * (2 * radius) + radius
    lobe = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - 2**0.5 / 4
    along = 0.5 * np.maximum(x + y, 0)
    edge = np.minimum(x * x + (y - 1) ** 2, (x - along) ** 2 + (y - along) ** 2)
    body = np.sqrt(edge) * np.sign(x - y)
    return np.where(x + y > 1, lobe, body) / (2 * radius)


def paint(family: Family, scenes: Scenes, image_size: int, values: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Draw the objects in order: values (B, S, C), background (B, C, H or 1, W or 1) -> (B, C, H, W) float32.

    Coverage of a pixel is clamp(0.5 - signed distance of its centre in pixels, 0, 1), and the canvas becomes
    canvas + coverage * (value - canvas). Each object is computed only in a window around it.
    """
    batch, _, channels = values.shape
    canvas = np.empty((batch, channels, image_size, image_size), np.float32)
    canvas[:] = background.astype(np.float32)
    window = min(image_size, int(np.ceil(family.max_size * image_size)) + 4)
    steps = np.arange(window)
    for k in range(scenes.present.shape[1]):
        for number, shape in enumerate(family.shapes):
            row = np.nonzero(scenes.shape[:, k] == number)[0]
            if len(row) == 0:
                continue
            x, y, size = (part[row, k, None] * image_size for part in (scenes.x, scenes.y, scenes.size))
            left, top = (
                np.clip(np.floor(centre - window / 2).astype(np.int64), 0, image_size - window) for centre in (x, y)
            )
            across, down = left + steps, top + steps  # (n, window) pixel columns and rows
            right = ((across + 0.5 - x) / size).astype(np.float32)[:, None, :]
            up = ((y - (down + 0.5)) / size).astype(np.float32)[:, :, None]
            if shape.symmetry:
                angle = scenes.rotation[row, k, None, None]
                cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
                right, up = cos * right + sin * up, cos * up - sin * right
            distance = shape.distance(right, up) * size.astype(np.float32)[:, :, None]
            coverage = np.clip(np.float32(0.5) - distance, 0, 1)
            rows, columns = down[:, :, None], across[:, None, :]
            for channel in range(channels):
                at = (row[:, None, None], channel, rows, columns)
                under = canvas[at]
                value = values[row, k, channel].astype(np.float32)[:, None, None]
                canvas[at] = under + coverage * (value - under)
    return canvas


def _chunks(scenes: Scenes, image_size: int, channels: int) -> list[slice]:
    step = max(1, _CHUNK_BYTES // (4 * channels * image_size * image_size))
    return [slice(start, start + step) for start in range(0, len(scenes), step)]


def render_images(
    family: Family, scenes: Scenes, image_size: int, backdrop: Callable[[slice], np.ndarray]
) -> np.ndarray:
    """Pictures of the scenes, (B, 3, H, W) uint8; `backdrop` gives the background of some of them, see `paint`."""
    images = np.empty((len(scenes), 3, image_size, image_size), np.uint8)
    palette = np.array([*family.colour_values, (0, 0, 0)], np.float32)  # absent objects (-1) read the last row
    for rows in _chunks(scenes, image_size, 3):
        part = scenes[rows]
        canvas = paint(family, part, image_size, palette[part.colour], backdrop(rows))
        images[rows] = np.rint(canvas * np.float32(255))
    return images


def render_instances(family: Family, scenes: Scenes, image_size: int) -> np.ndarray:
    """Who owns each pixel: (B, H, W) uint8, 0 the background, k + 1 object k.

    The owner is the one with the largest share of the pixel's colour (of equal ones the background, then the
    earlier object).
    """
    owner = np.empty((len(scenes), image_size, image_size), np.uint8)
    objects = scenes.present.shape[1]
    shares = np.eye(objects + 1, dtype=np.float32)  # painting with one-hot "colours" gives each layer's share
    for rows in _chunks(scenes, image_size, objects + 1):
        part = scenes[rows]
        values = np.broadcast_to(shares[1:], (len(part), objects, objects + 1))
        background = np.broadcast_to(shares[0], (len(part), objects + 1))[:, :, None, None]
        owner[rows] = paint(family, part, image_size, values, background).argmax(1)
    return owner
