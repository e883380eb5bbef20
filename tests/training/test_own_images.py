"""Training on pictures in files: with and without ground truth, from the command line, every mistake in one line."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.configs.errors import ConfigError
from src.configs.launch import Invocation
from src.data.base import SceneDataset
from src.training.batches import BatchOrder, batches
from src.training.build import make_split, prepare
from src.training.run import train

from ..data.files import write_clevr, write_pictures, write_sysbinder
from .tiny import TINY, in_folder, tiny_config

ROOT = Path(__file__).parents[2]
ALL = ("data.num_train=null", "data.num_val=null", "data.num_test=null", "training.prior.batch_size=4")
SCORED = ("evaluation.enabled=true", "evaluation.num_generated=2", "training.steps=2", "training.prior.steps=2")


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos", 20)
    return tmp_path / "photos"


def run(tmp_path, *words: str) -> dict:
    return train(tiny_config(*in_folder(tmp_path), *ALL, *words), Invocation(tmp_path / "run"))


def test_a_folder_trains_and_says_which_scores_need_ground_truth(tmp_path, photos):
    scores = run(tmp_path, "data=folder", f"data.path={photos}", *SCORED)["scores"]
    assert scores["reconstruction"]["n"] == 3 and scores["prior"]["n_scenes"] == 3
    for part in ("segmentation", "readout", "blocks", "codebooks", "generation", "attribute_network"):
        assert scores[part] is None
    assert any(
        line.startswith("segmentation, readout, blocks, codebooks: folder has no masks") for line in scores["notes"]
    )
    assert any(line.startswith("generation: no attribute network judges") for line in scores["notes"])
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"results.json", "reconstructions.png", "masks.png", "samples.png"} <= files
    assert "codebook_use_objects.png" not in files
    assert len(list((tmp_path / "logs" / "cache").glob("pictures_*.bin"))) == 3


@pytest.mark.slow
def test_masks_and_factors_beside_the_pictures_are_scored(tmp_path):
    write_sysbinder(tmp_path / "easy", 14)
    scores = run(tmp_path, "data=sysbinder", "data.image_size=16", f"data.path={tmp_path / 'easy'}", *SCORED)["scores"]
    assert scores["segmentation"]["miou"] is not None and scores["segmentation"]["n_miou"] == 3
    assert {"colour", "shape", "material", "size", "x", "y"} <= set(scores["readout"])
    assert set(scores["blocks"]) == {"colour", "x", "y", "n"} and scores["generation"] is None
    assert (tmp_path / "run" / "block_factor.png").exists()


@pytest.mark.slow
def test_clevrs_own_files_train(tmp_path):
    write_clevr(tmp_path / "CLEVR", {"train": 8, "val": 3, "test": 2})
    words = ("data=clevr", "data.image_size=16", f"data.path={tmp_path / 'CLEVR'}")
    scores = run(tmp_path, *words, *SCORED)["scores"]
    assert scores["segmentation"] is None and scores["reconstruction"]["n"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.path=nowhere/*.png"], r"data.path=nowhere/\*.png matches no file"),
        (["data.path={photos}", "data.num_train=99"], "99 train pictures were asked for but .* has 14"),
        (
            ["data.path={photos}", "training.batch_size=15"],
            "training.batch_size=15 exceeds the 14 training pictures of {photos}; give at most 14 for it, or add",
        ),
        (
            ["data.path={photos}", "training.batch_size=16", "training.prior.batch_size=99"],
            "training.batch_size=16 and training.prior.batch_size=99 exceed the 14 .* give at most 14 for each, or add",
        ),
        (
            ["data.path={photos}", "training.batch_size=16", "training.devices=4"],
            "training.batch_size=16 exceeds the 14 training pictures of {photos}; give at most 12 for it, or add",
        ),
    ],
)
def test_what_cannot_be_opened_is_said_before_training(tmp_path, photos, words, said):
    with pytest.raises(ConfigError, match=said.replace("{photos}", re.escape(str(photos)))) as error:
        run(tmp_path, "data=folder", *(word.format(photos=photos) for word in words))
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    assert not (tmp_path / "checkpoints").exists()


def test_pictures_that_are_left_out_count_for_no_batch(tmp_path, photos):
    (photos / "picture_003.png").write_bytes(b"broken")
    words = ("data=folder", f"data.path={photos}", "data.skip_bad=true", "training.batch_size=14")
    with pytest.raises(
        ConfigError, match=r"training.batch_size=14 exceeds the 13 .* \(1 more cannot be used\); give at"
    ):
        run(tmp_path, *words)
    assert not (tmp_path / "checkpoints").exists()


def test_one_batch_may_be_all_pictures(tmp_path, photos):
    batches = ("training.batch_size=14", "training.prior.batch_size=14")
    words = ("data=folder", f"data.path={photos}", *batches, "training.steps=3", "training.prior.steps=3")
    validation = run(tmp_path, *words)["validation"]
    assert all(math.isfinite(value) for value in validation.values())


def test_bad_pictures_stop_the_run_or_are_counted(tmp_path, photos, caplog):
    caplog.set_level("INFO")
    (photos / "picture_003.png").write_bytes(b"broken")
    words = ("data=folder", f"data.path={photos}", "training.prior.steps=0", "training.steps=2")
    with pytest.raises(ConfigError, match="picture_003.png: not a picture, or damaged.*data.skip_bad=true"):
        run(tmp_path, *words)
    run(tmp_path, *words, "data.skip_bad=true")
    assert f"left 1 train pictures out, the first: {photos / 'picture_003.png'}: not a picture" in caplog.text


def test_batches_of_spawned_workers_come_from_the_mapped_file(tmp_path, photos):
    data = make_split(tiny_config(*in_folder(tmp_path), *ALL, "data=folder", f"data.path={photos}").data, "train")
    assert isinstance(data, SceneDataset) and prepare(data, show=False) == []
    order = BatchOrder(len(data), 7, seed=0)
    given = batches(data, order, num_workers=1)
    for index, batch in zip(range(3), given, strict=False):
        expected = next(batches(data, BatchOrder(len(data), 7, seed=0, first_step=index)))
        assert torch.equal(batch, expected) and batch.dtype == torch.uint8


def command(cwd: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "0"}
    line = [sys.executable, "-m", "src.train", *words]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_the_command_line_decodes_in_several_processes_and_trains(tmp_path):
    write_pictures(tmp_path / "photos", 400)
    tiny = [word for word in TINY if not word.startswith("data.num_")]
    words = ["data=folder", "data.path=photos", *tiny, *SCORED]
    done = command(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "logs" / "svq").iterdir()
    assert json.loads((folder / "results.json").read_text())["scores"]["reconstruction"]["n"] == 60
    assert "decoding train pictures: 100%" in done.stderr
    again = command(tmp_path, *words)
    assert again.returncode == 0 and "decoding" not in again.stderr

    (tmp_path / "photos" / "picture_007.png").write_bytes(b"")
    done = command(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: photos/picture_007.png: not a picture, or damaged")


@pytest.mark.slow
def test_of_two_processes_the_first_decodes(tmp_path):
    write_pictures(tmp_path / "photos", 20)
    done = command(tmp_path, "training.devices=2", "data=folder", "data.path=photos", *TINY, *ALL, "training.steps=2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("decoding train pictures: 100%") == 1
    assert len(list((tmp_path / "logs" / "cache").iterdir())) == 4  # train and val: pixels and index of each
