"""Bits per code of priors whose likelihood is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from src.evaluation.prior import prior_bits_per_code
from src.models.transformer_decoder import AutoregressiveTransformer


class Sorted(nn.Module):
    """Costs 0 nats for slots sorted by their first code, and 2 nats a code for any other order."""

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.weight = nn.Parameter(torch.zeros(1))

    def nll(self, codes: Tensor) -> Tensor:
        assert not self.training
        wrong = (codes[:, :, 0].diff(dim=1) < 0).any(dim=1)
        return 2.0 * wrong[:, None, None].expand(codes.shape).float()


def test_the_order_given_and_a_shuffled_one() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.rand(300, 16, generator=generator).argsort(dim=1)[:, :3].sort(dim=1).values] * 2, dim=2)
    prior = Sorted(16).train()
    bits = prior_bits_per_code(prior, codes, batch_size=64)
    assert bits["canonical"] == 0.0
    assert bits["shuffled"] == pytest.approx(5 / 6 * 2 / math.log(2), rel=0.1)  # 1 of 3! orders is sorted
    assert bits["uniform"] == 4.0 and bits["n_scenes"] == 300 and bits["n_codes"] == 1800
    assert prior.training
    assert prior_bits_per_code(prior, codes, seed=0, batch_size=7) == bits


def test_patches_have_their_places_and_are_not_shuffled() -> None:
    codes = torch.arange(3).view(1, 3, 1).expand(5, -1, 2)
    whole = prior_bits_per_code(Sorted(4), codes)
    bits = prior_bits_per_code(Sorted(4), codes, shuffle=False)
    assert bits == {**whole, "shuffled": None}


def test_a_prior_without_knowledge_costs_log2_k() -> None:
    prior = AutoregressiveTransformer(3, 2, 8, embed_dim=16, num_heads=2, num_layers=1)
    nn.init.zeros_(prior.head)
    codes = torch.randint(0, 8, (10, 3, 2), generator=torch.Generator().manual_seed(0))
    bits = prior_bits_per_code(prior, codes)
    assert bits["canonical"] == pytest.approx(3.0, abs=1e-5) and bits["shuffled"] == pytest.approx(3.0, abs=1e-5)


def test_no_scenes_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one scene"):
        prior_bits_per_code(Sorted(4), torch.zeros(0, 3, 2, dtype=torch.int64))
