"""Slots → image: two decoders in which the slots of a scene compete for its pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_choice, require_multiple, require_positive
from .position import coordinate_grid, fourier_features

DECODERS = ("cross_attention", "cnn")
PATCH = 8  # pixels, side of the patches that the cross-attention decoder paints
_FREQUENCIES = 6  # octaves of position; the highest has a period of 1/16 of the image


class DecoderOutput(NamedTuple):
    """A decoded batch, float32."""

    recon: Tensor  # (B, channels, H, W), about [0, 1], not clamped
    masks: Tensor  # (B, N, 1, H, W) in [0, 1], sums to 1 over the slots
    slot_images: Tensor  # (B, N, channels, H, W): what each slot paints; recon is their sum weighted by the masks
    sketch: Tensor | None  # (B, channels, H, W): of the cross-attention decoder, in training mode only


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
        require_multiple("image_size", image_size, PATCH)
        self.num_slots, self.slot_dim = num_slots, slot_dim
        # Weight of the sketch in the loss. With 0 no sketch is made.
        self.sketch_weight = 1.0
        kind = {"cross_attention": CrossAttentionDecoder, "cnn": SpatialBroadcastDecoder}[decoder]
        self.decoder = kind(slot_dim, hidden_dim, image_size, out_channels)

    def forward(self, slots: Tensor) -> DecoderOutput:
        """Decodes `slots` (B, N, D)."""
        if slots.ndim != 3 or slots.shape[1:] != (self.num_slots, self.slot_dim):
            expected = f"(B, {self.num_slots}, {self.slot_dim})"
            raise ValueError(f"slots had shape {tuple(slots.shape)} but expected {expected}")
        return self.decoder(slots, self.training and self.sketch_weight > 0)


class PatchPainter(nn.Module):
    """(slot, place) → the pixels of the patch at that place.

    A place is told by sines and cosines of its position, in the image and relative to a centre that each slot names.
    Relative to its centre an object looks the same everywhere, so a shape need not be learned anew for every position
    (Biza et al. 2023 give the encoder such frames), and a slot has a linear use for x and for y. Higher frequencies
    count less there: a centre is found by following the low ones.
    """

    places: Tensor
    damping: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.grid, self.channels = image_size // PATCH, channels
        self.register_buffer("places", coordinate_grid(self.grid, self.grid), persistent=False)  # (P, 2)
        self.register_buffer("damping", 0.5 ** torch.arange(_FREQUENCIES).repeat(4), persistent=False)
        self.to_centre = nn.Linear(slot_dim, 2)
        self.from_position = nn.Linear(4 * _FREQUENCIES, hidden_dim)
        self.from_relative = nn.Linear(4 * _FREQUENCIES, hidden_dim, bias=False)
        self.from_slot = nn.Linear(slot_dim, 2 * hidden_dim)
        self.hidden = nn.Linear(hidden_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, channels * PATCH * PATCH)

    def forward(self, slots: Tensor) -> Tensor:
        """`slots` (..., P, D), or (..., 1, D) for the same slot everywhere → (..., P, channels, patch²)."""
        with torch.autocast(slots.device.type, enabled=False):  # high frequencies need float32
            relative = self.places - self.to_centre(slots.float())  # (..., P, 2)
            relative = fourier_features(relative, _FREQUENCIES) * self.damping
        position = self.from_position(fourier_features(self.places, _FREQUENCIES)) + self.from_relative(relative)
        scale, shift = self.from_slot(slots).chunk(2, dim=-1)
        hidden = F.relu(torch.addcmul(shift, position, 1 + scale))
        return self.out(F.relu(self.hidden(hidden))).unflatten(-1, (self.channels, -1))

    def assemble(self, patches: Tensor) -> Tensor:
        """(..., P, channels, patch²) → images (..., channels, H, W)."""
        patches = patches.unflatten(-1, (PATCH, PATCH)).unflatten(
            -4, (self.grid, self.grid)
        )  # (..., row, column, channels, y, x)
        return patches.movedim((-3, -5, -2, -4, -1), (-5, -4, -3, -2, -1)).flatten(-4, -3).flatten(-2, -1)


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


class CrossAttentionDecoder(nn.Module):
    """Every pixel attends to the slots, and sees what the slot that wins it paints there.

    For each slot and place a small network gives a picture and a logit for each pixel. A pixel's softmax over the
    slots of its scene, its attention to them, is the mask; the image is the slots' pictures weighted by it. Unlike the
    dot product of ordinary cross-attention, the network can draw an outline much finer than a patch.

    With nothing else, slots can stay alike for long: on coloured backgrounds all of them first learn the background.
    So a sketch is made beside it early in training: queries of the places cross-attend to the slots, and the mixture
    of slots that a place asks for paints its patch. There, any slot is of use to any place from the first step on, and
    slots soon differ. The sketch shares nothing but the slots with the image and is not made in eval mode.
    """

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.painter = PatchPainter(slot_dim, 4 * hidden_dim, image_size, channels + 1)
        self.sketcher = Sketcher(slot_dim, hidden_dim, image_size, channels)

    def forward(self, slots: Tensor, sketch: bool) -> DecoderOutput:
        pictures, logits = self.painter(slots.unsqueeze(2)).split((self.channels, 1), dim=-2)  # (B, N, P, ·, patch²)
        masks = torch.softmax(logits.float(), dim=1)
        recon = (masks * pictures).sum(1)
        assemble = self.painter.assemble
        return DecoderOutput(
            assemble(recon),
            assemble(masks),
            assemble(pictures).float(),
            self.sketcher(slots) if sketch else None,
        )


class Sketcher(nn.Module):
    """A slot mixer (Sajjadi et al. 2022): cross-attention picks for each place the mixture of slots that paints it."""

    position: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        grid = image_size // PATCH
        self.register_buffer("position", fourier_features(coordinate_grid(grid, grid), 5), persistent=False)
        self.embed_position = nn.Sequential(
            nn.Linear(self.position.shape[-1], hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim)
        )
        self.layers = nn.ModuleList(CrossAttentionLayer(hidden_dim, slot_dim) for _ in range(2))
        self.norm = nn.LayerNorm(hidden_dim)
        self.to_query = nn.Linear(hidden_dim, slot_dim, bias=False)
        self.to_key = nn.Linear(slot_dim, slot_dim, bias=False)
        self.painter = PatchPainter(slot_dim, 4 * hidden_dim, image_size, channels)

    def forward(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → the sketch (B, channels, H, W), float32."""
        places = self.embed_position(self.position).expand(slots.shape[0], -1, -1)
        for layer in self.layers:
            places = layer(places, slots)
        logits = (self.to_query(self.norm(places)) @ self.to_key(slots).mT).float() * slots.shape[-1] ** -0.5
        mixed = torch.softmax(logits, dim=-1) @ slots.float()  # (B, P, D)
        return self.painter.assemble(self.painter(mixed)).float()


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
            nn.ConvTranspose2d(w_in, w_out, 6, stride=2, padding=2) for w_in, w_out in pairwise(widths)
        )
        self.out = nn.Conv2d(widths[-1], channels + 1, 5, padding=2)

    def forward(self, slots: Tensor, sketch: bool) -> DecoderOutput:
        """Makes no sketch: it learns without."""
        laid_out = slots.flatten(0, 1).unsqueeze(1) + self.embed_position(self.position)  # (B·N, g², D)
        x = laid_out.mT.unflatten(-1, (self.grid, self.grid))
        for convolution in self.up:
            x = F.relu(convolution(x))
        painted = self.out(x).float().unflatten(0, slots.shape[:2])
        masks = torch.softmax(painted[:, :, -1:], dim=1)
        slot_images = painted[:, :, :-1]
        return DecoderOutput((masks * slot_images).sum(1), masks, slot_images, None)
