"""Slots → image: every pixel attends to the slots, and sees each of them in the slot's own frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .position import pixel_centres

WAVES = 10  # cosines along each side of a frame
REACH = 0.4  # half-width of the part of a frame that is seen well, where the image goes from -1 to 1
# Logarithm of a frame's zoom: its middle and how far it goes (0.74 to 2 times). Where frames could get wider, those of
# some seeds did so early, and their waves were then too long for corners.
ZOOM = (0.2, 0.5)
DAMPING = 0.9  # of each wave against the one before: coarse first, fine later


class FrameAttentionDecoder(nn.Module):
    """Cross-attention from pixels to slots, with positions relative to each slot.

    A slot names its frame, a centre c and a zoom r, and two sets of coefficients. A pixel at p has in the frame of
    slot n the coordinates u = tanh((p - c_n) · r_n / REACH), and as features the products of cosines of them,

        q(p, n) = [DAMPING^(i + j) · cos(i π (u_y + 1) / 2) · cos(j π (u_x + 1) / 2)]  for 0 ≤ i, j < WAVES.

    Query times key, q(p, n) · key(n), is the logit of the pixel's attention to the slot, whose softmax over the slots
    of the scene is the mask; q(p, n) · value(n) is what the slot paints there. Coefficients come from an MLP on the
    slot. Seen from its centre and at its zoom an object looks the same everywhere, so its shape need not be learned
    anew for every place (Biza et al. 2023 give the encoder such frames); cosines of both axes factorise, so that whole
    images cost two small products; tanh sees the neighbourhood of the centre well and leaves one number for all that
    lies far away, a slot's background.

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
        self.register_buffer("waves", torch.arange(WAVES) * (math.pi / 2), persistent=False)
        self.register_buffer("damping", DAMPING ** torch.arange(WAVES), persistent=False)
        self.to_frame = nn.Linear(slot_dim, 3)
        self.to_coefficients = nn.Sequential(
            nn.Linear(slot_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, (channels + 1) * WAVES * WAVES),
        )

    def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """`slots` (B, N, D) → pictures (B, N, channels, H, W) and mask logits (B, N, 1, H, W), float32."""
        coefficients = self.to_coefficients(slots).float().unflatten(-1, (self.channels + 1, WAVES, WAVES))
        with torch.autocast(slots.device.type, enabled=False):  # positions need float32
            across, down = self.frame_features(slots.float())
            rows = down @ coefficients.transpose(2, 3).flatten(3)  # (B, N, H, channels · WAVES)
            rows = rows.unflatten(-1, (-1, WAVES)).transpose(2, 3).flatten(2, 3)  # (B, N, channels · H, WAVES)
            painted = (rows @ across.mT).unflatten(2, (self.channels + 1, -1))  # (B, N, channels, H, W)
        return painted[:, :, :-1], painted[:, :, -1:]

    def frame_features(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines of every column's and every row's place in each slot's frame, 2 × (B, N, H, WAVES)."""
        x, y, zoom = self.to_frame(slots).unsqueeze(-1).unbind(-2)  # (B, N, 1) each
        scale = torch.exp(ZOOM[0] + ZOOM[1] * torch.tanh(zoom)) / REACH

        def features(centre: Tensor) -> Tensor:
            seen = torch.tanh((self.pixels - centre) * scale) + 1
            return torch.cos(seen.unsqueeze(-1) * self.waves) * self.damping

        return features(x), features(y)
