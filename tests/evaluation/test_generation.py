"""Scenes drawn batch by batch are those that the model itself draws."""

from __future__ import annotations

import pytest
import torch

from src.evaluation.generation import draw_scenes
from src.models.svq_model import SVQ

SIZES = {"image_size": 16, "num_slots": 3, "slot_size": 8, "num_codebooks": 2, "codebook_size": 6, "code_dim": 4}


@pytest.fixture
def model() -> SVQ:
    torch.manual_seed(0)
    return SVQ(**SIZES, hidden_dim=8).eval()


def test_batches_of_one_generator(model: SVQ) -> None:
    torch.nn.init.normal_(model.init_prior(embed_dim=8, num_heads=2, num_layers=1).head)
    codes, images = draw_scenes(model, 7, 0.8, 4, seed=3, batch_size=3, progress=False)
    assert codes.shape == (7, 3, 2) and codes.dtype == torch.int64
    assert images.shape == (7, 3, 16, 16) and images.dtype == torch.float32
    generator = torch.Generator().manual_seed(3)
    expected = [model.generate(batch, 0.8, 4, generator) for batch in (3, 3, 1)]
    assert torch.equal(images, torch.cat(expected))
    decoded = [model.decode(some).recon.detach().clamp(0, 1) for some in codes.split(3)]
    assert torch.equal(images, torch.cat(decoded))


def test_without_a_prior_every_code_is_as_likely(model: SVQ) -> None:
    codes, images = draw_scenes(model, 400, seed=1, batch_size=150, progress=False)
    assert images.shape == (400, 3, 16, 16) and images.min() >= 0 and images.max() <= 1
    assert torch.bincount(codes.flatten(), minlength=6).min() > 300  # of 400 on average
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(codes[:150], torch.randint(6, (150, 3, 2), generator=generator))


def test_the_callers_random_numbers_are_left_alone(model: SVQ) -> None:
    state = torch.get_rng_state()
    draw_scenes(model, 2, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
