"""Toy data of the brief: ShapesDataset, MultiDspritesDataset and their loaders.

Legend: S = max_shapes objects a scene can hold, H = W = image_size. Scenes come from scenes.py, pixels from
rendering.py; both are frozen, see docs/data.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from . import rendering
from .base import SPLITS, SceneDataset, check_choice
from .scenes import COLOUR_NAMES, MAX_OBJECTS, Family, Scenes, Shape, sample_scenes

Toy = TypeVar("Toy", bound="ToyDataset")

MIN_IMAGE_SIZE = 16
_PAPER, _INK = "#f4f4f2", "#202020"  # opaque paper under dark ink reads on light and dark pages alike


def check_flag(name: str, value: Any) -> bool:
    """`value`, if it is True or False; else a TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} is neither True nor False")
    return bool(value)


def _check_int(name: str, value: Any, low: int, high: int | None = None) -> int:
    wanted = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}={value!r} is not an integer; use {wanted}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}={value} is out of range; use {wanted}")
    return int(value)


class ToyDataset(SceneDataset):
    """Rendered scenes of 1 to ``max_shapes`` coloured objects; the base of the two data sets below and of the sprites.

    ``ds[i]`` is a float32 image (3, H, W) in [0, 1]. With ``ground_truth=True`` it is a dict instead:

    - image (3, H, W) float32
    - masks (S, H, W) bool: visible pixels of each object, disjoint, empty where absent
    - present (S,) bool; objects are in drawing order, later ones hide earlier ones
    - shape, colour (S,) int64: indices into ``shape_names`` and ``colour_names``; -1 where absent
    - size, x, y (S,) float32: fractions of the image, centre with x to the right and y down; nan where absent
    - rotation (S,) float32: radians, counter-clockwise as seen, in [0, 2 pi / symmetry of the shape); nan
      where absent

    Image i depends only on (class, seed, split, i, image_size, max_shapes, background). Pictures are
    rendered once, at first use, and kept as uint8; pickling renders first, so that spawned workers share
    them instead of rendering again.

    Raises TypeError or ValueError with one line for an argument of the wrong type or out of range.
    """

    name: str
    family: Family
    colour_names: tuple[str, ...] = COLOUR_NAMES
    backgrounds: tuple[str, ...] = ("black", "random")
    max_shapes_range: tuple[int, int] = (1, MAX_OBJECTS)
    scene_chunk: int = 512  # scenes sampled at once; bounds the memory of the visibility test
    has_instances = has_factors = True
    scored_factors = ("colour", "shape", "size", "x", "y")  # rotation says nothing where a shape has all symmetries

    def __init__(
        self,
        num_samples: int = 1000,
        image_size: int = 64,
        max_shapes: int = 4,
        split: str = "train",
        seed: int = 0,
        background: str = "black",
        ground_truth: bool = False,
    ) -> None:
        self.num_samples = _check_int("num_samples", num_samples, 1)
        self.image_size = _check_int("image_size", image_size, MIN_IMAGE_SIZE)
        self.max_shapes = _check_int("max_shapes", max_shapes, *self.max_shapes_range)
        self.split = check_choice("split", split, SPLITS)
        self.seed = _check_int("seed", seed, 0, 2**63 - 1)
        self.background = check_choice("background", background, self.backgrounds)
        self.ground_truth = check_flag("ground_truth", ground_truth)
        self._scenes: Scenes | None = None
        self._images: Tensor | None = None
        self._instances: Tensor | None = None
        self._factors: dict[str, Tensor] | None = None

    @property
    def min_shapes(self) -> int:
        """Fewest objects of a scene."""
        return 1

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Names of the shape indices."""
        return tuple(shape.name for shape in self.family.shapes)

    @property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        return {"shape": self.shape_names, "colour": self.colour_names}

    @property
    def colour_values(self) -> Tensor:
        """RGB of the colour indices, float32 (colours, 3)."""
        return torch.tensor(self.family.colour_values, dtype=torch.float32)

    def sample(self, indices: np.ndarray) -> Scenes:
        """The scene descriptions of these image indices (B,)."""
        return sample_scenes(self.family, self.seed, self.split, indices, self.max_shapes)

    def backdrop(self, rows: slice) -> np.ndarray:
        """What lies behind the objects of some pictures, in [0, 1]: (B, 3, 1, 1), or (B, 3, H, W) if textured."""
        return self.scenes.background[rows][:, :, None, None]

    @property
    def scenes(self) -> Scenes:
        """The scene descriptions behind the pictures."""
        if self._scenes is None:
            parts = []
            for start in range(0, self.num_samples, self.scene_chunk):
                parts.append(self.sample(np.arange(start, min(start + self.scene_chunk, self.num_samples))))
            scenes = Scenes(**{key: np.concatenate([vars(part)[key] for part in parts]) for key in vars(parts[0])})
            if self.background == "black":
                scenes.background[:] = 0
            self._scenes = scenes
        return self._scenes

    @property
    def images(self) -> Tensor:
        """All pictures, uint8 (num_samples, 3, H, W); rendered at the first use, then kept."""
        if self._images is None:
            images = rendering.render_images(self.family, self.scenes, self.image_size, self.backdrop)
            self._images = torch.from_numpy(images)
        return self._images

    @property
    def instances(self) -> Tensor:
        """Owner of each pixel, uint8 (num_samples, H, W): 0 background, k + 1 object k; rendered once."""
        if self._instances is None:
            self._instances = torch.from_numpy(rendering.render_instances(self.family, self.scenes, self.image_size))
        return self._instances

    @property
    def factors(self) -> dict[str, Tensor]:
        """present, shape, colour, size, x, y, rotation of all objects, each (num_samples, S)."""
        if self._factors is None:
            scenes = self.scenes
            self._factors = {key: torch.from_numpy(getattr(scenes, key)) for key in ("present", "shape", "colour")}
            for key in ("size", "x", "y", "rotation"):
                self._factors[key] = torch.from_numpy(getattr(scenes, key)).float()
        return self._factors

    def _masks(self, index: Tensor | slice) -> Tensor:
        number = torch.arange(1, self.max_shapes + 1, dtype=torch.uint8)
        return self.instances[index].unsqueeze(1) == number[:, None, None]

    def ground_truth_arrays(self) -> dict[str, Tensor]:
        """The ground truth of all samples, stacked: the keys of the class docstring, (num_samples, ...) each.

        Needs no flag. "image" is float32 and takes num_samples * 12 * H * W bytes.
        """
        everything = slice(None)
        return {"image": self.images.float() / 255, "masks": self._masks(everything), **self.factors}

    def __len__(self) -> int:
        return self.num_samples

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several samples at once; DataLoader fetches a batch through this."""
        index = torch.as_tensor(indices)
        images = self.images[index].float() / 255
        if not self.ground_truth:
            return list(images)
        arrays = {"image": images, "masks": self._masks(index)}
        arrays.update({key: value[index] for key, value in self.factors.items()})
        return [{key: value[row] for key, value in arrays.items()} for row in range(len(images))]

    def first(self, count: int) -> ToyDataset:
        """Drawn anew: scene i never depends on how many there are, and the masks of the others stay undrawn."""
        return self if len(self) <= count else self.of_split(self.split, count)

    def of_split(self, split: str, count: int) -> ToyDataset:
        """`count` scenes of the same definition, of the given split."""
        return self._like(split, count)

    def _like(self: Toy, split: str, count: int, **settings: Any) -> Toy:
        """`count` scenes of a split; all but `settings` as here."""
        return type(self)(
            count,
            self.image_size,
            self.max_shapes,
            split,
            self.seed,
            self.background,
            self.ground_truth,
            **settings,
        )

    def unruled(self, split: str, count: int) -> ToyDataset:
        """As `of_split`, but every object's shape and colour are drawn without regard to the others'."""
        return self.of_split(split, count)

    def prepare(self, show: bool = False) -> ToyDataset:
        """Render now what ``ds[i]`` needs, so that workers started later share it; returns the data set."""
        super().prepare(show)
        if self.ground_truth:
            _ = self.instances, self.factors
        return self

    def visualize_samples(self, num_samples: int = 5, save_path: str | Path = "samples.png") -> Path:
        """Save a labelled sheet of the first ``num_samples`` pictures; returns the path written.

        The image format follows the file name's ending. Raises ValueError if there are fewer samples than
        asked for.
        """
        from matplotlib.figure import Figure  # here, because data workers have no use for it

        _check_int("num_samples", num_samples, 1, self.num_samples)
        path = Path(save_path)
        labels = [self.describe(i) for i in range(num_samples)]
        columns = min(num_samples, 5)
        picture, gap, head = 1.9, 0.15, 0.6  # inches, as all lengths here
        cell = picture + 0.45 + 0.15 * max(map(len, labels))  # a picture with its title above, its objects below
        width = max(columns * (picture + gap) + gap, 4.3)
        height = head + cell * -(-num_samples // columns)
        left = (width - columns * (picture + gap) + gap) / 2
        figure = Figure(figsize=(width, height), dpi=160, facecolor=_PAPER)
        title = f"{type(self).__name__}, {self.split} split, seed {self.seed}"
        figure.text(0.5, 1 - 0.2 / height, title, color=_INK, fontsize=11, ha="center", va="center")
        for i, objects in enumerate(labels):
            row, column = divmod(i, columns)
            x, y = left + column * (picture + gap), height - head - row * cell - picture
            axis = figure.add_axes((x / width, y / height, picture / width, picture / height))
            axis.set_axis_off()
            axis.imshow(self.images[i].permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_title(f"image {i}", color=_INK, fontsize=9, pad=4)
            words = {"color": _INK, "fontsize": 8, "ha": "center", "va": "top"}
            axis.text(0.5, -0.03, "\n".join(objects), transform=axis.transAxes, **words)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        return path

    def describe(self, index: int) -> list[str]:
        """The objects of one sample in words, in drawing order: ["red circle", "cyan square"].

        Raises TypeError or IndexError as ``ds[index]`` does.
        """
        scenes, row = self.scenes, self._row(index)
        pairs = zip(scenes.colour[row], scenes.shape[row], strict=True)
        return [f"{self.colour_names[c]} {self.shape_names[s]}" for c, s in pairs if s >= 0]

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self.prepare()))


