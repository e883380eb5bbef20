"""CLEVR as it is published (Johnson et al., 2017): images/<split>/*.png and scenes/CLEVR_<split>_scenes.json.

It has no masks, so that objects cannot be matched to slots: the factors are there for your own use, scores of objects
are not. Its test split has no scenes file, and so no factors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .image_folder import ImageFolder, list_pictures
from .scene_json import picture_size, read_json, scene_factors

CLASS_NAMES = {
    "colour": ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"),
    "shape": ("cube", "cylinder", "sphere"),
    "material": ("rubber", "metal"),
    "size": ("small", "large"),
}


class ClevrFiles(ImageFolder):
    """One of CLEVR's own splits; arguments and errors as `ImageFolder`, `path` the folder with images/ and scenes/.

    ``factors``, where there is a scenes file: shape, colour, material and size as classes, x and y of the object's
    centre as fractions of the picture. An object whose centre is cut away with the picture's sides counts as absent.
    """

    name = "clevr"
    scored_factors = ("colour", "shape", "material", "size", "x", "y")

    def __init__(self, path: str | Path, *arguments: Any, **named: Any) -> None:
        super().__init__(path, *arguments, **named)
        self._factors: dict[str, Tensor] | None = None
        self.has_factors = self.scenes_path.is_file()

    @property
    def scenes_path(self) -> Path:
        return Path(os.path.expanduser(self.path), "scenes", f"CLEVR_{self.split}_scenes.json")

    def _files(self) -> list[str]:
        folder = os.path.join(os.path.expanduser(self.path), "images", self.split)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"data.path={self.path} has no folder images/{self.split}; give the folder of CLEVR, such as CLEVR_v1.0"
            )
        return list_pictures(folder)

    @property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        return CLASS_NAMES

    @property
    def factors(self) -> dict[str, Tensor]:
        if not self.has_factors:
            return super().factors
        if self._factors is None:
            self._factors = self._read_factors()
        return self._factors

    def _read_factors(self) -> dict[str, Tensor]:
        content = read_json(self.scenes_path)
        try:
            objects = {scene["image_filename"]: scene["objects"] for scene in content["scenes"]}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.scenes_path} is no scenes file of CLEVR ({error!r} is missing)") from error
        files = [self.files[number] for number in self._pixels().kept]
        scenes = []
        for file in files:
            if os.path.basename(file) not in objects:
                raise ValueError(f"{self.scenes_path} has no scene for {os.path.basename(file)}")
            scenes.append((objects[os.path.basename(file)], picture_size(file)))
        factors = scene_factors(scenes, CLASS_NAMES, numbers=(), source=self.scenes_path, keep_hidden=False)
        return {name: torch.from_numpy(values) for name, values in factors.items()}
