"""Slots → image: two decoders in which the slots of a scene compete for its pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_choice, require_divisible, require_positive
from .position import coordinate_grid, fourier_features

DECODERS = ("cross_attention", "cnn")
PATCH = 8  # pixels, side of the patches that the cross-attention decoder paints


class DecoderOutput(NamedTuple):
    """A decoded batch, float32."""

    recon: Tensor  # (B, channels, H, W), about [0, 1], not clamped
    masks: Tensor  # (B, N, 1, H, W) in [0, 1], sums to 1 over the slots
    slot_images: Tensor  # (B, N, channels, H, W): what each slot paints; recon is their sum weighted by the masks
    coarse: Tensor | None  # (B, channels, H, W): first sketch, of the cross-attention decoder only


class SVQDecoder(nn.Module):
    """Slots → image and masks.

    Args:
        slot_dim: D.
        hidden_dim: width of the hidden layers.
        num_slots: N.
        image_size: H = W, pixels; divisible by 8.
        out_channels: image channels.
        decoder: "cross_attention" or "cnn" (spatial broadcast, Watters et al. 2019).
    """

    def __init__(
        self,
        slot_dim: int,
        hidden_dim: int,
        num_slots: int,
        image_size: int,
        out_channels: int,
        decoder: str = "cross_attention",
    ) -> None:
        super().__init__()
        require_positive(
            slot_dim=slot_dim,
            hidden_dim=hidden_dim,
            num_slots=num_slots,
            image_size=image_size,
            out_channels=out_channels,
        )
        require_choice("decoder", decoder, DECODERS)
        require_divisible("image_size", image_size, "patches of side", PATCH)
        self.num_slots, self.slot_dim = num_slots, slot_dim
        kind = {"cross_attention": CrossAttentionDecoder, "cnn": SpatialBroadcastDecoder}[decoder]
        self.decoder = kind(slot_dim, hidden_dim, image_size, out_channels)

    def forward(self, slots: Tensor) -> DecoderOutput:
        """Decodes `slots` (B, N, D)."""
        if slots.ndim != 3 or slots.shape[1:] != (self.num_slots, self.slot_dim):
            raise ValueError(f"slots had shape {tuple(slots.shape)} but expected (B, {self.num_slots}, {self.slot_dim})")
        return self.decoder(slots)


class PatchPainter(nn.Module):
    """(slot, place) → the pixels of the patch at that place.

    Slot and position meet in a product: sines and cosines of a position times those of an object's own position are
    those of their difference, so the layer can see a place relative to the object.
    """

    position: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, patch: int, channels: int) -> None:
        super().__init__()
        self.grid, self.patch, self.channels = image_size // patch, patch, channels
        self.register_buffer(
            "position", fourier_features(coordinate_grid(self.grid, self.grid), 5), persistent=False
        )  # (P, 20)
        self.from_position = nn.Linear(self.position.shape[-1], hidden_dim)
        self.from_slot = nn.Linear(slot_dim, 2 * hidden_dim)
        self.hidden = nn.Linear(hidden_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, channels * patch * patch)

    def forward(self, slots: Tensor) -> Tensor:
        """`slots` (..., P, D), or (..., 1, D) for the same slot everywhere → (..., P, channels, patch²)."""
        scale, shift = self.from_slot(slots).chunk(2, dim=-1)
        hidden = F.relu(torch.addcmul(shift, self.from_position(self.position), 1 + scale))
        return self.out(F.relu(self.hidden(hidden))).unflatten(-1, (self.channels, -1))

    def assemble(self, patches: Tensor) -> Tensor:
        """(..., P, channels, patch²) → images (..., channels, H, W)."""
        g, p = self.grid, self.patch
        patches = patches.unflatten(-1, (p, p)).unflatten(-4, (g, g))  # (..., row, column, channels, y, x)
        return patches.movedim((-3, -5, -2, -4, -1), (-5, -4, -3, -2, -1)).flatten(-4, -3).flatten(-2, -1)


class CrossAttentionLayer(nn.Module):
    """Queries of places attend to the slots of their scene; pre-norm, residual, with an MLP."""

    def __init__(self, width: int, slot_dim: int, num_heads: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_query = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(slot_dim, 2 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, places: Tensor, slots: Tensor) -> Tensor:
        """`places` (B, P, width), `slots` (B, N, D) → (B, P, width)."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.to_query(self.norm_query(places)), *self.to_key_value(slots).chunk(2, dim=-1))
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        places = places + self.project(attended)
        return places + self.mlp(places)


class CrossAttentionDecoder(nn.Module):
    """Places ask the slots who they belong to (coarse), then every slot paints its own part (fine)."""

    position: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        width, grid = hidden_dim, image_size // 4
        self.register_buffer("position", fourier_features(coordinate_grid(grid, grid), 5), persistent=False)
        self.embed_position = nn.Sequential(
            nn.Linear(self.position.shape[-1], width), nn.ReLU(), nn.Linear(width, width)
        )
        self.layers = nn.ModuleList(CrossAttentionLayer(width, slot_dim) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, slot_dim, bias=False)
        self.to_key = nn.Linear(slot_dim, slot_dim, bias=False)
        self.sketch = PatchPainter(slot_dim, 2 * hidden_dim, image_size, 4, channels)
        self.painter = PatchPainter(slot_dim, 4 * hidden_dim, image_size, PATCH, channels + 1)

    def forward(self, slots: Tensor) -> DecoderOutput:
        places = self.embed_position(self.position).expand(slots.shape[0], -1, -1)
        for layer in self.layers:
            places = layer(places, slots)
        logits = self.to_query(self.norm(places)) @ self.to_key(slots).mT * slots.shape[-1] ** -0.5
        mixed = torch.softmax(logits.float(), dim=-1) @ slots.float()  # (B, P, D)
        coarse = self.sketch.assemble(self.sketch(mixed)).float()
        painted = self.painter(slots.unsqueeze(2)).float()  # (B, N, P, channels + 1, patch²)
        masks = torch.softmax(painted[..., -1:, :], dim=1)
        slot_patches = painted[..., :-1, :]
        recon = (masks * slot_patches).sum(1)
        assemble = self.painter.assemble
        return DecoderOutput(assemble(recon), assemble(masks), assemble(slot_patches), coarse)


class SpatialBroadcastDecoder(nn.Module):
    """Each slot is laid out on an 8 times smaller grid, told where it is, and convolved up to an image and a mask."""

    position: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.grid = image_size // 8
        self.register_buffer("position", fourier_features(coordinate_grid(self.grid, self.grid), 4), persistent=False)
        self.embed_position = nn.Linear(self.position.shape[-1], slot_dim)
        widths = (slot_dim, hidden_dim, hidden_dim, hidden_dim // 2 or 1)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(w_in, w_out, 6, stride=2, padding=2)
            for w_in, w_out in zip(widths[:-1], widths[1:], strict=True)
        )
        self.out = nn.Conv2d(widths[-1], channels + 1, 5, padding=2)

    def forward(self, slots: Tensor) -> DecoderOutput:
        laid_out = slots.flatten(0, 1).unsqueeze(1) + self.embed_position(self.position)  # (B·N, g², D)
        x = laid_out.mT.unflatten(-1, (self.grid, self.grid))
        for convolution in self.up:
            x = F.relu(convolution(x))
        painted = self.out(x).float().unflatten(0, slots.shape[:2])
        masks = torch.softmax(painted[:, :, -1:], dim=1)
        slot_images = painted[:, :, :-1]
        return DecoderOutput((masks * slot_images).sum(1), masks, slot_images, None)
