"""From settings to data and models, with sizes that do not fit found before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from ..configs.errors import as_config_error
from ..configs.schema import DataConfig, ModelConfig, TrainConfig, check_batches
from ..data.base import SceneDataset
from ..data.catalogue import open_split
from ..models.catalogue import make_model as make_model_of_kind
from ..models.code_model import CodeModel


def make_split(data: DataConfig, split: str) -> SceneDataset:
    """The data set of one split: "train", "val" or "test"; nothing is drawn or decoded yet."""
    sizes = {"train": data.num_train, "val": data.num_val, "test": data.num_test}
    return open_split(
        data.name,
        split,
        image_size=data.image_size,
        num_images=sizes[split],
        max_shapes=data.max_shapes,
        background=data.background,
        seed=data.seed,
        path=data.path,
        skip_bad=data.skip_bad,
        cache_dir=data.cache_dir,
    )


def open_known(data: Mapping[str, Any], split: str, num_images: int) -> SceneDataset:
    """A split of the data that a checkpoint's settings name; settings that they lack have their defaults.

    Raises:
        ValueError: settings that name none, or that cannot be used.
        FileNotFoundError: its pictures are not there.
    """
    if "name" not in data:
        raise ValueError("no data is named")
    known = ("name", "image_size", "max_shapes", "background", "seed", "path", "skip_bad", "cache_dir")
    return open_split(split=split, num_images=num_images, **{name: data[name] for name in known if name in data})


def make_model(model: ModelConfig) -> CodeModel:
    """An untrained model of the settings' kind and sizes."""
    return make_model_of_kind(model.kind, {entry.name: getattr(model, entry.name) for entry in fields(model)})


def check_sizes(config: TrainConfig) -> None:
    """Finds sizes that do not fit together, those of the second phase too, before the first one starts.

    Raises:
        ConfigError: naming the sizes.
    """
    prior = config.training.prior
    left_out = ""
    with as_config_error():
        train_data = make_split(config.data, "train")
        if config.data.skip_bad and train_data.shares_cache:
            train_data.prepare(show=True)  # only now it is known how many are left
            left_out = f" ({len(train_data.skipped)} more cannot be used)" if train_data.skipped else ""
        num_train = len(train_data)
        for split in ("val", "test"):
            make_split(config.data, split)
    there_are = f"the {num_train} training picture{'' if num_train == 1 else 's'} of {config.data.path}{left_out}"
    check_batches(config.training, num_train, there_are, "add pictures")
    with as_config_error(), torch.device("meta"):  # shapes without memory, weights without random numbers
        model = make_model(config.model)
        if prior.steps:
            model.init_prior(
                prior.embed_dim, prior.num_heads, prior.num_layers, prior.dropout, prior.style, prior.relations
            )


def prepare(*datasets: SceneDataset, show: bool = True) -> list[str]:
    """Draws or reads the pictures of the data sets, where they stay in memory or in a file.

    Returns:
        one line for each data set that left files out.

    Raises:
        ConfigError: a picture that cannot be used.
    """
    lines = []
    with as_config_error():
        for data in datasets:
            data.prepare(show)
            if data.skipped:
                lines.append(f"left {len(data.skipped)} {data.split} pictures out, the first: {data.skipped[0]}")
    return lines
