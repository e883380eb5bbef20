"""The whole model: image → slots → codes → slots → image, and a prior over the codes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_choice, require_divisible, require_flag, require_multiple, require_positive, require_weight
from .code_model import CodeModel
from .prototype_memory import PrototypeMemory
from .sketcher import PATCH
from .slot_attention import SlotAttentionEncoder, Slots
from .slot_decoder import DecoderOutput, SVQDecoder
from .token_decoder import TokenDecoder
from .vector_quantizer import SemanticVectorQuantizer

__all__ = ["SVQ", "DecoderOutput", "SVQDecoder"]

# Little: what a slot paints moves with its frame, and a frame that followed its box eagerly would run away with it.
FRAME_WEIGHT = 0.05
BOTTLENECKS = ("codes", "prototypes", "none")


class SVQ(CodeModel):
    """Semantic Vector-Quantized VAE (Wu, Lee, Ahn 2024) with its Autoregressive LoT Prior.

    The defaults are the small model of this project; experiment/nlotm_*.yaml give these arguments the values of the
    paper, SysBinder's or those of a plain slot attention autoencoder.

    Args:
        image_size: H = W, pixels; divisible by 8 (with the "transformer" decoder by 4), or what the "paper" backbone
            has.
        in_channels: image channels.
        num_slots: N.
        num_iterations: slot attention iterations.
        slot_size: D; `num_codebooks` must divide it.
        num_codebooks: M, blocks a slot.
        codebook_size: K, codes a codebook.
        code_dim: C, width of a code.
        hidden_dim: width of the encoder's convolutions and of the first two decoders.
        commitment_cost: default weight of the commitment loss.
        decoder: "cross_attention", "cnn" for the spatial-broadcast one, or "transformer" for the paper's, which writes
            the tokens of a dVAE.
        slot_init: "random", "learned" or "learned_noisy" initial slots, see `SlotAttention`.
        quantize_at: quantize after the "last" slot attention iteration or after "every" one (the paper).
        num_starts: in eval mode slot attention starts this often from other random slots, and each image keeps the
            slots that reconstruct it best, as k-means keeps the best of several starts: from a single one, two
            objects now and then share a slot for good. "learned" slots have but one start.
        bottleneck: "codes" (a `SemanticVectorQuantizer`), "prototypes" (SysBinder's `PrototypeMemory`) or "none".
        backbone, feature_dim, slot_mlp_dim: see `SlotAttentionEncoder`; `feature_dim` is also the width of the
            "transformer" decoder.
        implicit, salience, inhibition: see `SlotAttention`.
        shading: of the "cross_attention" decoder, see `FrameAttentionDecoder`.
        vocab_size, decoder_layers, decoder_heads, decoder_dropout: of the "transformer" decoder, see `TokenDecoder`.
    """

    kind = "svq"
    # Rounding what decides between codes changes some; the sketcher serves training only.
    compact_bits = MappingProxyType(
        {
            **CodeModel.compact_bits,
            "encoder.slot_attention.": 32,
            "quantizer.": 32,
            "starts": 32,
            "decoder.sketcher.": 8,
        }
    )

    starts: Tensor | None

    def __init__(
        self,
        image_size: int = 64,
        in_channels: int = 3,
        num_slots: int = 4,
        num_iterations: int = 3,
        slot_size: int = 64,
        num_codebooks: int = 4,
        codebook_size: int = 512,
        code_dim: int = 16,
        hidden_dim: int = 64,
        commitment_cost: float = 0.25,
        decoder: str = "cross_attention",
        slot_init: str = "random",
        quantize_at: str = "last",
        num_starts: int = 1,
        bottleneck: str = "codes",
        backbone: str = "small",
        feature_dim: int | None = None,
        slot_mlp_dim: int | None = None,
        implicit: bool = True,
        salience: bool = True,
        inhibition: float = 3.0,
        shading: bool = True,
        vocab_size: int = 4096,
        decoder_layers: int = 8,
        decoder_heads: int = 4,
        decoder_dropout: float = 0.1,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(arguments, num_slots, num_codebooks, codebook_size)
        require_positive(slot_size=slot_size, num_codebooks=num_codebooks, num_starts=num_starts)
        require_divisible("slot_size", slot_size, "num_codebooks", num_codebooks)  # by the name given here
        if slot_mlp_dim is not None:
            require_positive(slot_mlp_dim=slot_mlp_dim)
            require_divisible("slot_mlp_dim", slot_mlp_dim, "num_codebooks", num_codebooks)
        if decoder == "transformer":
            require_positive(decoder_heads=decoder_heads)
            name = "hidden_dim" if feature_dim is None else "feature_dim"
            require_divisible(name, arguments[name], "decoder_heads", decoder_heads)
        if decoder != "transformer":  # the backbone asks for less, and would offer sizes that the decoder refuses
            require_positive(image_size=image_size)
            require_multiple("image_size", image_size, PATCH)
        require_choice("bottleneck", bottleneck, BOTTLENECKS)
        require_flag(implicit=implicit, salience=salience, shading=shading)
        if num_starts > 1 and decoder == "transformer":
            raise ValueError(
                f"num_starts={num_starts} with decoder='transformer', which takes too long to paint every start: "
                "use num_starts=1"
            )
        self.quantizer: SemanticVectorQuantizer | PrototypeMemory | None = None
        if bottleneck == "codes":
            self.quantizer = SemanticVectorQuantizer(
                num_slots, slot_size, num_codebooks, codebook_size, code_dim, commitment_cost
            )
        elif bottleneck == "prototypes":
            self.quantizer = PrototypeMemory(num_slots, slot_size, num_codebooks, codebook_size)
        self.encoder = SlotAttentionEncoder(
            image_size,
            num_slots,
            num_iterations,
            in_channels,
            slot_size,
            hidden_dim,
            num_blocks=num_codebooks,
            slot_init=slot_init,
            implicit=implicit,
            salience=salience,
            inhibition=inhibition,
            quantize_at=quantize_at,
            backbone=backbone,
            feature_dim=feature_dim,
            slot_mlp_dim=slot_mlp_dim,
        )
        self.decoder = SVQDecoder(
            slot_size,
            hidden_dim,
            num_slots,
            image_size,
            in_channels,
            decoder,
            num_codebooks,
            shading,
            hidden_dim if feature_dim is None else feature_dim,
            vocab_size,
            decoder_layers,
            decoder_heads,
            decoder_dropout,
        )
        several = num_starts > 1 and slot_init != "learned"  # learned slots always start alike
        self.register_buffer("starts", torch.randn(num_starts, num_slots, slot_size) if several else None)

    # ------------------------------------------------------------------ one path in, one path out

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Encodes, quantizes and decodes `image` (B, in_channels, H, W) in [0, 1].

        Returns float32 tensors, `codes` excepted:
            recon: (B, in_channels, H, W), about [0, 1], not clamped.
            masks: (B, N, 1, H, W) in [0, 1], summing to 1 over the slots.
            slot_images: (B, N, in_channels, H, W), what each slot would paint.
            slots: (B, N, D) before quantization.
            quantized: (B, N, D) after it.
            codes: (B, N, M) int64 in [0, K); not with bottleneck "none".
            attention: (B, N, h·w), slot attention's own masks on the feature grid, summing to 1 over the slots.
            commitment_loss: scalar, raw.
            sketch: (B, in_channels, H, W), of the cross-attention decoder; in training mode only.
            frame_loss: scalar, raw, of the same; in training mode only, see `FrameAttentionDecoder.frame_loss`.
            token_loss, dvae_loss: scalars, of the transformer decoder, see `TokenDecoder.losses`. Its `recon` is
                painted in eval mode only, while `decoder.paints` is true; its masks are slot attention's, and its
                slots' pictures the image under them.
        """
        found = self.find_slots(image)
        decoded = self.decoder(found.quantized, image)
        if decoded.masks is None:
            masks = on_pixels(found.attention.detach(), image.shape[-1])  # to be looked at, not to be learned from
            decoded = decoded._replace(masks=masks, slot_images=image.unsqueeze(1) * masks + (1 - masks))
        outputs = {
            "recon": decoded.recon,
            "masks": decoded.masks,
            "slot_images": decoded.slot_images,
            "slots": found.slots,
            "quantized": found.quantized,
            "codes": found.codes,
            "attention": found.attention,
            "commitment_loss": found.commitment,
            "sketch": decoded.sketch,
            "frame_loss": decoded.frame_loss,
            **(decoded.losses or {}),
        }
        return {name: value for name, value in outputs.items() if value is not None}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights by part; the quantizer's are the encoder's."""
        dvae = self.decoder.decoder.dvae if isinstance(self.decoder.decoder, TokenDecoder) else nn.ModuleList()
        kept_apart = {id(weights) for weights in dvae.parameters()}
        encoder = [*self.encoder.parameters(), *(self.quantizer.parameters() if self.quantizer is not None else ())]
        parts = {
            "encoder": encoder,
            "decoder": [weights for weights in self.decoder.parameters() if id(weights) not in kept_apart],
            "dvae": list(dvae.parameters()),
        }
        return {name: weights for name, weights in parts.items() if weights}

    def encode(self, image: Tensor) -> Tensor:
        """The codes (B, N, M) of `image` (B, in_channels, H, W) in [0, 1].

        Raises:
            ValueError: the model has no bottleneck.
        """
        codes = self.find_slots(image).codes
        if codes is None:
            raise ValueError("this model has bottleneck='none', hence no codes: use find_slots(image).slots")
        return codes

    def find_slots(self, image: Tensor) -> Slots:
        """The slots of `image` (B, in_channels, H, W) in [0, 1]; in eval mode from the best of `num_starts` starts."""
        if self.training or self.starts is None:
            return self.encoder(image, self.quantizer)
        inputs, batch = self.encoder.backbone(image), image.shape[0]  # in a graph, unlike len(image), no constant
        starts = [start.expand(batch, -1, -1) for start in self.starts]
        tries = [self.encoder.slot_attention(inputs, self.quantizer, start) for start in starts]
        with torch.no_grad():
            recons = torch.stack([self.decoder(each.quantized).recon for each in tries])
            errors = (recons - image).square().mean(dim=(2, 3, 4))  # (starts, B)
        best, scene = errors.argmin(dim=0), torch.arange(batch, device=image.device)
        slots = torch.stack([each.slots for each in tries])[best, scene]
        attention = torch.stack([each.attention for each in tries])[best, scene]
        if self.quantizer is None:
            return Slots(slots, slots, attention, None, slots.new_zeros(()))
        quantized, codes, commitment = self.quantizer(slots)
        return Slots(slots, quantized, attention, codes, commitment)

    def decode(self, codes: Tensor) -> DecoderOutput:
        """The images that `codes` (B, N, M) stand for."""
        return self.decoder(self.embed(codes))

    def paint(self, codes: Tensor) -> Tensor:
        """The images (B, in_channels, H, W) that `codes` (B, N, M) stand for, about [0, 1], not clamped."""
        recon = self.decode(codes).recon
        assert recon is not None  # without an image there is nothing else to make
        return recon

    def embed(self, codes: Tensor) -> Tensor:
        """The slots (B, N, D) that `codes` (B, N, M) stand for."""
        if self.quantizer is None:
            raise ValueError("this model has bottleneck='none', hence no codes to embed")
        return self.quantizer.embed(codes)

    @property
    def code_quantizer(self) -> SemanticVectorQuantizer | None:
        return self.quantizer if isinstance(self.quantizer, SemanticVectorQuantizer) else None

    @property
    def has_codes(self) -> bool:
        return self.code_quantizer is not None

    @property
    def has_slots(self) -> bool:
        return True

    @torch.no_grad()
    def in_order(self, codes: Tensor) -> Tensor:
        """`codes` (B, n, M) with each scene's n ≤ N slots in the canonical order: from left to right, as painted.

        Slots carry no order of their own, so the prior learns one out of the N! that say the same. In this one
        objects that may overlap follow each other, and what may come next changes little from code to code. At the same
        place, or where the decoder knows none (the transformer), slots are sorted by their codes.
        """
        codes = _sorted(codes)
        with torch.autocast(codes.device.type, enabled=False):  # rounded places would tie
            whole = F.pad(codes, (0, 0, 0, self.num_slots - codes.shape[1]))  # each slot has a place of its own
            centres = self.decoder.centres(self.embed(whole))
        if centres is None:
            return codes
        order = centres[:, : codes.shape[1], 0].argsort(dim=1, stable=True)
        return codes.gather(1, order.unsqueeze(-1).expand_as(codes))

    # ------------------------------------------------------------------ losses

    def compute_loss(
        self,
        image: Tensor,
        outputs: Mapping[str, Tensor],
        recon_loss_weight: float = 1.0,
        commitment_loss_weight: float | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """See `CodeModel.compute_loss`; arguments and errors are the same.

        A sketch is one term more, sketch_loss, and frame_loss another; they count `decoder.sketch_weight` and
        FRAME_WEIGHT · `decoder.frame_weight` times. With the transformer decoder dvae_loss and token_loss stand in the
        place of recon_loss. `recon_loss_weight` is of all of these.
        """
        tokens = self.config["decoder"] == "transformer"
        painted = ("token_loss", "dvae_loss") if tokens else ("recon",)
        self._require_outputs(image, outputs, *painted, "commitment_loss")
        weight: float = self.config["commitment_cost"] if commitment_loss_weight is None else commitment_loss_weight
        require_weight(recon_loss_weight=recon_loss_weight, commitment_loss_weight=weight)
        if tokens:
            terms = {"dvae_loss": outputs["dvae_loss"], "token_loss": outputs["token_loss"]}
        else:
            terms = {"recon_loss": F.mse_loss(outputs["recon"], image)}
        loss = recon_loss_weight * torch.stack(list(terms.values())).sum()
        terms["commitment_loss"] = outputs["commitment_loss"]
        loss = loss + weight * terms["commitment_loss"]
        if "sketch" in outputs:
            terms["sketch_loss"] = F.mse_loss(outputs["sketch"], image)
            loss = loss + recon_loss_weight * self.decoder.sketch_weight * terms["sketch_loss"]
        if "frame_loss" in outputs:
            terms["frame_loss"] = outputs["frame_loss"]
            loss = loss + recon_loss_weight * FRAME_WEIGHT * self.decoder.frame_weight * terms["frame_loss"]
        return self._with_prior(loss, terms, outputs)


def _sorted(codes: Tensor) -> Tensor:
    """`codes` (B, n, M) with each scene's slots sorted: the first block decides, later ones break its ties."""
    order = torch.arange(codes.shape[1], device=codes.device).expand(len(codes), -1)
    for block in reversed(range(codes.shape[2])):
        order = order.gather(1, codes[..., block].gather(1, order).argsort(dim=1, stable=True))
    return codes.gather(1, order.unsqueeze(-1).expand_as(codes))


def on_pixels(attention: Tensor, image_size: int) -> Tensor:
    """Attention (B, N, h·w) on a square grid → masks (B, N, 1, H, W): every cell covers its pixels alike."""
    side = round(attention.shape[-1] ** 0.5)
    masks = F.interpolate(attention.unflatten(-1, (side, side)), size=(image_size, image_size), mode="nearest")
    return masks.unsqueeze(2)