class ShapesDataset(ToyDataset):
    """Upright circles, squares and equilateral triangles, 16 to 28 % of the image wide."""

    name = "shapes"
    family = Family(
        number=1,
        shapes=(
            Shape("circle", rendering.circle),
            Shape("square", rendering.square),
            Shape("triangle", rendering.triangle, half_height=3**0.5 / 4),
        ),
        min_size=0.16,
        max_size=0.28,
    )


class MultiDspritesDataset(ToyDataset):
    """Squares, ellipses and hearts in any rotation, in circles 20 to 36 % of the image wide."""

    name = "multi_dsprites"
    family = Family(
        number=2,
        shapes=(
            Shape("square", rendering.turned_square, symmetry=4),
            Shape("ellipse", rendering.ellipse, symmetry=2),
            Shape("heart", rendering.heart, symmetry=1),
        ),
        min_size=0.20,
        max_size=0.36,
    )


DATASETS: dict[str, type[ToyDataset]] = {"shapes": ShapesDataset, "multi_dsprites": MultiDspritesDataset}


def make_dataset(name: str, **arguments: Any) -> ToyDataset:
    """The data set of that name ("shapes" or "multi_dsprites"); raises ValueError listing the choices."""
    check_choice("dataset name", name, DATASETS)
    return DATASETS[name](**arguments)


