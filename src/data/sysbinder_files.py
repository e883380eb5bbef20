"""CLEVR-Easy, -Hard and -Tex as SysBinder's authors publish them (Singh et al., 2023), with masks and factors in files
beside the pictures: images/NAME.png, images/NAME_mask.png and scenes/NAME.json."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .image_folder import ImageFolder, as_tensor, list_pictures, split_of
from .mask_decoding import MASK, decode_with_mask, mask_of
from .picture_cache import Decoder
from .scene_json import KEYS, objects_beside, picture_size, scene_factors, scene_of


class SysBinderFiles(ImageFolder):
    """Pictures with masks and factors; arguments and errors as `ImageFolder`.

    `path` is the folder that holds images/ and scenes/, or a glob of the pictures themselves. The factors are those of
    colour, shape, material and size that all objects have: classes where the files have words, continuous where they
    have numbers; and x and y of the objects' centres, as fractions of the picture.
    """

    name = "sysbinder"
    has_instances = has_factors = True

    def __init__(self, path: str | Path, *arguments: Any, **named: Any) -> None:
        super().__init__(path, *arguments, **named)
        self._factors: dict[str, Tensor] | None = None
        self._kinds: tuple[dict[str, tuple[str, ...]], tuple[str, ...]] | None = None

    def _all_files(self) -> list[str]:
        images = os.path.join(os.path.expanduser(self.path), "images")
        found = list_pictures(images if os.path.isdir(images) else self.path)
        pictures = [file for file in found if not file.endswith(MASK)]
        if not any(os.path.isfile(mask_of(file)) for file in pictures):
            raise FileNotFoundError(
                f"data.path={self.path} has no masks (NAME{MASK} beside NAME.png); data=folder trains without them"
            )
        return pictures

    def _files(self) -> list[str]:
        return split_of(self._all_files(), self.split, self.path)

    def _decoder(self) -> tuple[Decoder, int, Sequence[str]]:
        beside = [other(file) for file in self.files for other in (mask_of, scene_of)]
        return functools.partial(decode_with_mask, image_size=self.image_size), 4, beside

    @property
    def instances(self) -> Tensor:
        return as_tensor(self._pixels())[:, 3]

    @property
    def kinds(self) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """The categorical factors with the names of their classes, in alphabetical order over all splits, and the
        continuous ones."""
        if self._kinds is None:
            objects = [one for file in self._all_files() for one in _objects_if_any(file)]
            values: dict[str, list[Any]] = {name: [one.get(key) for one in objects] for name, key in KEYS.items()}
            self._kinds = (
                {name: tuple(sorted(set(found))) for name, found in values.items() if _all(found, str)},
                tuple(name for name, found in values.items() if _all(found, int, float)),
            )
        return self._kinds

    @property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        return self.kinds[0]

    @property
    def scored_factors(self) -> tuple[str, ...]:
        classes, numbers = self.kinds
        return (*classes, *numbers, "x", "y")

    @property
    def factors(self) -> dict[str, Tensor]:
        if self._factors is None:
            files = [self.files[number] for number in self._pixels().kept]
            scenes = [(objects_beside(file), picture_size(file)) for file in files]
            factors = scene_factors(scenes, *self.kinds, source=self.path, keep_hidden=True)
            self._factors = {name: torch.from_numpy(values) for name, values in factors.items()}
        return self._factors


def _objects_if_any(picture: str) -> list[dict[str, Any]]:
    """Those of a scene that may be left out: whoever decodes it says why."""
    try:
        return objects_beside(picture)
    except (FileNotFoundError, ValueError):
        return []


def _all(values: Sequence[Any], *kinds: type) -> bool:
    return bool(values) and all(isinstance(value, kinds) for value in values)
