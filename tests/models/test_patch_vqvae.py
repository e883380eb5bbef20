"""The VQ-VAE of patches; what it shares with other models of codes is in test_code_model.py."""

from __future__ import annotations

import pytest
import torch

from src.models.patch_vqvae import PATCH, PatchVQVAE


@pytest.mark.parametrize("image_size", [64, 128])
def test_a_code_for_each_patch_of_8_by_8_pixels(image_size: int) -> None:
    model = PatchVQVAE(image_size=image_size, codebook_size=16, code_dim=4, hidden_dim=8)
    assert (model.num_slots, model.num_codebooks, model.codebook_size) == ((image_size // 8) ** 2, 1, 16)
    assert model.codebook is not None and model.codebook.shape == (1, 16, 4)


def test_codes_and_pixels_are_in_raster_order() -> None:
    model, row, column = PatchVQVAE(image_size=128, code_dim=4, hidden_dim=8).eval(), 9, 6

    def centre(changed: torch.Tensor) -> tuple[float, float]:
        """Of the patches (16, 16) that changed; they lie around the one that was meant."""
        rows, columns = changed.nonzero().unbind(1)
        assert rows.min() > 0 and rows.max() < 15 and columns.min() > 0 and columns.max() < 15
        return float(rows.min() + rows.max()) / 2, float(columns.min() + columns.max()) / 2

    image = torch.rand(1, 3, 128, 128)
    other = image.clone()
    other[..., row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = 0.5
    codes = torch.zeros(1, 256, 1, dtype=torch.int64)
    another = codes.clone()
    another[0, row * 16 + column] = 1
    with torch.no_grad():
        seen = (model._patches(other) != model._patches(image)).any(dim=-1).view(16, 16)
        painted = (model.paint(another) != model.paint(codes))[0].any(dim=0)
    assert centre(seen) == (row, column)
    assert centre(painted.unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH).flatten(2).any(dim=2)) == (row, column)


def test_the_codebook_fills_with_patches_and_only_in_training() -> None:
    model, image = PatchVQVAE(image_size=16, codebook_size=8, code_dim=4, hidden_dim=8), torch.rand(4, 3, 16, 16)
    before = model.quantizer.codebook.clone()
    model.eval()(image)
    assert torch.equal(model.quantizer.codebook, before)
    with torch.no_grad():
        patches = model._patches(image).flatten(0, 1)
    model.train()(image)
    assert int(model.quantizer.num_filled) == 8
    distance = torch.cdist(model.quantizer.codebook[0], patches).amin(dim=1)
    assert distance.max() < torch.pdist(patches).mean()


def test_a_new_prior_starts_from_the_codebook() -> None:
    model = PatchVQVAE(image_size=16, codebook_size=8, code_dim=4, hidden_dim=8)
    model.quantizer.codebook[0, 1] = model.quantizer.codebook[0, 0]
    prior = model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    assert torch.equal(prior.code_embedding[0, 0], prior.code_embedding[0, 1])
    assert not torch.equal(prior.code_embedding[0, 0], prior.code_embedding[0, 2])


@pytest.mark.parametrize("name", ["image_size", "in_channels", "codebook_size", "code_dim", "hidden_dim"])
def test_sizes_must_be_positive_integers(name: str) -> None:
    for wrong in (0, -8, 1.5, True):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
            PatchVQVAE(**{name: wrong})
