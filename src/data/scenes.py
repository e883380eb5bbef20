"""Random scene descriptions for the toy data sets: which object, which colour, where, how large, how rotated.

Legend: B scenes, S objects a scene can hold. Every number is a pure function of (data set, seed, split, image
index, object, field, attempt): a splitmix64 stream per image, read by position. So image i never depends on
how many images are made, in which order, by which process or by which version of NumPy. The definition is
frozen (docs/data.md): changing anything here changes every published number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .base import SPLITS

MAX_OBJECTS = 8

# Pure, saturated colours: every channel is exactly 0 or 1, so a uint8 image stores them without error.
COLOUR_NAMES = ("red", "green", "blue", "yellow", "magenta", "cyan")
COLOUR_VALUES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))

BACKGROUND_MAX = 0.35  # brightest channel of a random background; every object has a channel of 1

# The rule "every object shows at least half of its area" is tested on the points of a Fibonacci lattice over
# each object (a square grid is far less exact, since edges run along its rows); the margin above one half
# covers what the lattice can be wrong by, so that the exact area also passes.
LATTICE, LATTICE_STEP = 987, 610
MIN_VISIBLE = 0.51
MAX_ATTEMPTS = 100  # positions tried for one object before the whole scene is drawn again
MAX_ROUNDS = 1000  # scenes drawn again; never reached with MAX_OBJECTS objects of the sizes used here

_GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_COUNT, SHAPE, COLOUR, SIZE, _ROTATION, X, Y, _RED, _GREEN, _BLUE = range(10)  # fields of an image's stream


@dataclass(frozen=True)
class Shape:
    """One kind of object, in a frame where its size is 1, its centre (0, 0), x points right and y up.

    distance: (x, y) -> signed distance to the outline (negative inside), first-order exact at the outline.
    half_height: how far the object may reach above and below its centre (0.5 to the left and right, always).
    symmetry: rotating by 2 pi / symmetry gives the same picture; 0 for objects that are never rotated.
    """

    name: str
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    half_height: float = 0.5
    symmetry: int = 0


@dataclass(frozen=True)
class Family:
    """The object kinds, sizes and colours of one data set; ``number`` keys its random stream."""

    number: int
    shapes: tuple[Shape, ...]
    min_size: float
    max_size: float
    colour_values: tuple[tuple[int, int, int], ...] = COLOUR_VALUES


@dataclass
class Scenes:
    """B scenes of up to S objects, drawn in order (later objects hide earlier ones).

    present (B, S) bool; shape, colour (B, S) int64, -1 where absent; size, x, y (B, S) float64 fractions of
    the image (x to the right, y down), rotation (B, S) float64 radians counter-clockwise as seen, nan where
    absent; background (B, 3) float64.
    """

    present: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    size: np.ndarray
    x: np.ndarray
    y: np.ndarray
    rotation: np.ndarray
    background: np.ndarray

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, rows: slice) -> Scenes:
        return Scenes(**{name: value[rows] for name, value in vars(self).items()})


def _mix_int(z: int) -> int:
    """splitmix64's output function (Steele, Lea and Flood, 2014) on a Python integer."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _mix(z: np.ndarray) -> np.ndarray:
    """The same on a uint64 array."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def image_keys(family: int, seed: int, split: str, indices: np.ndarray) -> np.ndarray:
    """Start of each image's own random stream; indices (B,) -> (B,) uint64."""
    key = 0
    for part in (family, seed, SPLITS.index(split)):
        key = _mix_int(((key + _GAMMA) & _MASK) ^ part)
    steps = (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA)
    return _mix(steps + np.uint64(key))


def uniform(keys: np.ndarray, field: int, obj: int = 0, attempt: int = 0, round_: int = 0) -> np.ndarray:
    """Uniform numbers in [0, 1) at one position of each image's stream; keys (B,) -> (B,) float64."""
    counter = field + 16 * (obj + 16 * (attempt + 128 * round_))
    z = _mix(keys + np.uint64(counter * _GAMMA & _MASK))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(u: np.ndarray, choices: int) -> np.ndarray:
    return np.floor(u * choices).astype(np.int64)


def sample_scenes(family: Family, seed: int, split: str, indices: np.ndarray, max_shapes: int) -> Scenes:
    """Scene descriptions of the image indices (B,), backgrounds included (black ones ignore them).

    An object whose position would leave an earlier object less than half visible draws another position.
    After MAX_ATTEMPTS positions all objects of the scene (not their number) are drawn again.
    """
    keys = image_keys(family.number, seed, split, indices)
    count = 1 + choose(uniform(keys, _COUNT), max_shapes)
    background = BACKGROUND_MAX * np.stack([uniform(keys, channel) for channel in (_RED, _GREEN, _BLUE)], 1)
    grid = (len(keys), max_shapes)
    scenes = Scenes(
        present=np.arange(max_shapes) < count[:, None],
        shape=np.full(grid, -1, np.int64),
        colour=np.full(grid, -1, np.int64),
        size=np.full(grid, np.nan),
        x=np.full(grid, np.nan),
        y=np.full(grid, np.nan),
        rotation=np.full(grid, np.nan),
        background=background,
    )
    rows = np.arange(len(keys))
    for round_ in range(MAX_ROUNDS):
        rows = _sample_objects(family, scenes, keys, rows, round_)
        if len(rows) == 0:
            return scenes
    raise RuntimeError(f"no room for {max_shapes} objects in {len(rows)} scenes; use a smaller max_shapes")


