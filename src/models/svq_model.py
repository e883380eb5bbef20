"""The whole model: image → slots → codes → slots → image, and a prior over the codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.checkpoint_io import safe_load
from ..utils.precision import require_device
from .checks import require_divisible, require_positive, require_weight
from .slot_attention import SlotAttentionEncoder, Slots
from .slot_decoder import DecoderOutput, SVQDecoder
from .transformer_decoder import AutoregressiveTransformer
from .vector_quantizer import SemanticVectorQuantizer

__all__ = ["SVQ", "DecoderOutput", "SVQDecoder"]

_PRIOR = "prior."


class SVQ(nn.Module):
    """Semantic Vector-Quantized VAE (Wu, Lee, Ahn 2024) with its Autoregressive LoT Prior.

    Args:
        image_size: H = W, pixels; divisible by 8.
        in_channels: image channels.
        num_slots: N.
        num_iterations: slot attention iterations.
        slot_size: D; `num_codebooks` must divide it.
        num_codebooks: M, blocks a slot.
        codebook_size: K, codes a codebook.
        code_dim: C, width of a code.
        hidden_dim: width of the encoder's convolutions and of the decoder.
        commitment_cost: default weight of the commitment loss.
        decoder: "cross_attention", or "cnn" for the spatial-broadcast one.
        slot_init: "random" or "learned" initial slots, see `SlotAttention`.
        quantize_at: quantize after the "last" slot attention iteration or after "every" one (the paper).
        num_starts: in eval mode slot attention starts this often from other random slots, and each image keeps the
            slots that reconstruct it best, as k-means keeps the best of several starts: from a single one, two
            objects now and then share a slot for good. "learned" slots have but one start.
    """

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
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "image_size": image_size,
            "in_channels": in_channels,
            "num_slots": num_slots,
            "num_iterations": num_iterations,
            "slot_size": slot_size,
            "num_codebooks": num_codebooks,
            "codebook_size": codebook_size,
            "code_dim": code_dim,
            "hidden_dim": hidden_dim,
            "commitment_cost": commitment_cost,
            "decoder": decoder,
            "slot_init": slot_init,
            "quantize_at": quantize_at,
            "num_starts": num_starts,
            "prior": None,
        }
        require_positive(slot_size=slot_size, num_codebooks=num_codebooks, num_starts=num_starts)
        require_divisible("slot_size", slot_size, "num_codebooks", num_codebooks)  # by the name given here
        self.quantizer = SemanticVectorQuantizer(
            num_slots, slot_size, num_codebooks, codebook_size, code_dim, commitment_cost
        )
        self.encoder = SlotAttentionEncoder(
            image_size,
            num_slots,
            num_iterations,
            in_channels,
            slot_size,
            hidden_dim,
            num_blocks=num_codebooks,
            slot_init=slot_init,
            quantize_at=quantize_at,
        )
        self.decoder = SVQDecoder(slot_size, hidden_dim, num_slots, image_size, in_channels, decoder)
        several = num_starts > 1 and slot_init == "random"  # learned slots always start alike
        self.register_buffer("starts", torch.randn(num_starts, num_slots, slot_size) if several else None)
        self.prior: AutoregressiveTransformer | None = None
        self._prior_state: dict[str, Tensor] = {}  # loaded before `init_prior` was called

    # ------------------------------------------------------------------ one path in, one path out

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Encodes, quantizes and decodes `image` (B, in_channels, H, W) in [0, 1].

        Returns float32 tensors, `codes` excepted:
            recon: (B, in_channels, H, W), about [0, 1], not clamped.
            masks: (B, N, 1, H, W) in [0, 1], summing to 1 over the slots.
            slot_images: (B, N, in_channels, H, W), what each slot would paint.
            slots: (B, N, D) before quantization.
            quantized: (B, N, D) after it.
            codes: (B, N, M) int64 in [0, K).
            attention: (B, N, h·w), slot attention's own masks on the feature grid, summing to 1 over the slots.
            commitment_loss: scalar, raw.
            sketch: (B, in_channels, H, W), of the cross-attention decoder; in training mode only.
        """
        found = self.find_slots(image)
        decoded = self.decoder(found.quantized)
        outputs = {
            "recon": decoded.recon,
            "masks": decoded.masks,
            "slot_images": decoded.slot_images,
            "slots": found.slots,
            "quantized": found.quantized,
            "codes": found.codes,
            "attention": found.attention,
            "commitment_loss": found.commitment,
        }
        if decoded.sketch is not None:
            outputs["sketch"] = decoded.sketch
        return outputs

    def encode(self, image: Tensor) -> Tensor:
        """The codes (B, N, M) of `image` (B, in_channels, H, W) in [0, 1]."""
        codes = self.find_slots(image).codes
        assert codes is not None  # there is a quantizer
        return codes

    def find_slots(self, image: Tensor) -> Slots:
        """The slots of `image` (B, in_channels, H, W) in [0, 1]; in eval mode from the best of `num_starts` starts."""
        if self.training or self.starts is None:
            return self.encoder(image, self.quantizer)
        inputs = self.encoder.embed(image)
        starts = [start.expand(len(image), -1, -1) for start in self.starts]
        tries = [self.encoder.slot_attention(inputs, self.quantizer, start) for start in starts]
        with torch.no_grad():
            recons = torch.stack([self.decoder(each.quantized).recon for each in tries])
            errors = (recons - image).square().mean(dim=(2, 3, 4))  # (starts, B)
        best, scene = errors.argmin(dim=0), torch.arange(len(image), device=image.device)
        slots = torch.stack([each.slots for each in tries])[best, scene]
        attention = torch.stack([each.attention for each in tries])[best, scene]
        quantized, codes, commitment = self.quantizer(slots)
        return Slots(slots, quantized, attention, codes, commitment)

    def decode(self, codes: Tensor) -> DecoderOutput:
        """The images that `codes` (B, N, M) stand for."""
        return self.decoder(self.quantizer.embed(codes))

    @torch.no_grad()
    def in_order(self, codes: Tensor) -> Tensor:
        """`codes` (B, N, M) with each scene's slots in the canonical order: from left to right, as they are painted.

        Slots carry no order of their own, so the prior learns one out of the N! that say the same. In this one
        objects that may overlap follow each other, and what may come next changes little from code to code.
        """
        with torch.autocast(codes.device.type, enabled=False):  # rounded places would tie
            across = self.decoder.centres(self.quantizer.embed(codes))[..., 0]
        return codes.gather(1, across.argsort(dim=1, stable=True).unsqueeze(-1).expand_as(codes))

    # ------------------------------------------------------------------ losses

    def compute_loss(
        self,
        image: Tensor,
        outputs: Mapping[str, Tensor],
        recon_loss_weight: float = 1.0,
        commitment_loss_weight: float | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """The objective of the autoencoder, and of the prior once there is one.

        Args:
            image: what was given to `forward`.
            outputs: what `forward` returned.
            recon_loss_weight: of the mean squared error of the reconstruction (and of the sketch, where there is one);
                at least 0.
            commitment_loss_weight: at least 0; takes the place of `commitment_cost`, which is used when this is None.

        Returns:
            The loss to minimise, and its terms as floats, unweighted: loss, recon_loss, commitment_loss, sketch_loss if
            there is a sketch, and with a prior prior_loss, nats a code on detached codes (it trains nothing but the
            prior).

        Raises:
            TypeError: a weight that is not a number.
            ValueError: `image` has another shape than its reconstruction, `outputs` lacks what `forward` returns, or a
                weight that is negative, NaN or infinite.
        """
        needed = ("recon", "commitment_loss") if self.prior is None else ("recon", "commitment_loss", "codes")
        missing = [name for name in needed if name not in outputs]
        if missing:
            raise ValueError(f"outputs lacks {', '.join(missing)}: give compute_loss what forward returned")
        if image.shape != outputs["recon"].shape:
            raise ValueError(
                f"image had shape {tuple(image.shape)} but its reconstruction {tuple(outputs['recon'].shape)}: "
                "give compute_loss the image that was given to forward"
            )
        if commitment_loss_weight is None:
            commitment_loss_weight = self.quantizer.commitment_cost
        require_weight(recon_loss_weight=recon_loss_weight, commitment_loss_weight=commitment_loss_weight)
        terms = {
            "recon_loss": F.mse_loss(outputs["recon"], image),
            "commitment_loss": outputs["commitment_loss"],
        }
        loss = recon_loss_weight * terms["recon_loss"] + commitment_loss_weight * terms["commitment_loss"]
        if "sketch" in outputs:
            terms["sketch_loss"] = F.mse_loss(outputs["sketch"], image)
            loss = loss + recon_loss_weight * self.decoder.sketch_weight * terms["sketch_loss"]
        if self.prior is not None:
            terms["prior_loss"] = self.prior.nll(self.in_order(outputs["codes"])).mean()
            loss = loss + terms["prior_loss"]
        values = torch.stack([loss, *terms.values()]).tolist()  # one transfer from the device, not one a term
        return loss, dict(zip(["loss", *terms], values, strict=True))

    # ------------------------------------------------------------------ the prior

    def init_prior(
        self, embed_dim: int = 256, num_heads: int = 8, num_layers: int = 4, dropout: float = 0.1
    ) -> AutoregressiveTransformer:
        """Adds the prior over codes, and fills it with the weights of a state dict loaded before, if there was one.

        Without one it starts from the codebooks as they are now, so the autoencoder is better trained before.

        Raises:
            RuntimeError: there is a prior already, which would be lost, or the loaded weights are those of a prior of
                another size.
        """
        if self.prior is not None:
            raise RuntimeError(
                "this model has a prior already, and init_prior would throw its weights away: "
                "set model.prior = None before, if that is wanted"
            )
        prior = AutoregressiveTransformer(
            self.config["num_slots"],
            self.config["num_codebooks"],
            self.config["codebook_size"],
            embed_dim,
            num_heads,
            num_layers,
            dropout,
        ).to(self.quantizer.codebook.device)
        if self._prior_state:
            try:
                prior.load_state_dict(self._prior_state)
            except RuntimeError as error:
                state = self._prior_state
                saved_dim = state["begin"].shape[0] if "begin" in state else "unknown"
                saved_heads = int(state["num_heads"]) if "num_heads" in state else "unknown"
                raise RuntimeError(
                    f"the loaded prior (embed_dim={saved_dim}, num_heads={saved_heads}) does not fit "
                    f"init_prior(embed_dim={embed_dim}, num_heads={num_heads}, num_layers={num_layers}): "
                    "use the sizes it was trained with"
                ) from error
            self._prior_state = {}
        else:
            prior.start_from(self.quantizer.codebook)
        self.prior = prior.train(self.training)
        self.config["prior"] = {
            "embed_dim": embed_dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "dropout": dropout,
        }
        return prior

    @torch.no_grad()
    def generate(
        self,
        batch_size: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """New scenes from the prior: images (B, in_channels, H, W), float32 in [0, 1].

        Raises:
            RuntimeError: there is no prior yet.
            TypeError, ValueError: see `AutoregressiveTransformer.sample`.
        """
        if self.prior is None:
            raise RuntimeError("this model has no prior to generate from: call init_prior and train it")
        codes = self.prior.sample(batch_size, temperature, top_k, generator)
        return self.decode(codes).recon.clamp(0, 1)

    # ------------------------------------------------------------------ loading

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str | torch.device = "cpu") -> SVQ:
        """The model that a checkpoint holds, prior included, in eval mode on `device`.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: `path` is not a path.
            ValueError: a device that is not there, a file that `safe_load` refuses, a model that this version cannot
                build, or weights that hold NaN or infinity.
        """
        place = require_device(device)
        checkpoint = safe_load(path, map_location="cpu")
        config, state = checkpoint.get("model_config"), checkpoint.get("model_state_dict")
        for name, value in (("model_config", config), ("model_state_dict", state)):
            if not isinstance(value, dict):
                found = "is missing" if name not in checkpoint else f"is {type(value).__name__}, not a dictionary"
                raise ValueError(f"checkpoint {path} is incomplete: its {name} {found}; train a new one")
        assert config is not None and state is not None
        if "prior" not in config:
            raise ValueError(f"checkpoint {path} is incomplete: its model_config lacks prior; train a new one")
        config = dict(config)
        prior = config.pop("prior")
        try:
            model = cls(**config)
            if prior is not None:
                model.init_prior(**prior)
            model.load_state_dict(state)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())  # PyTorch names every tensor in a line of its own
            reason = reason if len(reason) <= 300 else f"{reason[:300]} …"
            raise ValueError(f"checkpoint {path} does not fit this version of the model: {reason}") from error
        broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            raise ValueError(f"checkpoint {path} holds NaN or infinity in {broken[0]}{more}: train a new one")
        return model.to(place).eval()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; a prior's tensors wait for `init_prior` where there is no prior yet."""
        state_dict = dict(state_dict)
        if self.prior is None:
            kept = {key[len(_PRIOR) :]: state_dict.pop(key) for key in list(state_dict) if key.startswith(_PRIOR)}
            self._prior_state = kept
        return super().load_state_dict(state_dict, strict=strict, assign=assign)
