"""Your own pictures: a folder or a glob, split as the official code splits its data."""

from __future__ import annotations

import functools
import glob
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .base import SPLITS, SceneDataset, check_choice
from .decoding import ENDINGS, PictureError, decode_picture
from .picture_cache import Decoder, Stored, stored_pictures

SPLIT_AT = (0.7, 0.85)  # of the sorted files: train, val, test
CACHE_DIR = "logs/cache"


class ImageFolder(SceneDataset):
    """Pictures in files, without ground truth; decoded once (see picture_cache.py) and mapped into memory.

    Args:
        path: a folder, whose pictures at any depth count, or a glob such as "photos/**/*.jpg".
        split: "train", "val" or "test": 70, 15 and 15 % of the files sorted by name.
        image_size: H = W; decoding.py says how pictures come to it.
        num_images: the first so many of the split; None: all.
        skip_bad: leave out files that cannot be used. `len(ds)` then decodes.
        cache_dir: where the decoded pixels are kept.

    Raises:
        FileNotFoundError: no such folder, or nothing that matches.
        ValueError: too few pictures, an unknown split.
        PictureError (a ValueError), at the first use: a file that cannot be used, named with the number of others.
    """

    name = "folder"
    shares_cache = True

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        image_size: int = 64,
        num_images: int | None = None,
        skip_bad: bool = False,
        cache_dir: str | Path = CACHE_DIR,
    ) -> None:
        self.path, self.split, self.image_size = str(path), check_choice("split", split, SPLITS), image_size
        self.skip_bad, self.cache_dir = skip_bad, str(cache_dir)
        files = self._files()
        if num_images is not None and num_images > len(files):
            raise ValueError(
                f"{num_images} {split} pictures were asked for but {path} has {len(files)}; "
                f"lower data.num_{split}, or null for all"
            )
        self.files = files[:num_images]
        self._stored: Stored | None = None

    def _files(self) -> list[str]:
        """The pictures of the split."""
        return split_of(list_pictures(self.path), self.split, self.path)

    def _decoder(self) -> tuple[Decoder, int, Sequence[str]]:
        """How to decode a file, to how many channels, and what other files that takes."""
        return functools.partial(decode_picture, image_size=self.image_size), 3, ()

    def _pixels(self, show: bool = False) -> Stored:
        if self._stored is None:
            decoder, channels, beside = self._decoder()
            stored = stored_pictures(
                self.files,
                decoder,
                (channels, self.image_size, self.image_size),
                definition=self.name,
                cache_dir=self.cache_dir,
                beside=beside,
                show=show,
                description=f"decoding {self.split} pictures",
            )
            self._stored = self._checked(stored)
        return self._stored

    def _checked(self, stored: Stored) -> Stored:
        if stored.bad and not self.skip_bad:
            others = f" (and {len(stored.bad) - 1} more)" if len(stored.bad) > 1 else ""
            raise PictureError(f"{stored.bad[0]}{others}; mend or remove it, or leave such out with data.skip_bad=true")
        if not stored.kept:
            raise PictureError(f"none of the {len(self.files)} {self.split} pictures can be used: {stored.bad[0]}")
        return stored

    @property
    def skipped(self) -> list[str]:
        """One line for each file that was left out."""
        return self._pixels().bad

    @property
    def images(self) -> Tensor:
        return as_tensor(self._pixels())[:, :3]

    def prepare(self, show: bool = False) -> ImageFolder:
        """Decodes the pictures into the cache, unless they are there; returns the data set."""
        self._pixels(show)
        return self

    def __len__(self) -> int:
        return len(self._pixels().kept) if self.skip_bad else len(self.files)

    def __getstate__(self) -> dict[str, Any]:
        """Without the pixels: another process maps the file itself."""
        return {**self.__dict__, "_stored": None}


def as_tensor(stored: Stored) -> Tensor:
    """The mapped pixels as a tensor (num, C, H, W) that must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(stored.pixels)


def list_pictures(path: str) -> list[str]:
    """The files of a folder (those with the ending of a picture, at any depth) or of a glob, sorted by name.

    Of a folder nothing hidden counts, be it a file or a folder; pipes, sockets and devices never do.

    Raises:
        FileNotFoundError: there are none.
        ValueError: one file instead of many.
    """
    where = os.path.expanduser(path)
    if os.path.isdir(where):
        found = []
        for folder, folders, names in os.walk(where):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (os.path.join(folder, name) for name in names if not name.startswith("."))
            found += [path for path in paths if path.lower().endswith(ENDINGS) and not _is_special(path)]
        if not found:
            raise FileNotFoundError(f"data.path={path} holds no pictures ({', '.join(ENDINGS)}), at any depth")
    elif os.path.isfile(where):
        raise ValueError(f"data.path={path} is one file; give a folder of pictures, or a glob such as '*.png'")
    else:
        found = [name for name in glob.glob(where, recursive=True) if os.path.isfile(name)]
        if not found:
            kind = "matches no file" if glob.has_magic(where) else "does not exist"
            raise FileNotFoundError(f"data.path={path} {kind}, seen from {os.getcwd()}; give a folder or a glob")
    return sorted(found)


def _is_special(path: str) -> bool:
    """Whether it is no file, so that opening it may wait forever; a link that leads nowhere is left for the decoder to
    name."""
    return os.path.exists(path) and not os.path.isfile(path)


def split_of(files: Sequence[str], split: str, path: str) -> list[str]:
    """The files of a split: the first 70 %, the next 15 %, the rest; bounds are rounded down.

    Raises:
        ValueError: so few that one of the splits would be empty.
    """
    first, second = (int(len(files) * share) for share in SPLIT_AT)
    parts = (files[:first], files[first:second], files[second:])
    if not all(parts):
        raise ValueError(
            f"data.path={path} has {len(files)} pictures, too few for a split of 70, 15 and 15 %; give at least 4"
        )
    return list(parts[SPLITS.index(split)])
