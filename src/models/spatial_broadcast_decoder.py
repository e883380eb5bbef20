"""Slots → image: the spatial-broadcast decoder (Watters et al. 2019), the alternative to cross-attention."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .position import coordinate_grid, fourier_features


class SpatialBroadcastDecoder(nn.Module):
    """Each slot is laid out on an 8 times smaller grid, told where it is, and convolved up to an image and a mask."""

    position: Tensor
    pixels: Tensor

    def __init__(self, slot_dim: int, hidden_dim: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.grid = image_size // 8
        self.register_buffer("position", fourier_features(coordinate_grid(self.grid, self.grid), 4), persistent=False)
        self.register_buffer("pixels", coordinate_grid(image_size, image_size), persistent=False)
        self.embed_position = nn.Linear(self.position.shape[-1], slot_dim)
        # Half as many channels at twice the resolution: as many again would double the time and win little.
        widths = (slot_dim, hidden_dim, hidden_dim // 2 or 1, hidden_dim // 4 or 1)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(w_in, w_out, 6, stride=2, padding=2) for w_in, w_out in pairwise(widths)
        )
        self.out = nn.Conv2d(widths[-1], channels + 1, 5, padding=2)

    def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """`slots` (B, N, D) → pictures (B, N, channels, H, W) and mask logits (B, N, 1, H, W), float32."""
        laid_out = slots.flatten(0, 1).unsqueeze(1) + self.embed_position(self.position)  # (B·N, g², D)
        x = laid_out.mT.unflatten(-1, (self.grid, self.grid))
        for convolution in self.up:
            x = F.relu(convolution(x))
        painted = self.out(x).float().unflatten(0, slots.shape[:2])
        return painted[:, :, :-1], painted[:, :, -1:]

    def centres(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → the middle (x, y) of the pixels each claims, (B, N, 2); the image goes from -1 to 1."""
        _, logits = self(slots)
        return logits.flatten(2).softmax(dim=-1) @ self.pixels
