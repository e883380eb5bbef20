"""Checkpoint files: written whole or not at all, and one clear line when a file is not what it should be.

Every checkpoint is a plain dictionary of tensors and plain containers, so `torch.load` with its safe default
(`weights_only=True`) opens it. The key `format` says that the file is one of ours. A folder of weights that
`pretrained.py` wrote says the same.
"""

from __future__ import annotations

import difflib
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from .pretrained import BEST, is_pretrained, locate, read_folder, shipped
from .whole_files import draft_of

FORMAT = "svq"
VERSION = 3  # raise it when older files no longer fit


def atomic_save(obj: dict[str, Any], path: str | Path) -> None:
    """Write `obj` with `torch.save` so that `path` holds either the old file or the whole new one.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and take the final name in
    one step; a kill at any moment leaves the previous checkpoint as it was. Missing parent folders are made.

    Raises:
        OSError: the folder cannot be written (no space, no permission).
    """
    path = Path(path)
    with draft_of(path) as draft, draft.open("wb") as file:
        try:
            torch.save(obj, file)
        except RuntimeError as error:  # about the end of the file, which it tried to write after the system's error
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def load_kept(path: Path | None, format: str) -> dict[str, Any] | None:
    """What `atomic_save` wrote with this `format` and can be made anew: None where there is no such whole file."""
    if path is None or not path.is_file():
        return None
    try:
        kept = _load(path, "cpu")
    except Exception:  # truncated or foreign files raise anything; all of them mean: make it anew
        return None
    return kept if isinstance(kept, dict) and kept.get("format") == format else None


def safe_load(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Open a checkpoint written by this project, without running any code that may be inside the file.

    `path` may also be a folder that `save_pretrained` wrote, the folder of a best_model.pth, or the name of a shipped
    model.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: `path` is not a path.
        ValueError: another folder, a truncated or damaged file, no checkpoint of this project, or another version.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be the path of a file, got {path!r}")
    path = locate(path)
    if is_pretrained(path):
        return _checked(read_folder(path), path)
    if path.is_dir():
        raise ValueError(f"checkpoint {path} is a folder; give a file, such as {path / BEST}")
    if not path.exists():
        names = shipped()
        or_else = f", or give the name of a shipped model: {', '.join(names)}" if names else ""
        if close := difflib.get_close_matches(str(path).lower(), names, n=1, cutoff=0.75):
            or_else += f"; did you mean {close[0]}?"
        raise FileNotFoundError(f"checkpoint {path} does not exist; train one with `python -m src.train`{or_else}")
    try:
        with warnings.catch_warnings():
            # The error below says more of a plain pickle file than PyTorch's warning of its protocol.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            checkpoint = _load(path, map_location)
    except (PermissionError, MemoryError):  # the file may be whole
        raise
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError, ... for broken files
        raise ValueError(_damaged(path)) from error
    return _checked(checkpoint, path)


def _load(path: Path, map_location: Any) -> Any:
    """What `torch.save` wrote, after a look at its checksums, for which `torch.load` does not care: a bit that flipped
    on the way would be a wrong weight."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise ValueError(f"the checksum of {damaged} is wrong")
    return torch.load(path, map_location=map_location, weights_only=True)


def _checked(checkpoint: Any, path: Path) -> dict[str, Any]:
    """`checkpoint`, if it is one of ours and of this version."""
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint {path} was not written by this project (no format '{FORMAT}' in it); "
            "give a file that `python -m src.train` wrote"
        )
    version = checkpoint.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"checkpoint {path} has version {shown(version)} but this code reads "
            f"version {VERSION}; update the code or train again"
        )
    for name, kind in (("config", dict), ("metrics", dict), ("step", int)):
        if not isinstance(checkpoint.get(name), (kind, type(None))):
            raise ValueError(f"checkpoint {path} is damaged: its {name} is {type(checkpoint[name]).__name__}")
    return checkpoint


def shown(value: Any) -> str:
    """What a file holds, as one short line of an error has room for it."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]} …"


def _damaged(path: Path) -> str:
    size = path.stat().st_size
    return (
        f"checkpoint {path} ({size:,} bytes) cannot be read: it is truncated, damaged or not a checkpoint; "
        "copy it again or train a new one"
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power loss, where the system can (Windows cannot open folders)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
