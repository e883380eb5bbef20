"""Rendering into a folder: whole shards, going on after a stop, the same bytes whatever the workers."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.data import render_run, shards
from src.data.clevr_like import ClevrLikeDataset
from src.data.render_run import render_scenes
from src.data.shards import MANIFEST, read_manifest

pytest.importorskip("mitsuba")
COUNTS = {"train": 7, "val": 2, "test": 1}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 3)


def run(folder: Path, **changes) -> shards.Manifest:
    settings = {"variant": "easy", "image_size": 16, "samples": 1, "counts": COUNTS, "workers": 1, "show": False}
    return render_scenes(folder, **{**settings, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_SIZE", 3)
        run(folder)
    return contents(folder)


def stop_at(monkeypatch, number: int) -> None:
    """Ctrl-C while the picture of that number is rendered."""
    original, calls = render_run.render_one, itertools.count()

    def render_one(task):
        if next(calls) == number:
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(render_run, "render_one", render_one)


def test_a_folder_holds_whole_shards_and_their_manifest(tmp_path, whole):
    assert sorted(whole) == [
        *(MANIFEST, "test-00000.npz"),
        *("train-00000.npz", "train-00001.npz", "train-00002.npz", "val-00000.npz"),
    ]
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    manifest = read_manifest(tmp_path)
    assert not manifest.missing and manifest.counts == COUNTS
    assert sum(scenes for scenes, _ in manifest.shards.values()) == 10
    dataset = ClevrLikeDataset(tmp_path, image_size=16)
    single = render_run.render_one(render_run.Task(manifest.source, "train", 5))
    assert (dataset.images[5].numpy() == single["images"]).all()


@pytest.mark.parametrize("number", [0, 4, 9])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch, whole, number):
    with monkeypatch.context() as patch:
        stop_at(patch, number)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    done = [shard for shard in read_manifest(tmp_path).plan() if (tmp_path / shard.name).exists()]
    assert sum(shard.stop - shard.start for shard in done) <= number
    before = {shard.name: (tmp_path / shard.name).stat().st_mtime_ns for shard in done}
    assert run(tmp_path).missing == [] and contents(tmp_path) == whole
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in before}


def test_a_shard_that_was_written_but_not_listed_is_made_again(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    (tmp_path / "train-00001.npz").write_bytes(b"half")
    (tmp_path / "train-00002.npz.part").write_bytes(b"half")
    run(tmp_path)
    assert contents(tmp_path) == whole


def test_more_scenes_later_leave_the_first_ones(tmp_path, whole):
    run(tmp_path, counts={"train": 4, "val": 2, "test": 1})
    run(tmp_path)
    assert contents(tmp_path) == whole
    with pytest.raises(ValueError, match="is for 7 train scenes, more than num_train=4; training takes fewer with"):
        run(tmp_path, counts={"train": 4, "val": 2, "test": 1})


def test_what_does_not_match_is_refused(tmp_path, whole):
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    for change, said in (
        ({"variant": "hard"}, "holds scenes of variant=easy, not variant=hard; give another output folder"),
        ({"seed": 1}, "holds scenes of seed=0, not seed=1"),
        ({"image_size": 32}, "holds scenes of image_size=16, not image_size=32"),
        ({"samples": 2}, "holds scenes of samples=1, not samples=2"),
        ({"variant": "medium"}, "variant='medium' is unknown; choose one of: easy, hard"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            run(tmp_path, **change)
        assert "\n" not in str(error.value)
    (tmp_path / "val-00000.npz").unlink()
    run(tmp_path)  # what is gone is made again
    assert contents(tmp_path) == whole
    (tmp_path / "val-00000.npz").write_bytes(b"other")
    with pytest.raises(ValueError, match="val-00000.npz is not the file that manifest.json lists"):
        run(tmp_path)


def test_the_small_splits_come_first_and_older_folders_go_on(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        stop_at(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "new")
    assert sorted(read_manifest(tmp_path / "new").shards) == ["test-00000.npz", "train-00000.npz", "val-00000.npz"]
    assert len(ClevrLikeDataset(tmp_path / "new", image_size=16, num_images=3).images) == 3
    with monkeypatch.context() as patch:
        patch.setattr(shards, "RENDERED", ("train", "val", "test"))
        stop_at(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "old")
    assert sorted(read_manifest(tmp_path / "old").shards) == ["train-00000.npz", "train-00001.npz"]
    for folder in (tmp_path / "new", tmp_path / "old"):
        run(folder)
        assert contents(folder) == whole


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "preview.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match="photos holds other files .preview.png. .*; give an empty or a new folder$"):
        run(photos)
    assert contents(photos) == {"preview.png": b"mine"}
    with pytest.raises(ValueError, match="preview.png is a file; give an empty or a new folder$"):
        run(photos / "preview.png")


def test_a_run_stopped_at_its_very_start_goes_on(tmp_path, whole):
    (tmp_path / f"{MANIFEST}.part").write_bytes(b"half")
    run(tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(tmp_path, whole):
    run(tmp_path, workers=2)
    assert contents(tmp_path) == whole


@pytest.mark.slow
def test_killed_the_command_leaves_no_workers_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.undo()  # the command writes shards of its own size
    words = ["image_size=16", "samples=1", "num_train=600", "num_val=1", "num_test=1", "output=out", "num_workers=2"]
    line = [sys.executable, "-m", "src.render", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 200
    while not (tmp_path / "out" / "train-00000.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()
    running.communicate(timeout=60)  # ends when the workers, which hold the pipe, have ended too
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "train on it with: python -m src.train data=clevr_like data.path=out" in done.stdout
    assert not read_manifest(tmp_path / "out").missing
    assert len(ClevrLikeDataset(tmp_path / "out", image_size=16).images) == 600
