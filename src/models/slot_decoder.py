"""Slots → image: what each slot paints, masks in which the slots compete for the pixels, and their mixture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .checks import require_choice, require_multiple, require_positive
from .frame_attention_decoder import FrameAttentionDecoder
from .sketcher import PATCH, Sketcher
from .spatial_broadcast_decoder import SpatialBroadcastDecoder

DECODERS = ("cross_attention", "cnn")


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
        decoder: "cross_attention" (see `FrameAttentionDecoder`; with a `Sketcher` beside it) or "cnn" (spatial
            broadcast, Watters et al. 2019).
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
        if decoder == "cross_attention":
            self.decoder = FrameAttentionDecoder(slot_dim, 8 * hidden_dim, image_size, out_channels)
            self.sketcher = Sketcher(slot_dim, hidden_dim, image_size, out_channels)
        else:
            self.decoder = SpatialBroadcastDecoder(slot_dim, hidden_dim, image_size, out_channels)
            self.sketcher = None

    def forward(self, slots: Tensor) -> DecoderOutput:
        """Decodes `slots` (B, N, D)."""
        self._require_slots(slots)
        pictures, logits = self.decoder(slots)
        masks = torch.softmax(logits, dim=1)  # over slots: they compete
        sketch = None
        if self.sketcher is not None and self.training and self.sketch_weight > 0:
            sketch = self.sketcher(slots)
        return DecoderOutput((masks * pictures).sum(dim=1), masks, pictures, sketch)

    def centres(self, slots: Tensor) -> Tensor:
        """Where in the image each of `slots` (B, N, D) paints: (x, y) from -1 to 1, x to the right, (B, N, 2)."""
        self._require_slots(slots)
        return self.decoder.centres(slots)

    def _require_slots(self, slots: Tensor) -> None:
        if slots.ndim != 3 or slots.shape[1:] != (self.num_slots, self.slot_dim):
            expected = f"(B, {self.num_slots}, {self.slot_dim})"
            raise ValueError(f"slots had shape {tuple(slots.shape)} but expected {expected}")
