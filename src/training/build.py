"""From settings to data and models, with sizes that do not fit found before anything is trained."""

from __future__ import annotations

from dataclasses import fields

import torch

from ..configs.errors import as_config_error
from ..configs.schema import DataConfig, ModelConfig, TrainConfig
from ..data.toy_datasets import ToyDataset, make_dataset
from ..models.svq_model import SVQ
from ..utils.progress import progress_bar
from .batches import BatchOrder


def make_split(data: DataConfig, split: str) -> ToyDataset:
    """The data set of one split: "train", "val" or "test"; nothing is rendered yet."""
    sizes = {"train": data.num_train, "val": data.num_val, "test": data.num_test}
    return make_dataset(
        data.name,
        num_samples=sizes[split],
        image_size=data.image_size,
        max_shapes=data.max_shapes,
        split=split,
        seed=data.seed,
        background=data.background,
    )


def make_model(model: ModelConfig) -> SVQ:
    """An untrained model; every setting is an argument of its constructor."""
    return SVQ(**{entry.name: getattr(model, entry.name) for entry in fields(model)})


def check_sizes(config: TrainConfig) -> None:
    """Finds sizes that do not fit together, those of the second phase too, before the first one starts.

    Raises:
        ConfigError: naming the sizes.
    """
    prior, num_train = config.training.prior, config.data.num_train
    with as_config_error(), torch.device("meta"):  # shapes without memory, weights without random numbers
        make_split(config.data, "test")
        model = make_model(config.model)
        BatchOrder(num_train, config.training.batch_size, config.seed)
        if prior.steps:
            BatchOrder(num_train, prior.batch_size, config.seed)
            model.init_prior(prior.embed_dim, prior.num_heads, prior.num_layers, prior.dropout)


def render(*datasets: ToyDataset, show: bool = True) -> None:
    """Draws the pictures of the data sets into memory, where they stay."""
    total = sum(len(data) for data in datasets)
    with progress_bar("rendering", total, unit="image", enabled=show) as bar:
        for data in datasets:
            _ = data.images
            bar.update(len(data))
