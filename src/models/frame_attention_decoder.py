"""Slots → image: every pixel attends to the slots, and sees each of them in the slot's own frame."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .position import pixel_centres

WIDE_WAVES, WIDE_REACH = 6, 0.4  # cosines along each side of the wide view, and its half-width at zoom 1
NEAR_WAVES, NEAR_REACH = 10, 0.45  # the same of the near view; the image goes from -1 to 1
ZOOM = (0.3, 0.4)  # logarithm of a frame's zoom: its middle and how far it goes, 0.9 to 2 times
DAMPING = 0.9  # of each wave against the one before: coarse first, fine later


class Parts(NamedTuple):
    """What of a slot tells each part of its picture, (B, N, D / 4), or (B, N, D) where all of it tells all."""

    colour: Tensor
    outline: Tensor
    size: Tensor
    x: Tensor
    y: Tensor


class FrameAttentionDecoder(nn.Module):
    """Cross-attention from pixels to slots, with positions relative to each slot.

    A slot names its frame, a centre c and a zoom r, and the coefficients of what it looks like there. A pixel at p lies
    in the frame of slot n at d = (p - c_n) · r_n, and has two views of it. The wide one sees the whole image,

        wide(p, n) = [DAMPING^(i + j) · cos(i π (u_y + 1) / 2) · cos(j π (u_x + 1) / 2)]  for 0 ≤ i, j < WIDE_WAVES,

    with u = tanh(d / WIDE_REACH), which leaves one number for all that lies far away: a slot's territory. The near one
    has u = d / NEAR_REACH and 0 ≤ i, j < NEAR_WAVES finer waves, times (1 + cos(π u_y)) (1 + cos(π u_x)) / 4, a window
    beyond which it sees nothing: an object's outline. Query q is both, side by side.

    Query times key, q(p, n) · key(n), is the logit of the pixel's attention to the slot, whose softmax over the slots
    of the scene is the mask. What the slot paints is a colour that changes slowly, times a shade that has edges,

        (wide(p, n) · colour(n)) · (1 + q(p, n) · shade(n)).

    Where M is a multiple of 4, each quarter of the blocks has a part of its own: the first tells the colour, the second
    the outline (key, shade and zoom), the third and the fourth where the centre is, across and down. So no two blocks
    can say the same thing, and a code that is changed changes that part alone. With other M every block tells all.

    Seen from its centre and at its zoom an object looks the same everywhere, so its shape need not be learned anew for
    every place (Biza et al. 2023 give the encoder such frames); cosines of both axes factorise, so that whole images
    cost a few small products.

    Args:
        slot_dim: D.
        hidden_dim: width of the two MLPs that make coefficients.
        image_size: H = W, pixels.
        channels: of the image.
        num_blocks: M.
    """

    pixels: Tensor
    waves: Tensor
    damping: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int, num_blocks: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("pixels", pixel_centres(image_size), persistent=False)
        self.register_buffer("waves", torch.arange(NEAR_WAVES) * (math.pi / 2), persistent=False)
        self.register_buffer("damping", DAMPING ** torch.arange(NEAR_WAVES), persistent=False)
        self.apart = num_blocks % len(Parts._fields) == 0
        width = slot_dim // len(Parts._fields) if self.apart else slot_dim
        self.to_colour = _coefficients(width, hidden_dim, channels * WIDE_WAVES**2)
        self.to_outline = _coefficients(width, hidden_dim, WIDE_WAVES**2 + NEAR_WAVES**2)
        self.to_zoom, self.to_x, self.to_y = (nn.Linear(width, 1) for _ in range(3))

    def parts(self, slots: Tensor) -> Parts:
        """What of `slots` (B, N, D) each part reads."""
        return Parts(*slots.chunk(len(Parts._fields), dim=-1)) if self.apart else Parts(*[slots] * len(Parts._fields))

    def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """`slots` (B, N, D) → pictures (B, N, channels, H, W) and mask logits (B, N, 1, H, W), float32."""
        parts = self.parts(slots)
        colour = self.to_colour(parts.colour).float().unflatten(-1, (self.channels, -1))
        outline = self.to_outline(parts.outline).float().unflatten(-1, (1, -1))
        wide, near = outline.split([WIDE_WAVES**2, NEAR_WAVES**2], dim=-1)
        with torch.autocast(slots.device.type, enabled=False):  # positions need float32
            x, y = self.places(slots.float())
            coarse = _paint(torch.cat([colour, wide], dim=2), self.wide_view(x), self.wide_view(y))
            fine = _paint(near, self.near_view(x), self.near_view(y))
            colour, outline = coarse.split([self.channels, 1], dim=2)
            return colour, outline + fine

    def centres(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → the centre (x, y) of each slot's frame, (B, N, 2); the image goes from -1 to 1."""
        parts = self.parts(slots)
        return torch.cat([self.to_x(parts.x), self.to_y(parts.y)], dim=-1)

    def places(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Where every column and every row lies in each slot's frame, 2 × (B, N, H)."""
        x, y = self.centres(slots).unsqueeze(-1).unbind(-2)  # (B, N, 1) each
        zoom = self.to_zoom(self.parts(slots).size)
        scale = torch.exp(ZOOM[0] + ZOOM[1] * torch.tanh(zoom))
        return (self.pixels - x) * scale, (self.pixels - y) * scale

    def wide_view(self, place: Tensor) -> Tensor:
        """Damped cosines (B, N, H, WIDE_WAVES) of `place` (B, N, H), squeezed so that all of the image is seen."""
        seen = torch.tanh(place / WIDE_REACH) + 1
        return torch.cos(seen.unsqueeze(-1) * self.waves[:WIDE_WAVES]) * self.damping[:WIDE_WAVES]

    def near_view(self, place: Tensor) -> Tensor:
        """Damped cosines (B, N, H, NEAR_WAVES) of `place` (B, N, H), under a window about the centre."""
        seen = (place / NEAR_REACH).clamp(-1, 1).unsqueeze(-1)
        window = (1 + torch.cos(math.pi * seen)) / 2
        return torch.cos((seen + 1) * self.waves) * (self.damping * window)


def _coefficients(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def _paint(coefficients: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Coefficients (B, N, channels, waves²), those of one wave down after those of another, of the views across
    (B, N, W, waves) and down (B, N, H, waves) → (B, N, channels, H, W)."""
    channels, waves = coefficients.shape[2], down.shape[-1]
    coefficients = coefficients.unflatten(-1, (waves, waves))
    rows = down @ coefficients.transpose(2, 3).flatten(3)  # (B, N, H, channels · waves)
    rows = rows.unflatten(-1, (channels, waves)).transpose(2, 3).flatten(2, 3)  # (B, N, channels · H, waves)
    return (rows @ across.mT).unflatten(2, (channels, -1))
