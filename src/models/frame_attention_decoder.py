"""Slots → image: every pixel attends to the slots, and sees each of them in the slot's own frame."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .position import pixel_centres

WIDE_WAVES, WIDE_REACH = 6, 0.4  # cosines along each side of the wide view, and its half-width at zoom 1
NEAR_WAVES, NEAR_REACH = 10, 0.45  # the same of the near view; the image goes from -1 to 1
COLOUR_WAVES = 3  # the coarsest of the wide view, of which colour is made
SHADE = 0.5  # how much of its colour the shade takes or adds at most
ZOOM = (0.25, 0.5)  # logarithm of a frame's zoom: its middle and how far it goes, 0.8 to 2.1 times
HALF_SIZE = 0.3  # of a frame at zoom 1
DAMPING = 0.9  # of each wave against the one before: coarse first, fine later


class Parts(NamedTuple):
    """The blocks of a slot that tell each part of its picture, (B, N, blocks · D / M) each."""

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
    of the scene is the mask. What the slot paints is a colour that changes slowly, c, being the wide view's coarsest
    COLOUR_WAVES² waves, times a shade that may have edges,

        (c(p, n) · colour(n)) · (1 + SHADE · tanh(q(p, n) · shade(n))).

    Without shading it is one flat colour, and masks alone draw edges. A colour then has the same codes in every outline
    and wherever its frame lies.

    Each part of this has blocks of its own (`blocks_of`): colour, outline (key and shade), size (zoom), and where the
    centre is, across and down. So no two blocks can say the same thing, and a code that is changed changes one part.

    Seen from its centre and at its zoom an object looks the same everywhere, so its shape need not be learned anew for
    every place (Biza et al. 2023 give the encoder such frames); cosines of both axes factorise, so that whole images
    cost a few small products.

    Args:
        slot_dim: D.
        hidden_dim: width of the two MLPs that make coefficients.
        image_size: H = W, pixels.
        channels: of the image.
        num_blocks: M, which divides D. With fewer than 5 some blocks tell several parts.
        shading: whether what a slot paints varies across its frame.
    """

    pixels: Tensor
    waves: Tensor
    damping: Tensor

    def __init__(
        self, slot_dim: int, hidden_dim: int, image_size: int, channels: int, num_blocks: int = 1, shading: bool = True
    ) -> None:
        super().__init__()
        self.channels, self.shading = channels, shading
        self.register_buffer("pixels", pixel_centres(image_size), persistent=False)
        self.register_buffer("waves", torch.arange(NEAR_WAVES) * (math.pi / 2), persistent=False)
        self.register_buffer("damping", DAMPING ** torch.arange(NEAR_WAVES), persistent=False)
        width = slot_dim // num_blocks
        self.parts_at = [slice(start * width, stop * width) for start, stop in blocks_of(num_blocks)]
        colour, outline, size, x, y = (part.stop - part.start for part in self.parts_at)
        self.to_colour = _coefficients(colour, hidden_dim, channels * COLOUR_WAVES**2 if shading else channels)
        drawn = 2 if shading else 1  # the shade, and the key
        self.to_outline = _coefficients(outline, hidden_dim, drawn * (WIDE_WAVES**2 + NEAR_WAVES**2))
        self.to_zoom, self.to_x, self.to_y = nn.Linear(size, 1), nn.Linear(x, 1), nn.Linear(y, 1)

    def parts(self, slots: Tensor) -> Parts:
        """What of `slots` (B, N, D) tells each part."""
        return Parts(*(slots[..., part] for part in self.parts_at))

    def forward(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """`slots` (B, N, D) → pictures (B, N, channels, H, W) and mask logits (B, N, 1, H, W), float32."""
        parts = self.parts(slots)
        colour = self.to_colour(parts.colour).float().unflatten(-1, (self.channels, -1))
        outline = self.to_outline(parts.outline).float().unflatten(-1, (-1, WIDE_WAVES**2 + NEAR_WAVES**2))
        wide, near = outline.split([WIDE_WAVES**2, NEAR_WAVES**2], dim=-1)
        with torch.autocast(slots.device.type, enabled=False):  # positions need float32
            x, y = self.places(slots.float())
            wide_x, wide_y = self.wide_view(x), self.wide_view(y)
            outline = _paint(wide, wide_x, wide_y) + _paint(near, self.near_view(x), self.near_view(y))
            if not self.shading:
                return colour.unsqueeze(-1).expand(-1, -1, -1, *outline.shape[-2:]), outline
            shade, logits = outline.split(1, dim=2)
            colour = _paint(colour, wide_x[..., :COLOUR_WAVES], wide_y[..., :COLOUR_WAVES])
            return colour * (1 + SHADE * torch.tanh(shade)), logits

    def frames(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → centre (x, y) and half the size of each slot's frame, (B, N, 3); the image goes from -1
        to 1."""
        parts = self.parts(slots)
        zoom = torch.exp(ZOOM[0] + ZOOM[1] * torch.tanh(self.to_zoom(parts.size)))
        return torch.cat([self.to_x(parts.x), self.to_y(parts.y), HALF_SIZE / zoom], dim=-1)

    def centres(self, slots: Tensor) -> Tensor:
        """`slots` (B, N, D) → the centre (x, y) of each slot's frame, (B, N, 2); the image goes from -1 to 1."""
        return self.frames(slots)[..., :2]

    def places(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Where every column and every row lies in each slot's frame, 2 × (B, N, H)."""
        x, y, half_size = self.frames(slots).unsqueeze(-1).unbind(-2)  # (B, N, 1) each
        zoom = HALF_SIZE / half_size
        return (self.pixels - x) * zoom, (self.pixels - y) * zoom

    def frame_loss(self, slots: Tensor, masks: Tensor) -> Tensor:
        """How far the frames of `slots` (B, N, D) are from the boxes around what the slots' `masks` (B, N, 1, H, W)
        claim, centres and half sizes: mean absolute error, squared where it is below a pixel or so, scalar.

        It makes places and sizes mean the same for every outline: what looks the same could be painted in a frame that
        lies elsewhere as well. And slots that claim nothing become alike. `masks` get no gradient.
        """
        with torch.autocast(slots.device.type, enabled=False):
            return F.smooth_l1_loss(self.frames(slots.float()), self.boxes(masks.detach()), beta=2 / len(self.pixels))

    def boxes(self, masks: Tensor) -> Tensor:
        """The boxes of the pixels of which each of `masks` (B, N, 1, H, W) is the largest: centre (x, y) and half the
        longer side, the latter kept among the sizes that frames have, (B, N, 3). Where there are none the box is the
        smallest, in the middle of the image."""
        mine = masks.squeeze(2) == masks.amax(dim=1)  # (B, N, H, W)
        columns, rows = mine.any(dim=-2).float(), mine.any(dim=-1).float()  # (B, N, W), (B, N, H)
        wide, high = columns.sum(dim=-1), rows.sum(dim=-1)
        # The mean of the columns, of which one gap or stray pixel moves little.
        x, y = columns @ self.pixels / wide.clamp(min=1), rows @ self.pixels / high.clamp(min=1)
        smallest, largest = (HALF_SIZE / math.exp(ZOOM[0] + sign * ZOOM[1]) for sign in (1, -1))
        half_size = (torch.maximum(wide, high) / len(self.pixels)).clamp(smallest, largest)
        return torch.stack([x, y, half_size], dim=-1)

    def wide_view(self, place: Tensor) -> Tensor:
        """Damped cosines (B, N, H, WIDE_WAVES) of `place` (B, N, H), squeezed so that all of the image is seen."""
        seen = torch.tanh(place / WIDE_REACH) + 1
        return torch.cos(seen.unsqueeze(-1) * self.waves[:WIDE_WAVES]) * self.damping[:WIDE_WAVES]

    def near_view(self, place: Tensor) -> Tensor:
        """Damped cosines (B, N, H, NEAR_WAVES) of `place` (B, N, H), under a window about the centre."""
        seen = (place / NEAR_REACH).clamp(-1, 1).unsqueeze(-1)
        window = (1 + torch.cos(math.pi * seen)) / 2
        return torch.cos((seen + 1) * self.waves) * (self.damping * window)


def blocks_of(num_blocks: int) -> list[tuple[int, int]]:
    """Which of M blocks tell each of the five parts (see `Parts`): the first, and the one after the last.

    With M = 5 each part has one block; with M = 4 outline and size share one. More blocks are dealt out evenly.
    """
    parts = len(Parts._fields)
    starts = [min((part * num_blocks + 1) // parts, num_blocks - 1) for part in range(parts)] + [num_blocks]
    return [(start, max(after, start + 1)) for start, after in pairwise(starts)]


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
