"""Slots → image: every pixel attends to the slots, and sees each of them in the slot's own frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .position import pixel_centres

WIDE_WAVES, WIDE_REACH = 6, 0.4  # cosines along each side of the wide view, and its half-width at zoom 1
NEAR_WAVES, NEAR_REACH = 10, 0.45  # the same of the near view; the image goes from -1 to 1
ZOOM = (0.3, 0.4)  # logarithm of a frame's zoom: its middle and how far it goes, 0.9 to 2 times
DAMPING = 0.9  # of each wave against the one before: coarse first, fine later


class FrameAttentionDecoder(nn.Module):
    """Cross-attention from pixels to slots, with positions relative to each slot.

    A slot names its frame, a centre c and a zoom r, and the coefficients of what it looks like there. A pixel at p lies
    in the frame of slot n at d = (p - c_n) · r_n, and has two views of it. The wide one sees the whole image,

        q(p, n) = [DAMPING^(i + j) · cos(i π (u_y + 1) / 2) · cos(j π (u_x + 1) / 2)]  for 0 ≤ i, j < WIDE_WAVES,

    with u = tanh(d / WIDE_REACH), which leaves one number for all that lies far away: a slot's territory. The near one
    has u = d / NEAR_REACH and 0 ≤ i, j < NEAR_WAVES finer waves, times (1 + cos(π u_y)) (1 + cos(π u_x)) / 4, a window
    beyond which it sees nothing: an object's outline.

    Query times key, q(p, n) · key(n), is the logit of the pixel's attention to the slot, whose softmax over the slots
    of the scene is the mask; q(p, n) · value(n) is what the slot paints there. Coefficients come from an MLP on the
    slot. Seen from its centre and at its zoom an object looks the same everywhere, so its shape need not be learned
    anew for every place (Biza et al. 2023 give the encoder such frames); cosines of both axes factorise, so that whole
    images cost a few small products.

    Args:
        slot_dim: D.
        hidden_dim: width of the MLP.
        image_size: H = W, pixels.
        channels: of the image.
    """

    pixels: Tensor
    waves: Tensor
    damping: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("pixels", pixel_centres(image_size), persistent=False)
        self.register_buffer("waves", torch.arange(NEAR_WAVES) * (math.pi / 2), persistent=False)
        self.register_buffer("damping", DAMPING ** torch.arange(NEAR_WAVES), persistent=False)
        self.to_frame = nn.Linear(slot_dim, 3)
        self.to_coefficients = nn.Sequential(
            nn.Linear(slot_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, (channels + 1) * (WIDE_WAVES**2 + NEAR_WAVES**2)),
        )

    def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """`slots` (B, N, D) → pictures (B, N, channels, H, W) and mask logits (B, N, 1, H, W), float32."""
        coefficients = self.to_coefficients(slots).float().unflatten(-1, (self.channels + 1, -1))
        wide, near = coefficients.split([WIDE_WAVES**2, NEAR_WAVES**2], dim=-1)
        with torch.autocast(slots.device.type, enabled=False):  # positions need float32
            x, y = self.places(slots.float())
            rows = torch.cat([sum_down(wide, self.wide_view(y)), sum_down(near, self.near_view(y))], dim=-1)
            across = torch.cat([self.wide_view(x), self.near_view(x)], dim=-1)  # (B, N, W, waves)
            painted = (rows @ across.mT).unflatten(2, (self.channels + 1, -1))  # (B, N, channels + 1, H, W)
        pictures, logits = painted.split([self.channels, 1], dim=2)
        return pictures, logits

    def centres(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → the centre (x, y) of each slot's frame, (B, N, 2); the image goes from -1 to 1."""
        return self.to_frame(slots)[..., :2]

    def places(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Where every column and every row lies in each slot's frame, 2 × (B, N, H)."""
        x, y, zoom = self.to_frame(slots).unsqueeze(-1).unbind(-2)  # (B, N, 1) each
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


def sum_down(coefficients: Tensor, down: Tensor) -> Tensor:
    """What is left to be summed across: the coefficients of each row's waves, (B, N, channels · H, waves).

    `coefficients` (B, N, channels, waves²), those of one wave down after those of another; `down` (B, N, H, waves).
    """
    channels, waves = coefficients.shape[2], down.shape[-1]
    coefficients = coefficients.unflatten(-1, (waves, waves))
    rows = down @ coefficients.transpose(2, 3).flatten(3)  # (B, N, H, channels · waves)
    return rows.unflatten(-1, (channels, waves)).transpose(2, 3).flatten(2, 3)
