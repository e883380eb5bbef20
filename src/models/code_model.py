"""What every model of codes shares: a prior over them, new scenes from it, and loading."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.checkpoint_io import safe_load
from ..utils.precision import require_device
from .checks import require_weight
from .completion import PARTICLES, Completion, Requirement, complete
from .transformer_decoder import AutoregressiveTransformer

_PRIOR = "prior."
Model = TypeVar("Model", bound="CodeModel")


class CodeModel(nn.Module, ABC):
    """A model that writes an image as codes (B, N, M), each one of K, and paints images from codes.

    Args:
        config: the arguments that rebuild the model.
        num_slots, num_codebooks, codebook_size: N, M, K.
    """

    kind: str  # its name in settings and checkpoints

    def __init__(self, config: Mapping[str, Any], num_slots: int, num_codebooks: int, codebook_size: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"kind": self.kind, **config, "prior": None}
        self.num_slots, self.num_codebooks, self.codebook_size = num_slots, num_codebooks, codebook_size
        self.prior: AutoregressiveTransformer | None = None
        self._prior_state: dict[str, Tensor] = {}  # loaded before `init_prior` was called

    @property
    def codebook(self) -> Tensor | None:
        """The M codebooks (M, K, C), where codes have vectors."""
        return None

    @property
    def has_codes(self) -> bool:
        """Whether it writes codes that images can be painted from."""
        return True

    @property
    def has_slots(self) -> bool:
        """Whether codes are those of slots, which come in no order of their own, or else of patches, row by row."""
        return False

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights by part, each of which may learn at a rate of its own: "encoder", "decoder", perhaps "dvae"."""

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
            recon_loss_weight: of the mean squared error of the reconstruction; at least 0.
            commitment_loss_weight: at least 0; takes the place of the model's `commitment_cost`, which is used when
                this is None. A model without commitment does not read it.

        Returns:
            The loss to minimise, and its terms as floats, unweighted: loss, recon_loss, commitment_loss where there is
            one, and with a prior prior_loss, nats a code on detached codes (it trains nothing but the prior).

        Raises:
            TypeError: a weight that is not a number.
            ValueError: `image` has another shape than its reconstruction, `outputs` lacks what `forward` returns, or a
                weight that is negative, NaN or infinite.
        """
        commits = "commitment_cost" in self.config
        self._require_outputs(image, outputs, "recon", *(["commitment_loss"] if commits else []))
        if commitment_loss_weight is None:
            commitment_loss_weight = float(self.config.get("commitment_cost", 0.0))
        require_weight(recon_loss_weight=recon_loss_weight, commitment_loss_weight=commitment_loss_weight)
        terms = {"recon_loss": F.mse_loss(outputs["recon"], image)}
        loss = recon_loss_weight * terms["recon_loss"]
        if commits:
            terms["commitment_loss"] = outputs["commitment_loss"]
            loss = loss + commitment_loss_weight * terms["commitment_loss"]
        return self._with_prior(loss, terms, outputs)

    def _require_outputs(self, image: Tensor, outputs: Mapping[str, Tensor], *needed: str) -> None:
        """Raises ValueError unless `outputs` has what is needed for the loss and is that of `image`."""
        names = [*needed, "codes"] if self.prior is not None else needed
        missing = [name for name in names if name not in outputs]
        if missing:
            raise ValueError(f"outputs lacks {', '.join(missing)}: give compute_loss what forward returned")
        if "recon" in needed and image.shape != outputs["recon"].shape:
            raise ValueError(
                f"image had shape {tuple(image.shape)} but its reconstruction {tuple(outputs['recon'].shape)}: "
                "give compute_loss the image that was given to forward"
            )

    def _with_prior(
        self, loss: Tensor, terms: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """`loss` and its `terms`, the prior's among them once there is one, the terms as floats."""
        terms = dict(terms)
        if self.prior is not None:
            terms["prior_loss"] = self.prior.nll(self.in_order(outputs["codes"])).mean()
            loss = loss + terms["prior_loss"]
        values = torch.stack([loss, *terms.values()]).tolist()  # one transfer from the device, not one a term
        return loss, dict(zip(["loss", *terms], values, strict=True))

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """The codes (B, N, M) of `image` (B, in_channels, H, W) in [0, 1]."""

    @abstractmethod
    def paint(self, codes: Tensor) -> Tensor:
        """The images (B, in_channels, H, W) that `codes` (B, N, M) stand for, about [0, 1], not clamped."""

    def in_order(self, codes: Tensor) -> Tensor:
        """`codes` (B, n, M) with each scene's n ≤ N slots in the one order that the prior knows."""
        return codes

    # ------------------------------------------------------------------ the prior

    def init_prior(
        self,
        embed_dim: int = 256,
        num_heads: int = 8,
        num_layers: int = 4,
        dropout: float = 0.1,
        style: str = "default",
    ) -> AutoregressiveTransformer:
        """Adds the prior over codes, and fills it with the weights of a state dict loaded before, if there was one.

        Without one it starts from the codebooks as they are now, so the autoencoder is better trained before.

        Raises:
            RuntimeError: there is a prior already, which would be lost, or the loaded weights are those of a prior of
                another size.
            ValueError: the model has no codes to learn.
        """
        if not self.has_codes:
            raise ValueError("this model writes no codes, which a prior could learn: use one with bottleneck='codes'")
        if self.prior is not None:
            raise RuntimeError(
                "this model has a prior already, and init_prior would throw its weights away: "
                "set model.prior = None before, if that is wanted"
            )
        prior = AutoregressiveTransformer(
            self.num_slots,
            self.num_codebooks,
            self.codebook_size,
            embed_dim,
            num_heads,
            num_layers,
            dropout,
            style,
        ).to(self.device)
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
        elif style == "default" and self.codebook is not None:
            prior.start_from(self.codebook)
        self.prior = prior.train(self.training)
        self.config["prior"] = {
            "embed_dim": embed_dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "dropout": dropout,
            "style": style,
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
        codes = self._require_prior().sample(batch_size, temperature, top_k, generator)
        return self.paint(codes).clamp(0, 1)

    @torch.no_grad()
    def complete(
        self,
        count: int,
        given: Tensor | None = None,
        wanted: Sequence[Requirement] = (),
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
        particles: int = PARTICLES,
    ) -> Completion:
        """New scenes from the prior that hold the slots `given` (G, M), and in others what is `wanted`; see
        `completion.complete`. Given codes come out unchanged, and the slots of each scene in order.

        Raises:
            RuntimeError: there is no prior yet.
            ValueError: codes that are not those of slots, which could stand anywhere; see `completion.complete`.
        """
        prior = self._require_prior()
        if not self.has_slots:
            raise ValueError(f"a {self.kind} has no slots that could be kept: complete scenes of a model of kind svq")
        if given is not None and 0 < len(given) <= self.num_slots:
            given = self.in_order(given[None].to(self.device))[0]
        done = complete(prior, count, given, wanted, temperature, top_k, generator, particles)
        return replace(done, codes=self.in_order(done.codes))

    def _require_prior(self) -> AutoregressiveTransformer:
        if self.prior is None:
            remedy = "call init_prior and train it" if self.has_codes else "it writes no codes; use bottleneck='codes'"
            raise RuntimeError(f"this model has no prior to generate from: {remedy}")
        return self.prior

    # ------------------------------------------------------------------ loading

    @classmethod
    def from_checkpoint(cls: type[Model], path: str | Path, device: str | torch.device = "cpu") -> Model:
        """The model that a checkpoint holds, prior included, in eval mode on `device`.

        `CodeModel.from_checkpoint` loads a model of any kind (those of catalogue.py), `SVQ.from_checkpoint` an `SVQ`.

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
        prior, kind = config.pop("prior"), config.pop("kind", None)
        from .catalogue import MODELS  # which imports this module

        kinds = {name: each for name, each in MODELS.items() if issubclass(each, cls)} or {cls.kind: cls}
        if kind not in kinds:
            raise ValueError(f"checkpoint {path} holds a model of kind {kind!r}, not one of: {', '.join(kinds)}")
        try:
            model = kinds[kind](**config)
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
