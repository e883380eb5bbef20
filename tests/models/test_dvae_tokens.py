"""The dVAE as a model of its own; what it shares with other models of codes is in test_code_model.py."""

from __future__ import annotations

import pytest
import torch

from src.models.dvae_tokens import DVAETokens


@pytest.mark.parametrize("image_size", [16, 64])
def test_a_code_for_each_patch_of_4_by_4_pixels(image_size: int) -> None:
    model = DVAETokens(image_size=image_size, vocab_size=32)
    assert (model.num_slots, model.num_codebooks, model.codebook_size) == ((image_size // 4) ** 2, 1, 32)


def test_codes_are_the_likeliest_tokens_row_by_row() -> None:
    model = DVAETokens(image_size=16, vocab_size=32)
    image = torch.rand(2, 3, 16, 16)
    codes = model.encode(image)
    assert torch.equal(codes[..., 0], model.dvae.logits(image).argmax(-1))
    changed = image.clone()
    changed[..., 8:12, 4:8] = 0.0  # row 2, column 1
    elsewhere = torch.arange(16) != 2 * 4 + 1
    assert torch.equal(model.encode(changed)[:, elsewhere], codes[:, elsewhere])


def test_training_paints_a_soft_sample_and_evaluation_the_tokens() -> None:
    model, image = DVAETokens(image_size=16, vocab_size=32), torch.rand(2, 3, 16, 16)
    model.dvae.tau = 0.5
    model.train()
    assert not torch.equal(model(image)["recon"], model(image)["recon"])
    model.eval()
    assert torch.equal(model(image)["recon"], model(image)["recon"])
    assert torch.equal(model(image)["recon"], model.dvae.decode(model.dvae.tokens(image)))


@pytest.mark.parametrize("name", ["image_size", "in_channels", "vocab_size"])
def test_sizes_must_be_positive_integers(name: str) -> None:
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        DVAETokens(**{name: 0})
