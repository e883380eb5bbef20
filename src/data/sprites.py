"""2D Sprites: scenes of exactly three or four of twelve shapes in seven colours that obey the odd-one-out rule.

Legend: B scenes, S = max_shapes objects, H = W = image_size. The rule is in odd_one_out.py, the shapes in
sprite_shapes.py, backgrounds in textures.py. All of it is frozen, see docs/data.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import check_choice
from .odd_one_out import assign, obeys_rule, patterns
from .scenes import COLOUR, COLOUR_NAMES, COLOUR_VALUES, SHAPE, SIZE, Family, Scenes, X, Y, choose, image_keys, uniform
from .sprite_shapes import SPRITES
from .textures import textures
from .toy_datasets import ToyDataset, check_flag

# Which shapes and colours a subset draws from: "in" is for fitting a downstream model, "out" for testing it on values
# that it has not seen.
SUBSETS = {
    "all": (tuple(range(12)), tuple(range(7))),
    "in": (tuple(range(9)), tuple(range(4))),
    "out": (tuple(range(9, 12)), tuple(range(4, 7))),
}
GAP = 1 / 64  # least distance between the boxes of two objects
MAX_ATTEMPTS = 10_000  # placements of a whole scene; one in a dozen succeeds
_PATTERN = 10  # field of the random stream (scenes.py uses 0..9, textures.py 11..13)
_TEXTURE_CHUNK = 128  # pictures textured at once; more would leave the processor's cache


def place(keys: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y (B, S) of objects with boxes of side `size` (B, S): uniform among those that keep every box
    inside the image and `GAP` apart from the others.

    All objects of a scene are placed again until they fit, so that no object prefers any place over another.
    """
    x, y = np.empty_like(size), np.empty_like(size)
    first, second = np.triu_indices(size.shape[1], 1)
    apart = (size[:, first] + size[:, second]) / 2 + GAP
    pending = np.arange(len(size))
    for attempt in range(MAX_ATTEMPTS):
        for k in range(size.shape[1]):
            room = 1 - size[pending, k]
            x[pending, k] = size[pending, k] / 2 + room * uniform(keys[pending], X, k, 0, attempt)
            y[pending, k] = size[pending, k] / 2 + room * uniform(keys[pending], Y, k, 0, attempt)
        across, down = (np.abs(axis[pending][:, first] - axis[pending][:, second]) for axis in (x, y))
        pending = pending[(np.maximum(across, down) < apart[pending]).any(1)]
        if len(pending) == 0:
            return x, y
    raise RuntimeError(f"{len(pending)} scenes of {size.shape[1]} objects found no room in {MAX_ATTEMPTS} attempts")


class SpritesDataset(ToyDataset):
    """Exactly ``max_shapes`` (3 or 4) upright sprites, 24 to 32 % of the image wide, none of which hides another.

    Exactly one object is odd: it alone has its shape, or its colour, or both (`odd_one_out`). All scenes of shapes and
    colours that obey this are equally likely. The keys of a sample are those of `ToyDataset`.

    Args, besides those of `ToyDataset`:
        background: "black" or "textured"; the objects of image i are the same on both.
        subset: "all" shapes and colours; "in": the first 9 shapes and 4 colours only; "out": the other 3 and 3. Shape
            and colour numbers mean the same in all of them; each has random numbers of its own.
        ruled: False: shapes and colours are independent and uniform, and the rule holds by chance only.
    """

    name = "sprites"
    family = Family(
        number=3,
        shapes=SPRITES,
        min_size=0.24,
        max_size=0.32,
        colour_values=(*COLOUR_VALUES, (1, 1, 1)),
    )
    colour_names = (*COLOUR_NAMES, "white")
    backgrounds = ("black", "textured")
    max_shapes_range = (3, 4)
    rule = staticmethod(obeys_rule)
    scene_chunk = 8192

    def __init__(self, *args: Any, subset: str = "all", ruled: bool = True, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.subset, self.ruled = check_choice("subset", subset, SUBSETS), check_flag("ruled", ruled)

    @property
    def min_shapes(self) -> int:
        return self.max_shapes

    def sample(self, indices: np.ndarray) -> Scenes:
        keys, objects = self._keys(indices), self.max_shapes
        shapes, colours = (np.array(values) for values in SUBSETS[self.subset])
        draws = {
            field: np.stack([uniform(keys, field, k) for k in range(objects)], 1) for field in (SHAPE, COLOUR, SIZE)
        }
        if self.ruled:
            groups, ways = patterns(objects, len(shapes), len(colours))
            number = choose(uniform(keys, _PATTERN), int(ways.sum()))  # of the scene, among all that obey the rule
            of_shape, of_colour = groups[np.searchsorted(ways.cumsum(), number, side="right")].swapaxes(0, 1)
            shape = assign(of_shape, draws[SHAPE], len(shapes))
            colour = assign(of_colour, draws[COLOUR], len(colours))
        else:
            shape, colour = choose(draws[SHAPE], len(shapes)), choose(draws[COLOUR], len(colours))
        size = self.family.min_size + (self.family.max_size - self.family.min_size) * draws[SIZE]
        x, y = place(keys, size)
        return Scenes(
            present=np.ones((len(keys), objects), bool),
            shape=shapes[shape],
            colour=colours[colour],
            size=size,
            x=x,
            y=y,
            rotation=np.zeros_like(size),
            background=np.zeros((len(keys), 3)),
        )

    def backdrop(self, rows: slice) -> np.ndarray:
        if self.background == "black":
            return super().backdrop(rows)
        keys = self._keys(np.arange(self.num_samples)[rows])
        starts = range(0, len(keys), _TEXTURE_CHUNK)
        return np.concatenate([textures(keys[start : start + _TEXTURE_CHUNK], self.image_size) for start in starts])

    def of_split(self, split: str, count: int) -> SpritesDataset:
        return self._like(split, count, subset=self.subset, ruled=self.ruled)

    def of_subset(self, subset: str, split: str, count: int) -> SpritesDataset:
        """As `of_split`, with the shapes and colours of another subset; the rule holds."""
        return self._like(split, count, subset=subset)

    def unruled(self, split: str, count: int) -> SpritesDataset:
        return self._like(split, count, ruled=False)

    def _keys(self, indices: np.ndarray) -> np.ndarray:
        """The random stream of each picture; the subsets have streams of their own."""
        number = self.family.number + list(SUBSETS).index(self.subset)
        return image_keys(number, self.seed, self.split, indices)
