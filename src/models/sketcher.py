"""Slots → a sketch of the image: an early help that tells slots apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .checks import require_multiple
from .position import coordinate_grid, fourier_features

PATCH = 8  # pixels, side of the patches


class Sketcher(nn.Module):
    """A slot mixer (Sajjadi et al. 2022): cross-attention picks for each place the mixture of slots that paints it.

    A decoder in which slots paint alone can leave them alike for long: on coloured backgrounds all of them first learn
    the background. Here any slot is of use to any place from the first step on, and slots soon differ. The sketch
    shares nothing but the slots with the image, and is made early in training only.

    Args:
        slot_dim: D.
        hidden_dim: width of the cross-attention; 4 times as wide is the layer that paints patches.
        image_size: H = W, pixels; divisible by 8.
        channels: of the image.
    """

    position: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.grid, self.channels = image_size // PATCH, channels
        places = coordinate_grid(self.grid, self.grid)  # (P, 2)
        self.register_buffer("position", fourier_features(places, 5), persistent=False)
        num_features, width = self.position.shape[-1], 4 * hidden_dim
        self.embed_position = nn.Sequential(
            nn.Linear(num_features, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim)
        )
        self.layers = nn.ModuleList(CrossAttentionLayer(hidden_dim, slot_dim) for _ in range(2))
        self.norm = nn.LayerNorm(hidden_dim)
        self.to_query = nn.Linear(hidden_dim, slot_dim, bias=False)
        self.to_key = nn.Linear(slot_dim, slot_dim, bias=False)
        self.from_position = nn.Linear(num_features, width)
        self.from_mixture = nn.Linear(slot_dim, 2 * width)
        self.paint = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels * PATCH * PATCH)
        )

    def forward(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → the sketch (B, channels, H, W), float32."""
        places = self.embed_position(self.position).expand(slots.shape[0], -1, -1)
        for layer in self.layers:
            places = layer(places, slots)
        logits = (self.to_query(self.norm(places)) @ self.to_key(slots).mT).float() * slots.shape[-1] ** -0.5
        mixed = torch.softmax(logits, dim=-1) @ slots.float()  # (B, P, D)
        scale, shift = self.from_mixture(mixed).chunk(2, dim=-1)
        patches = self.paint(torch.addcmul(shift, self.from_position(self.position), 1 + scale))
        patches = patches.float().unflatten(-1, (self.channels, PATCH, PATCH)).unflatten(1, (self.grid, self.grid))
        return patches.movedim(3, 1).transpose(3, 4).flatten(4, 5).flatten(2, 3)  # (B, channels, rows·y, columns·x)


class CrossAttentionLayer(nn.Module):
    """Queries of places attend to the slots of their scene; pre-norm, residual, with an MLP."""

    def __init__(self, width: int, slot_dim: int, num_heads: int = 4) -> None:
        super().__init__()
        require_multiple("hidden_dim", width, num_heads)
        self.num_heads = num_heads
        self.norm_query = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(slot_dim, 2 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, places: Tensor, slots: Tensor) -> Tensor:
        """`places` (B, P, width), `slots` (B, N, D) → (B, P, width)."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.to_query(self.norm_query(places)), *self.to_key_value(slots).chunk(2, dim=-1))
        )
        # Written out: with a handful of keys the fused kernel is slower than two small products.
        weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, dim=-1)
        attended = (weights @ value).transpose(1, 2).flatten(2)
        places = places + self.project(attended)
        return places + self.mlp(places)
