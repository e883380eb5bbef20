"""Files that are written whole or not at all. Imports no torch, so that worker processes start at once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its name when the block has ended, and is removed if it fails.

    Whoever reads `path` meanwhile, or after a kill, finds what was there before. Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of a full disk the system does not say where
            error.filename = str(path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(path: Path) -> None:
    """Removes what killed processes left of writing `path`; nobody else may be writing it."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        draft.unlink(missing_ok=True)


def is_same_file(path: Path, other: Path) -> bool:
    """Whether both are there and one and the same."""
    return path.exists() and other.exists() and path.samefile(other)
