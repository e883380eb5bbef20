"""Many files → one file of uint8 pixels that is mapped into memory: decoded once, in parallel, and kept.

The pixels may be more than the memory holds. Imports no torch, so that worker processes start at once.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..utils.progress import progress_bar
from ..utils.whole_files import draft_of
from ..utils.workers import follow_the_parent, processors
from .decoding import PictureError

VERSION = 1  # raise it when a decoder gives other pixels; kept files are then made anew
FILES_A_WORKER = 64  # fewer are not worth the start of a process
CHUNK = 16  # files a worker is handed at once

Decoder = Callable[[str], NDArray[np.uint8]]  # file → (C, H, W); must be picklable


@dataclass(frozen=True)
class Stored:
    """Pixels (num, C, H, W), mapped read-only; `kept` (num,): which of the files they are of; `bad`: one line for each
    of the others."""

    pixels: NDArray[np.uint8]
    kept: list[int]
    bad: list[str]


def stored_pictures(
    files: Sequence[str],
    decoder: Decoder,
    shape: tuple[int, int, int],
    definition: str,
    cache_dir: str | Path,
    beside: Sequence[str] = (),
    show: bool = False,
    description: str = "decoding",
) -> Stored:
    """The pixels of `files`, from the cache if they are there, else decoded now and kept.

    Args:
        decoder: gives `shape` for one file, or raises PictureError; a functools.partial of a module's function.
        definition: names the decoder and its arguments; with paths, sizes and times of the files it is the key.
        beside: further files that the decoder reads.
        show: with a progress bar.

    Raises:
        OSError: the cache cannot be written.
    """
    key = _key(files, beside, shape, definition)
    data, index = (Path(cache_dir) / f"pictures_{key}{ending}" for ending in (".bin", ".json"))
    stored = _open(data, index, shape, len(files))
    if stored is None:
        with draft_of(data) as draft, draft_of(index) as index_draft:
            kept, bad = _decode_into(draft, files, decoder, description, show)
            index_draft.write_text(json.dumps({"kept": kept, "bad": bad}), encoding="utf-8")
        stored = _open(data, index, shape, len(files))
        if stored is None:
            raise OSError(f"{data} was written and is gone or has another size; is {cache_dir} being emptied?")
    return stored


def _key(files: Sequence[str], beside: Sequence[str], shape: tuple[int, int, int], definition: str) -> str:
    digest = hashlib.sha256(repr((VERSION, definition, shape)).encode())
    for path in (*files, *beside):
        try:
            status = os.stat(path)
            what = (os.path.abspath(path), status.st_size, status.st_mtime_ns)
        except OSError:  # the decoder will say so
            what = (os.path.abspath(path), None, None)
        digest.update(repr(what).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _open(data: Path, index: Path, shape: tuple[int, int, int], files: int) -> Stored | None:
    """What is kept, or None if it is missing or not whole."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        kept, bad = list(content["kept"]), list(content["bad"])
        if len(kept) + len(bad) != files or data.stat().st_size != len(kept) * int(np.prod(shape)):
            return None
        pixels = np.memmap(data, np.uint8, "r", shape=(len(kept), *shape)) if kept else np.empty((0, *shape), np.uint8)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Stored(pixels, kept, bad)


def _decode_into(
    path: Path, files: Sequence[str], decoder: Decoder, description: str, show: bool
) -> tuple[list[int], list[str]]:
    """Writes the pixels one after the other; which files they are of, and one line for each of the others."""
    kept, bad = [], []
    attempt = functools.partial(_attempt, decoder)
    with path.open("wb") as file, progress_bar(description, len(files), unit="image", enabled=show) as bar:
        for number, result in enumerate(_in_order(attempt, files)):
            if isinstance(result, str):
                bad.append(result)
            else:
                file.write(result.tobytes())
                kept.append(number)
            bar.update()
    return kept, bad


def _attempt(decoder: Decoder, path: str) -> NDArray[np.uint8] | str:
    """The pixels, or why there are none."""
    try:
        return decoder(path)
    except PictureError as error:
        return str(error)


def _in_order(attempt: Callable[[str], NDArray[np.uint8] | str], files: Sequence[str]) -> Iterator:
    """The results in the order of the files, computed by as many processes as there are processors to use."""
    processes = min(processors(), len(files) // FILES_A_WORKER)
    if processes < 2:
        yield from map(attempt, files)
        return
    # Spawned, because forking a process that has threads, as PyTorch does, may hang the child.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=follow_the_parent)
    try:
        yield from pool.map(attempt, files, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise OSError(
            "a process that decodes pictures ended early: the memory is full, or the script that started it lacks "
            'the line `if __name__ == "__main__":`'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
