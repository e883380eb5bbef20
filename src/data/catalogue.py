"""The data sets that a config can choose by name."""

from __future__ import annotations

from .base import SceneDataset
from .clevr_files import ClevrFiles
from .clevr_like import ClevrLikeDataset
from .image_folder import CACHE_DIR, ImageFolder
from .sprites import SpritesDataset
from .sysbinder_files import SysBinderFiles
from .toy_datasets import DATASETS as TOYS

DRAWN = {**TOYS, SpritesDataset.name: SpritesDataset}
FILES: dict[str, type[ImageFolder]] = {"folder": ImageFolder, "clevr": ClevrFiles, "sysbinder": SysBinderFiles}
DATASETS = (*DRAWN, *FILES, ClevrLikeDataset.name)


def open_split(
    name: str,
    split: str,
    *,
    image_size: int = 64,
    num_images: int | None = None,
    max_shapes: int = 4,
    background: str = "black",
    seed: int = 0,
    path: str | None = None,
    skip_bad: bool = False,
    cache_dir: str = CACHE_DIR,
) -> SceneDataset:
    """The pictures of one split of a data set; nothing is drawn or decoded yet. A data set takes from the arguments
    what applies to it.

    Args:
        name: one of `DATASETS`.
        split: "train", "val" or "test".
        image_size: side of the pictures, in pixels.
        num_images: how many; None: all there are, where they come from files.
        max_shapes, background, seed: of scenes drawn here.
        path: where the files are.
        skip_bad: leave files out that cannot be used, instead of stopping at them.
        cache_dir: where decoded pictures are kept.

    Raises:
        ValueError: an unknown name, or arguments that cannot be used.
        FileNotFoundError: there is nothing at `path`.
    """
    if name not in DATASETS:
        raise ValueError(f"data set {name!r} is unknown; choose one of: {', '.join(DATASETS)}")
    if name not in DRAWN:
        if path is None:
            raise ValueError(f"{name} needs data.path; say where its pictures are")
        if name == ClevrLikeDataset.name:
            return ClevrLikeDataset(path, split, image_size, num_images)
        return FILES[name](path, split, image_size, num_images, skip_bad, cache_dir)
    if num_images is None:
        raise ValueError(f"{name} is drawn, without end; give a number of images instead of null")
    return DRAWN[name](
        num_samples=num_images,
        image_size=image_size,
        max_shapes=max_shapes,
        split=split,
        seed=seed,
        background=background,
    )
