"""A disk so small that it can be filled, and made read-only even for the superuser."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILLER = "filler"


@contextmanager
def small_disk(folder: Path, megabytes: int = 4) -> Iterator[bool]:
    """Within, the new `folder` is a disk of its own, if this user may mount one; whether it is."""
    folder.mkdir(parents=True)
    mounted = _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "drill", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(folder: Path) -> None:
    """Leaves no byte free on the disk of that folder; `(folder / FILLER).unlink()` gives them back."""
    size = 2**16
    with (folder / FILLER).open("ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def make_read_only(folder: Path) -> None:
    """Nobody can write in that folder, a `small_disk`, any more."""
    if not _mount("-o", "remount,ro", str(folder)):
        raise OSError(f"{folder} cannot be made read-only")


def make_writable(folder: Path) -> None:
    """Undoes `make_read_only`."""
    _mount("-o", "remount,rw", str(folder))


def _mount(*words: str) -> bool:
    try:
        return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