def _sample_objects(family: Family, scenes: Scenes, keys: np.ndarray, rows: np.ndarray, round_: int) -> np.ndarray:
    """Draw every object of the scenes ``rows``; returns the rows that could not be completed."""
    order = np.arange(LATTICE)
    px, py = ((axis + 0.5) / LATTICE - 0.5 for axis in (order, order * LATTICE_STEP % LATTICE))
    inside = np.stack([shape.distance(px, py) < 0 for shape in family.shapes])  # (shapes, points)
    half_heights = np.array([shape.half_height for shape in family.shapes])
    symmetries = np.array([shape.symmetry for shape in family.shapes])
    failed = [rows[:0]]
    visible = np.zeros((*scenes.present.shape, LATTICE), dtype=bool)  # which points of an object still show
    for k in range(scenes.present.shape[1]):
        rows = rows[scenes.present[rows, k]]
        key = keys[rows]
        shape = choose(uniform(key, SHAPE, k, 0, round_), len(family.shapes))
        turn = uniform(key, _ROTATION, k, 0, round_) * (2 * np.pi)
        symmetry = symmetries[shape]
        scenes.shape[rows, k] = shape
        scenes.colour[rows, k] = choose(uniform(key, COLOUR, k, 0, round_), len(family.colour_values))
        share = uniform(key, SIZE, k, 0, round_)
        scenes.size[rows, k] = family.min_size + (family.max_size - family.min_size) * share
        scenes.rotation[rows, k] = np.where(symmetry > 0, turn / np.maximum(symmetry, 1), 0.0)
        visible[rows, k] = inside[shape]
        pending = rows
        for attempt in range(MAX_ATTEMPTS):
            size = scenes.size[pending, k]
            reach_y = size * half_heights[scenes.shape[pending, k]]
            across, down = (uniform(keys[pending], field, k, attempt, round_) for field in (X, Y))
            scenes.x[pending, k] = size / 2 + (1 - size) * across
            scenes.y[pending, k] = reach_y + (1 - 2 * reach_y) * down
            pending = pending[~_hide(family, scenes, pending, k, visible, inside, px, py)]
            if len(pending) == 0:
                break
        failed.append(pending)
        rows = np.setdiff1d(rows, pending)
    return np.concatenate(failed)


def _hide(
    family: Family,
    scenes: Scenes,
    rows: np.ndarray,
    k: int,
    visible: np.ndarray,
    inside: np.ndarray,
    px: np.ndarray,
    py: np.ndarray,
) -> np.ndarray:
    """Let object k hide points of earlier objects; (B,) bool, False (and nothing hidden) if too much is."""
    near = np.maximum(
        np.abs(scenes.x[rows, :k] - scenes.x[rows, k : k + 1]),
        np.abs(scenes.y[rows, :k] - scenes.y[rows, k : k + 1]),
    )
    pair, i = np.nonzero(near < (scenes.size[rows, :k] + scenes.size[rows, k : k + 1]) / 2)
    row = rows[pair]
    x, y = to_image(scenes, row, i, px, py)
    u, v = to_object(scenes, row, np.full_like(i, k), x, y)
    remains = visible[row, i]
    for number, shape in enumerate(family.shapes):
        of_shape = np.nonzero(scenes.shape[row, k] == number)[0]
        remains[of_shape] &= shape.distance(u[of_shape], v[of_shape]) >= 0
    enough = remains.sum(1) >= MIN_VISIBLE * inside[scenes.shape[row, i]].sum(1)
    fits = np.ones(len(rows), dtype=bool)
    fits[pair[~enough]] = False
    keep = fits[pair]
    visible[row[keep], i[keep]] = remains[keep]
    return fits


def to_image(
    scenes: Scenes, row: np.ndarray, k: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From the frames of objects (row, k), each (n,), to the image.

    u, v (P,) or (n, P), units of the object's size -> x, y (n, P), fractions of the image (y down).
    """
    size, angle = scenes.size[row, k, None], scenes.rotation[row, k, None]
    cos, sin = np.cos(angle), np.sin(angle)
    x = scenes.x[row, k, None] + size * (cos * u - sin * v)
    y = scenes.y[row, k, None] - size * (sin * u + cos * v)
    return x, y


def to_object(
    scenes: Scenes, row: np.ndarray, k: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of ``to_image``."""
    size, angle = scenes.size[row, k, None], scenes.rotation[row, k, None]
    cos, sin = np.cos(angle), np.sin(angle)
    right, up = (x - scenes.x[row, k, None]) / size, (scenes.y[row, k, None] - y) / size
    return cos * right + sin * up, cos * up - sin * right
