"""A run of a few seconds: the smallest pictures, model and step counts that still exercise everything."""

from __future__ import annotations

import copy
import functools
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from src.configs import launch  # registers the schemas and conf/
from src.configs.schema import TrainConfig

CONFIGS = Path(launch.__file__).parent

TINY = (
    *("data.image_size=16", "data.max_shapes=3", "data.num_train=24", "data.num_val=8", "data.num_test=8"),
    *("model.num_slots=3", "model.num_iterations=1", "model.slot_size=8", "model.hidden_dim=8"),
    *("model.num_codebooks=2", "model.codebook_size=8", "model.code_dim=4"),
    *("model.feature_dim=8", "model.slot_mlp_dim=16"),  # what they are anyway, but in the paper's model
    *("model.vocab_size=16", "model.decoder_layers=1", "model.decoder_heads=2"),
    *("training.steps=6", "training.batch_size=4", "training.warmup_steps=2", "training.log_every=2"),
    *("training.sketch_steps=2", "training.quantize_from=1", "training.quantize_by=3"),
    *("training.eval_every=3", "training.image_every=100", "training.checkpoint_every=100"),
    *("training.prior.steps=5", "training.prior.batch_size=8", "training.prior.warmup_steps=2"),
    *("training.prior.embed_dim=8", "training.prior.num_heads=2", "training.prior.num_layers=1"),
    *("visualization.num_images=1", "visualization.num_samples=2", "visualization.dpi=40"),
    *("evaluation.enabled=false", "device=cpu"),
)

# What some configs need besides, by a word that chooses them.
PAPER = ("data.image_size=64",)  # the smallest the paper's encoder has
WITHOUT_CODES = ("training.prior.steps=0",)
NEEDED = {
    "experiment=nlotm_sprites": PAPER,
    "experiment=sysbinder": (*PAPER, *WITHOUT_CODES),
    "experiment=slot_attention": WITHOUT_CODES,
    "model=nlotm": PAPER,
    "model=sysbinder": (*PAPER, *WITHOUT_CODES),
    "model=slot_attention": WITHOUT_CODES,
    "model.bottleneck=none": WITHOUT_CODES,
    "model.bottleneck=prototypes": WITHOUT_CODES,
    "model.backbone=paper": PAPER,
}


SOMEWHERE = str(Path("/a/folder/of/a/test").absolute())


def tiny_config(*overrides: str, config_name: str = "train") -> TrainConfig:
    """The config of `python -m src.train --config-name=... <tiny overrides> <overrides>`.

    Composing takes a while, so it is done once for all tests that differ in nothing but the folder of `in_folder`.
    """
    folder = next((Path(word.removeprefix("log_dir=")).parent for word in overrides if word.startswith("log_dir=")), "")
    if not folder or not folder.is_absolute():
        return copy.deepcopy(_composed(overrides, config_name))
    words = tuple(word.replace(str(folder), SOMEWHERE) for word in overrides)
    return _moved(_composed(words, config_name), str(folder))


@functools.cache
def _composed(overrides: tuple[str, ...], config_name: str) -> TrainConfig:
    return launch.compose_config([*TINY, *overrides], config_name)


def _moved(value: Any, folder: str) -> Any:
    """A copy of a config with `folder` for SOMEWHERE."""
    if is_dataclass(value):
        return replace(value, **{entry.name: _moved(getattr(value, entry.name), folder) for entry in fields(value)})
    return value.replace(SOMEWHERE, folder) if isinstance(value, str) else copy.deepcopy(value)


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Bit by bit."""
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def in_folder(path: Path) -> tuple[str, str]:
    """Overrides that keep a run's files below `path`."""
    return f"log_dir={path / 'logs'}", f"checkpoint_dir={path / 'checkpoints'}"


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Those in a checkpoint file."""
    if not path.exists():
        pytest.fail(f"{path} was not written")
    return torch.load(path, weights_only=True)["model_state_dict"]
