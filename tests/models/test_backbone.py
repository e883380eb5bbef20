from __future__ import annotations

import pytest
import torch

from src.models.backbone import Backbone


@pytest.mark.parametrize(("size", "kind", "side"), [(32, "small", 8), (64, "paper", 64), (128, "paper", 64)])
def test_the_grid_is_a_quarter_of_the_image_or_the_papers(size: int, kind: str, side: int) -> None:
    backbone = Backbone(kind, size, 3, hidden_dim=4, feature_dim=6)
    features = backbone(torch.rand(2, 3, size, size))
    assert backbone.grid_size == side and features.shape == (2, side * side, 6)


def test_the_papers_positions_are_distances_from_all_sides() -> None:
    position = Backbone("paper", 64, 3, 4, 6).position
    assert position.shape == (4096, 4) and torch.allclose(position[:, :2] + position[:, 2:], torch.ones(1))
    assert position[1, 0] == pytest.approx(1.5 / 64) and position[1, 1] == pytest.approx(0.5 / 64)  # x before y


def test_only_the_small_one_rectifies_its_last_convolution_and_adds_what_it_had() -> None:
    for kind in ("small", "paper"):
        backbone = Backbone(kind, 64, 3, 4, 6)
        torch.nn.init.zeros_(backbone.features[3].weight)
        torch.nn.init.zeros_(backbone.features[3].bias)
        torch.nn.init.zeros_(backbone.embed_position.weight)
        torch.nn.init.zeros_(backbone.embed_position.bias)
        features = backbone(torch.rand(1, 3, 64, 64))
        assert (features >= 0).all() and (features.abs().sum() > 0) == (kind == "small")


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        ("paper", 96, "image_size=96 is none of 64, 128, 256, the sizes of backbone='paper': choose one"),
        ("small", 30, "image_size=30 is not a multiple of 4: choose image_size=28 or 32"),
        ("large", 64, "unknown backbone 'large': choose one of small, paper"),
    ],
)
def test_sizes_that_it_does_not_have(kind: str, size: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Backbone(kind, size, 3, 4, 6)
