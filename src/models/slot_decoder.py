"""Slots → image: what each slot paints, masks in which the slots compete for the pixels, and their mixture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .checks import require_choice, require_multiple, require_positive, require_slots
from .frame_attention_decoder import FrameAttentionDecoder
from .sketcher import PATCH, Sketcher
from .spatial_broadcast_decoder import SpatialBroadcastDecoder
from .token_decoder import TokenDecoder

DECODERS = ("cross_attention", "cnn", "transformer")


class DecoderOutput(NamedTuple):
    """A decoded batch, float32. The transformer decoder has no masks and pictures of single slots."""

    recon: Tensor | None  # (B, channels, H, W), about [0, 1], not clamped
    masks: Tensor | None  # (B, N, 1, H, W) in [0, 1], sums to 1 over the slots
    slot_images: Tensor | None  # (B, N, channels, H, W): what each slot paints; recon is their sum weighted by masks
    sketch: Tensor | None = None  # (B, channels, H, W): of the cross-attention decoder, in training mode only
    frame_loss: Tensor | None = None  # scalar: of the cross-attention decoder, in training mode only
    losses: dict[str, Tensor] | None = None  # of the transformer decoder, where it is given the image


class SVQDecoder(nn.Module):
    """Slots → image and masks.

    Args:
        slot_dim: D.
        hidden_dim: width of the hidden layers.
        num_slots: N.
        image_size: H = W, pixels; divisible by 8, for the "transformer" decoder by 4.
        out_channels: image channels.
        decoder: "cross_attention" (see `FrameAttentionDecoder`; with a `Sketcher` beside it), "cnn" (spatial
            broadcast, Watters et al. 2019) or "transformer" (see `TokenDecoder`).
        num_blocks: M; the "cross_attention" and the "transformer" decoder read slots block by block.
        shading: of the "cross_attention" decoder, see `FrameAttentionDecoder`.
        embed_dim, vocab_size, num_layers, num_heads, dropout: of the "transformer" decoder.
    """

    def __init__(
        self,
        slot_dim: int,
        hidden_dim: int,
        num_slots: int,
        image_size: int,
        out_channels: int,
        decoder: str = "cross_attention",
        num_blocks: int = 1,
        shading: bool = True,
        embed_dim: int = 64,
        vocab_size: int = 4096,
        num_layers: int = 8,
        num_heads: int = 4,
        dropout: float = 0.1,
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
        if decoder != "transformer":
            require_multiple("image_size", image_size, PATCH)
        self.num_slots, self.slot_dim = num_slots, slot_dim
        # Weight of the sketch in the loss. With 0 no sketch is made.
        self.sketch_weight = 1.0
        # Share of the frame loss. All of it from the first step on would keep slots from finding their objects.
        self.frame_weight = 1.0
        # Whether the transformer decoder, given an image in eval mode, paints it anew, token by token. Where only its
        # losses are wanted, that would take long.
        self.paints = True
        self.sketcher: Sketcher | None = None
        if decoder == "cross_attention":
            self.decoder = FrameAttentionDecoder(
                slot_dim, 8 * hidden_dim, image_size, out_channels, num_blocks, shading
            )
            self.sketcher = Sketcher(slot_dim, hidden_dim, image_size, out_channels)
        elif decoder == "cnn":
            self.decoder = SpatialBroadcastDecoder(slot_dim, hidden_dim, image_size, out_channels)
        else:
            self.decoder = TokenDecoder(
                slot_dim,
                num_slots,
                num_blocks,
                image_size,
                out_channels,
                vocab_size,
                embed_dim,
                num_heads,
                num_layers,
                dropout,
            )

    def forward(self, slots: Tensor, image: Tensor | None = None) -> DecoderOutput:
        """Decodes `slots` (B, N, D).

        `image` (B, channels, H, W) in [0, 1], which they came from, serves the losses of the transformer decoder only,
        which paints in training mode, or while `paints` is false, only where it is given none.
        """
        require_slots(slots, self.num_slots, self.slot_dim)
        if isinstance(self.decoder, TokenDecoder):
            losses = None if image is None else self.decoder.losses(slots, image)
            wanted = image is None or (self.paints and not self.training)
            recon = self.decoder.paint(slots) if wanted else None
            return DecoderOutput(recon, None, None, losses=losses)
        pictures, logits = self.decoder(slots)
        masks = torch.softmax(logits, dim=1)  # over slots: they compete
        sketch = frame_loss = None
        if self.sketcher is not None and self.training and self.sketch_weight > 0:
            sketch = self.sketcher(slots)
        if isinstance(self.decoder, FrameAttentionDecoder) and self.training:
            frame_loss = self.decoder.frame_loss(slots, masks)
        return DecoderOutput((masks * pictures).sum(dim=1), masks, pictures, sketch, frame_loss)

    def centres(self, slots: Tensor) -> Tensor | None:
        """Where in the image each of `slots` (B, N, D) paints: (x, y) from -1 to 1, x to the right, (B, N, 2).

        None where the decoder does not know (the transformer).
        """
        require_slots(slots, self.num_slots, self.slot_dim)
        return None if isinstance(self.decoder, TokenDecoder) else self.decoder.centres(slots)


@contextmanager
def losses_only(model: nn.Module) -> Iterator[None]:
    """Inside, a decoder that paints token by token does not: its losses do not need the image."""
    painted = {module: module.paints for module in model.modules() if isinstance(module, SVQDecoder)}
    for decoder in painted:
        decoder.paints = False
    try:
        yield
    finally:
        for decoder, before in painted.items():
            decoder.paints = before
