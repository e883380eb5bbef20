"""What a head sees of a model's scenes: contents, and which tokens hold which object."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from src.data.toy_datasets import make_dataset
from src.evaluation.tokens import MOST_PATCHES, patch_holders, represent
from src.models.dvae_tokens import DVAETokens
from src.models.patch_vqvae import PatchVQVAE
from src.models.svq_model import SVQ

SCENES = {"num_samples": 6, "image_size": 32, "max_shapes": 3, "split": "test"}


def test_patches_that_hold_an_object_by_hand() -> None:
    masks = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
    masks[0, 0, :2, :3] = True  # all of the first patch, half of the second
    masks[0, 1, 3, 3] = True  # a quarter of the last patch
    held = patch_holders(masks, 2)
    assert held.tolist() == [[[True, True, False, False], [False, False, False, True], [False] * 4]]


@pytest.mark.parametrize(
    ("bottleneck", "names"),
    [("codes", ["vectors", "indices", "continuous"]), ("none", ["continuous"])],
)
def test_slots_hold_their_objects(bottleneck: str, names: list[str]) -> None:
    scenes = make_dataset("shapes", **SCENES)
    model = SVQ(image_size=32, slot_size=16, codebook_size=8, code_dim=4, hidden_dim=16, bottleneck=bottleneck).eval()
    tokens = represent(model, scenes, nullcontext, batch_size=4)
    assert sorted(tokens.contents) == sorted(names) and not tokens.placed
    assert all(len(contents) == 6 and contents.shape[1] == 4 for contents in tokens.contents.values())
    assert tokens.holders.shape == (6, 3, 4)
    assert (tokens.holders.sum(dim=2) <= 1).all() and (tokens.holders.sum(dim=1) <= 1).all()
    assert not tokens.holders[~scenes.factors["present"]].any()
    image = scenes.images.float() / 255
    with torch.inference_mode():
        assert torch.allclose(tokens.contents["continuous"], model(image)["slots"], atol=1e-5)


def test_fine_patches_are_joined_where_they_lie() -> None:
    scenes = make_dataset("shapes", num_samples=3, image_size=64, split="test")
    model = DVAETokens(image_size=64, vocab_size=16).eval()  # 16 x 16 patches
    tokens = represent(model, scenes, nullcontext)
    assert tokens.placed and list(tokens.contents) == ["indices"]
    joined = tokens.contents["indices"]
    assert joined.shape == (3, MOST_PATCHES, 4) and tokens.holders.shape == (3, 4, MOST_PATCHES)
    with torch.inference_mode():
        codes = model.encode(scenes.images.float() / 255).view(3, 16, 16)
    assert torch.equal(joined[:, 8 * 2 + 5], codes[:, 4:6, 10:12].flatten(1))
    present = scenes.factors["present"]
    assert torch.equal(tokens.holders.any(dim=2), present)


def test_patches_with_a_codebook_have_vectors() -> None:
    scenes = make_dataset("shapes", **SCENES)
    model = PatchVQVAE(image_size=32, codebook_size=8, code_dim=4, hidden_dim=8).eval()
    tokens = represent(model, scenes, nullcontext)
    assert torch.equal(tokens.contents["vectors"], model.quantizer.embed(tokens.contents["indices"]))