def get_data_loaders(
    dataset_name: str = "shapes",
    batch_size: int = 32,
    num_workers: int = 0,
    num_samples: int = 10000,
    image_size: int = 64,
    max_shapes: int = 4,
    seed: int = 0,
    background: str = "black",
    ground_truth: bool = False,
) -> tuple[DataLoader, DataLoader]:
    """Loaders of ``num_samples`` training images and of max(1, num_samples // 10) validation images.

    A batch is a float32 tensor (B, 3, H, W) in [0, 1] (with ``ground_truth=True`` the dict of ToyDataset,
    stacked). Training batches are shuffled by a generator of that seed and all full; only a set smaller than
    one batch gives a smaller one. Raises TypeError or ValueError with one line for a bad argument.
    """
    _check_int("batch_size", batch_size, 1)
    _check_int("num_workers", num_workers, 0)
    _check_int("num_samples", num_samples, 1)
    shared: dict[str, Any] = {
        "image_size": image_size,
        "max_shapes": max_shapes,
        "seed": seed,
        "background": background,
        "ground_truth": ground_truth,
    }
    train = make_dataset(dataset_name, num_samples=num_samples, split="train", **shared)
    val = make_dataset(dataset_name, num_samples=max(1, num_samples // 10), split="val", **shared)
    if num_workers > 0:  # forked workers inherit the pictures, spawned ones receive them as shared memory
        train.prepare()
        val.prepare()
    workers: dict[str, Any] = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    full_batches = num_samples >= batch_size
    # own generators: iterating draws nothing from the global one, so looking at validation never changes a
    # training run
    order, unused = torch.Generator().manual_seed(train.seed), torch.Generator()
    return (
        DataLoader(train, batch_size, shuffle=True, drop_last=full_batches, generator=order, **workers),
        DataLoader(val, batch_size, generator=unused, **workers),
    )
