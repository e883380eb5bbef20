from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from src.models.svq_model import SVQ
from src.training.autoencoder import merged_size, parameter_groups
from src.training.build import make_model
from src.training.loop import set_learning_rates

from .tiny import tiny_config


def tokens(*words: str):
    """The settings of a tiny model with the paper's decoder."""
    return tiny_config("model.decoder=transformer", "model.num_starts=1", *words)


def test_one_group_where_no_part_has_a_rate_of_its_own() -> None:
    config = tokens()
    model = make_model(config.model)
    (group,) = parameter_groups(model, config.training)
    assert {id(weights) for weights in group["params"]} == {id(weights) for weights in model.parameters()}


@pytest.mark.parametrize("with_dvae", [True, False])
def test_every_weight_is_in_one_group_and_the_dvae_keeps_its_rate(with_dvae: bool) -> None:
    config = tokens("training.decoder_learning_rate=0.3", f"training.dvae_learning_rate={0.2 if with_dvae else 'null'}")
    model = make_model(config.model)
    assert isinstance(model, SVQ)
    groups = parameter_groups(model, config.training)
    rates = [0.001, 0.3, 0.2] if with_dvae else [0.001, 0.3]
    assert [group["peak"] for group in groups] == rates
    names = [id(weights) for group in groups for weights in group["params"]]
    assert sorted(names) == sorted(id(weights) for weights in model.parameters())
    dvae = {id(weights) for weights in model.decoder.decoder.dvae.parameters()}
    assert dvae <= {id(weights) for weights in groups[-1]["params"]}

    optimizer = torch.optim.Adam(groups, lr=1.0)
    phase = SimpleNamespace(optimizer=optimizer, learning_rate=1.0, warmup_steps=10, steps=100, half_life=None)
    assert set_learning_rates(phase, 4) == pytest.approx(0.0005)
    found = [group["lr"] for group in optimizer.param_groups]
    assert found == pytest.approx([0.0005, 0.15, 0.2] if with_dvae else [0.0005, 0.15])


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["training.merge_to=3"], 3),
        (["training.merge_to=8"], None),  # there are no more of them
        (["training.merge_to=9"], None),
        (["training.merge_to=null"], None),
        (["model.kind=vqvae", "training.merge_to=3"], 3),
        (["model.kind=dvae", "training.merge_to=3"], None),  # codes that have no vectors
        (["model.bottleneck=prototypes", "training.prior.steps=0", "training.merge_to=3"], None),
        (["model.bottleneck=none", "training.prior.steps=0", "training.merge_to=3"], None),
    ],
)
def test_codes_are_merged_where_a_codebook_has_more(words: list[str], left: int | None) -> None:
    config = tiny_config(*words)
    model = make_model(config.model)
    assert merged_size(model, config.training) == left
    if left is not None:
        model.merge_codes(left)
        assert model.codebook is not None and model.codebook.shape[1] == model.codebook_size == left
