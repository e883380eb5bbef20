"""Training on a rendered folder."""

from __future__ import annotations

import json

import pytest

from src.configs.errors import ConfigError
from src.configs.launch import Invocation
from src.training.checkpoint import BEST
from src.training.run import train

from ..data.rendered import write_rendered
from .tiny import in_folder, tiny_config

WORDS = ("training.steps=2", "training.prior.steps=2", "evaluation.enabled=true", "evaluation.num_generated=4")


@pytest.mark.parametrize("words", ["experiment=clevr_like_easy", "experiment=clevr_like_hard", "data=clevr_like"])
def test_two_steps_and_the_scores(tmp_path, words):
    write_rendered(tmp_path / "scenes")
    config = tiny_config(words, *in_folder(tmp_path), *WORDS, f"data.path={tmp_path / 'scenes'}")
    train(config, Invocation(tmp_path / "run"))
    assert (tmp_path / "checkpoints" / BEST).exists()
    scores = json.loads((tmp_path / "run" / "results.json").read_text())["scores"]
    assert scores["segmentation"]["fg_ari"] is not None
    assert set(scores["readout"]) >= {"colour", "shape", "x", "y"} and "material" not in scores["readout"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.path=nowhere"], "nowhere has no manifest.json"),
        (["data.image_size=32"], "holds pictures of 16 pixels, not data.image_size=32"),
        (["data.num_train=30"], "30 train scenes were asked for but"),
    ],
)
def test_a_folder_that_does_not_fit_is_found_before_training(tmp_path, words, said):
    write_rendered(tmp_path / "scenes")
    overrides = ["data=clevr_like", f"data.path={tmp_path / 'scenes'}", *words]
    with pytest.raises(ConfigError, match=said) as error:
        train(tiny_config(*in_folder(tmp_path), *overrides), Invocation(tmp_path / "run"))
    assert "\n" not in str(error.value)


def test_a_shard_that_differs_stops_the_run_with_one_line(tmp_path):
    write_rendered(tmp_path / "scenes")
    (tmp_path / "scenes" / "train-00000.npz").write_bytes(b"")
    config = tiny_config("data=clevr_like", *in_folder(tmp_path), f"data.path={tmp_path / 'scenes'}")
    with pytest.raises(ConfigError, match="train-00000.npz is not the file that manifest.json lists"):
        train(config, Invocation(tmp_path / "run"))
