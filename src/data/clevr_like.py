"""CLEVR-like 3D scenes that `python -m src.render` has put into a folder. Legend: S objects a scene can hold, H = W."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .base import SPLITS, SceneDataset, check_choice
from .clevr_scenes import DEFINITION, MATERIAL_NAMES, SHAPE_NAMES, VARIANTS, Variant
from .shards import MANIFEST, read_manifest, read_split, render_command


class ClevrLikeDataset(SceneDataset):
    """One split of a rendered folder, with the visible pixels and the properties of every object.

    The factors are those of `clevr_scenes.scene_factors`. Pictures are read into memory at the first use.

    Args:
        path: the folder, with its manifest.
        split: "train", "val" or "test".
        image_size: H = W, which must be that of the files.
        num_images: the first so many of the split; None: all.

    Raises:
        FileNotFoundError: no such folder, or no manifest in it.
        ValueError: another size or definition, fewer scenes than asked for, an unfinished folder; at the first use, a
            file that differs from the manifest.
    """

    name = "clevr_like"
    has_instances = has_factors = True

    def __init__(
        self, path: str | Path, split: str = "train", image_size: int = 64, num_images: int | None = None
    ) -> None:
        self.path, self.split, self.image_size = Path(path), check_choice("split", split, SPLITS), image_size
        if not (self.path / MANIFEST).is_file():
            raise FileNotFoundError(
                f"data.path={path} has no {MANIFEST}; make the folder with `{_command_for(self.path, image_size)}`, "
                "or give one that such a command has written"
            )
        self.manifest = read_manifest(self.path)
        source, available = self.manifest.source, self.manifest.counts[split]
        if source.variant not in VARIANTS or source.definition != DEFINITION:
            raise ValueError(
                f"data.path={path} holds scenes of definition {source.definition} ({source.variant}), this version "
                f"reads {DEFINITION} ({', '.join(VARIANTS)}); render them again"
            )
        if source.image_size != image_size:
            other = Path(f"data/clevr_{source.variant}_{image_size}")
            raise ValueError(
                f"data.path={path} holds pictures of {source.image_size} pixels, not data.image_size={image_size}; "
                f"set data.image_size={source.image_size}, or data.path={other} and make it with "
                f"`{_command_for(other, image_size)}`"
            )
        if num_images is not None and num_images > available:
            raise ValueError(
                f"{num_images} {split} scenes were asked for but data.path={path} has {available}; lower "
                f"data.num_{split} (null: all), or render more"
            )
        self.num_samples = available if num_images is None else num_images
        lacking = [s for s in self.manifest.plan(split) if s.start < self.num_samples and not self.manifest.has(s)]
        if lacking:
            there = lacking[0].start
            fewer = f", or set data.num_{split}={there}" if there else ""
            raise ValueError(
                f"data.path={path} is unfinished: it has the first {there} of {self.num_samples} {split} scenes; let "
                f"`{self.manifest.command(self.path)}` end{fewer}"
            )
        self._arrays: dict[str, Tensor] | None = None

    @property
    def variant(self) -> Variant:
        """What the objects can be."""
        return VARIANTS[self.manifest.source.variant]

    @property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "shape": SHAPE_NAMES,
            "colour": self.variant.colour_names,
            "material": MATERIAL_NAMES,
            "size": self.variant.size_names,
        }

    @property
    def scored_factors(self) -> tuple[str, ...]:
        """Of material and size those that vary; rotation says nothing of a sphere."""
        varying = {"material": len(self.variant.materials) > 1, "size": len(self.variant.sizes) > 1}
        return ("colour", "shape", *(name for name, varies in varying.items() if varies), "x", "y")

    @property
    def arrays(self) -> dict[str, Tensor]:
        """All that the shards hold."""
        if self._arrays is None:
            arrays = read_split(self.path, self.manifest, self.split, self.num_samples)
            self._arrays = {key: torch.from_numpy(value) for key, value in arrays.items()}
        return self._arrays

    @property
    def images(self) -> Tensor:
        return self.arrays["images"]

    @property
    def instances(self) -> Tensor:
        return self.arrays["instances"]

    @property
    def factors(self) -> dict[str, Tensor]:
        return {key: value for key, value in self.arrays.items() if key not in ("images", "instances")}

    def __len__(self) -> int:
        return self.num_samples

    def __getstate__(self) -> dict[str, Any]:
        """With the pictures, so that workers started later share them."""
        return dict(vars(self.prepare()))


def _command_for(folder: Path, image_size: int) -> str:
    """The command that makes a folder, whose variant its name tells, as in that of `python -m src.render`."""
    variant = next((name for name in VARIANTS if name in folder.name), next(iter(VARIANTS)))
    return render_command(variant=variant, image_size=image_size, output=folder)


def save_preview(folder: str | Path, count: int = 18) -> Path:
    """Writes preview.png beside the shards: the first training scenes, each with its objects coloured; its path."""
    # It draws: training has no use for it.
    from ..utils.visualization import sample_sheet, save_figure, segmentation_overlay

    source = read_manifest(Path(folder)).source
    dataset = ClevrLikeDataset(folder, image_size=source.image_size).first(count)
    owner = torch.arange(VARIANTS[source.variant].max_objects + 1)[:, None, None, None]
    masks = (dataset.instances[:, None, None] == owner).float()
    pairs = torch.stack([dataset.images.float() / 255, segmentation_overlay(dataset.images, masks)], 1)
    title = f"CLEVR-like scenes ({source.variant}), train split, seed {source.seed}"
    return save_figure(sample_sheet(pairs.flatten(0, 1), title, num_samples=2 * count), Path(folder) / "preview.png")
