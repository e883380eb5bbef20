"""Studios to try the page with: one whose codes are the factors, and one of a tiny untrained model."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any, cast

import torch
from hydra import compose, initialize_config_dir

from src.configs import launch
from src.configs.schema import DemoConfig
from src.data.toy_datasets import make_dataset
from src.editor.studio import Studio, open_studio
from src.models.svq_model import SVQ
from src.training.build import make_model

from ..evaluation.factor_model import FactorModel
from ..training.tiny import CONFIGS, tiny_config


@cache
def exact_studio() -> Studio:
    """Of a `FactorModel`: what an edit must do is known for it."""
    train_ds, test_ds = (make_dataset("shapes", num_samples=128, split=s, image_size=32) for s in ("train", "test"))
    return open_studio(cast(Any, FactorModel(train_ds, test_ds)), train_ds, test_ds)


def tiny_model(prior: bool = True) -> SVQ:
    torch.manual_seed(0)
    model = cast(SVQ, make_model(tiny_config().model))
    if prior:
        model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    return model.eval()


@cache
def tiny_studio() -> Studio:
    train_ds, test_ds = (
        make_dataset("shapes", num_samples=16, split=s, image_size=16, max_shapes=3) for s in ("train", "test")
    )
    studio = open_studio(tiny_model(), train_ds, test_ds, nullcontext())
    everything = tuple(range(studio.model.codebook_size))  # an untrained model uses few of its codes
    studio.meanings = [replace(meaning, shown=everything) for meaning in studio.meanings]
    return studio


def demo_config(*words: str) -> DemoConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return launch.to_object(compose("demo", list(words)), DemoConfig)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
