"""Decoded once, written whole or not at all, and nothing of another set of files."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src.data import picture_cache
from src.data.decoding import decode_picture
from src.data.picture_cache import stored_pictures

from .files import noise, write_pictures

ROOT = Path(__file__).parents[2]
DECODER = functools.partial(decode_picture, image_size=20)


def kept(files, cache, definition="test", **options):
    return stored_pictures([str(file) for file in files], DECODER, (3, 20, 20), definition, cache, **options)


def test_the_second_time_nothing_is_decoded(tmp_path, monkeypatch):
    files = write_pictures(tmp_path / "in", 5)
    stored = kept(files, tmp_path / "cache")
    assert isinstance(stored.pixels, np.memmap) and stored.kept == list(range(5)) and stored.bad == []
    for number in range(5):
        assert np.array_equal(stored.pixels[number], noise(number).transpose(2, 0, 1))
    with pytest.raises(ValueError, match="read-only"):
        stored.pixels[0] = 0
    monkeypatch.setattr(picture_cache, "_decode_into", None)
    assert np.array_equal(kept(files, tmp_path / "cache").pixels, stored.pixels)


def test_other_files_times_or_definitions_are_other_keys(tmp_path):
    files = write_pictures(tmp_path / "in", 3)
    cache = tmp_path / "cache"
    kept(files, cache)
    kept(files[:2], cache)
    kept(files, cache, definition="another")
    os.utime(files[1], ns=(1, 1))
    kept(files, cache)
    kept(files, cache, beside=[str(files[0])])
    assert len(list(cache.glob("*.bin"))) == len(list(cache.glob("*.json"))) == len(list(cache.iterdir())) / 2 == 5


def test_bad_files_are_named_and_the_rest_is_kept(tmp_path):
    files = write_pictures(tmp_path / "in", 4)
    files[1].write_bytes(files[1].read_bytes()[:60])
    stored = kept([*files, tmp_path / "missing.png"], tmp_path / "cache")
    assert stored.kept == [0, 2, 3] and stored.pixels.shape == (3, 3, 20, 20)
    assert [line.split(":")[0] for line in stored.bad] == [str(files[1]), str(tmp_path / "missing.png")]
    assert np.array_equal(stored.pixels[1], noise(2).transpose(2, 0, 1))
    assert kept([files[1]], tmp_path / "cache").pixels.shape == (0, 3, 20, 20)


@pytest.mark.parametrize("damage", ["short", "gone", "no index", "no json"])
def test_what_is_not_whole_is_made_again(tmp_path, damage):
    files = write_pictures(tmp_path / "in", 3)
    kept(files, tmp_path / "cache")
    (data,), (index,) = ((*(tmp_path / "cache").glob(pattern),) for pattern in ("*.bin", "*.json"))
    content = data.read_bytes()
    if damage == "short":
        data.write_bytes(content[:-1])
    elif damage == "gone":
        data.unlink()
    elif damage == "no index":
        index.unlink()
    else:
        index.write_text("{")
    kept(files, tmp_path / "cache")
    assert data.read_bytes() == content and index.exists()


def test_an_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    files = write_pictures(tmp_path / "in", 3)

    def interrupted(attempt, files):
        yield from map(attempt, files[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(picture_cache, "_in_order", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept(files, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_several_processes_give_the_same_pixels_in_the_same_order(tmp_path, monkeypatch):
    files = write_pictures(tmp_path / "in", 40)
    files[7].write_bytes(b"")
    alone = kept(files, tmp_path / "alone")
    monkeypatch.setattr(picture_cache, "processors", lambda: 2)
    monkeypatch.setattr(picture_cache, "FILES_A_WORKER", 10)
    together = kept(files, tmp_path / "together")
    assert together.kept == alone.kept and together.bad == alone.bad
    assert np.array_equal(together.pixels, alone.pixels)


SLOW_DECODER = """
import functools, os, sys, time
from src.data import picture_cache

def slow(path):
    open(os.path.join(path, str(os.getpid())), "w").close()
    time.sleep(0.05)
    return "no picture"

if __name__ == "__main__":
    picture_cache.processors = lambda: 2
    for _ in picture_cache._in_order(slow, [sys.argv[1]] * 20_000):
        pass
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="elsewhere os.kill(pid, 0) ends the process that it is to ask for")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "script.py").write_text(SLOW_DECODER)
    (tmp_path / "workers").mkdir()
    line = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "workers")]
    script = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 100
    while len(list((tmp_path / "workers").iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    script.kill()
    script.wait()
    workers = [int(path.name) for path in (tmp_path / "workers").iterdir()]
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 2 and not any(map(is_running, workers))


def test_worker_processes_need_no_torch():
    code = "import sys; import src.data.mask_decoding, src.data.picture_cache; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        kept(write_pictures(tmp_path / "in", 1), tmp_path / "file")
