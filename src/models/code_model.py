"""What every model of codes shares: a prior over them, new scenes from it, and loading."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.checkpoint_io import FORMAT, VERSION, safe_load, shown
from ..utils.model_card import model_card
from ..utils.places import without_places
from ..utils.precision import require_device
from ..utils.pretrained import find, require_hub_id, upload, write_folder
from .checks import require_weight
from .completion import PARTICLES, Completion, Requirement, complete
from .transformer_decoder import AutoregressiveTransformer
from .vector_quantizer import SemanticVectorQuantizer

LONGEST = 300  # characters of a reason: PyTorch lists every tensor that does not fit
_FEW_LAYERS, _SMALL_SIZE, _FEW_NUMBERS = 64, 2**16, 2**24  # what a checkpoint may ask for, whatever its weights are
_PRIOR = "prior."
_ORIGIN = ("config", "step", "metrics", "commit")
Model = TypeVar("Model", bound="CodeModel")


class CodeModel(nn.Module, ABC):
    """A model that writes an image as codes (B, N, M), each one of K, and paints images from codes.

    Args:
        config: the arguments that rebuild the model.
        num_slots, num_codebooks, codebook_size: N, M, K.
    """

    kind: str  # its name in settings and checkpoints
    # What a compact copy keeps of each weight, by the first letters of its name. Of a prior probabilities are wanted,
    # which steps of 1 % change little.
    compact_bits: Mapping[str, int] = MappingProxyType({"": 16, "prior.": 8})

    def __init__(self, config: Mapping[str, Any], num_slots: int, num_codebooks: int, codebook_size: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"kind": self.kind, **config, "prior": None}
        self.num_slots, self.num_codebooks, self.codebook_size = num_slots, num_codebooks, codebook_size
        self.prior: AutoregressiveTransformer | None = None
        self._prior_state: dict[str, Tensor] = {}  # loaded before `init_prior` was called
        # What the checkpoint says that it was loaded from: the settings of its training ("config"), "step", "metrics".
        self.origin: dict[str, Any] = {}

    @property
    def code_quantizer(self) -> SemanticVectorQuantizer | None:
        """What turns blocks into codes, where codes have vectors."""
        return None

    @property
    def codebook(self) -> Tensor | None:
        """The M codebooks (M, K, C), where codes have vectors."""
        return None if self.code_quantizer is None else self.code_quantizer.codebook

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

    def merge_codes(self, codebook_size: int) -> None:
        """Leaves `codebook_size` codes in each codebook, by merging those that are alike
        (`SemanticVectorQuantizer.merge`): fewer words for a prior to learn, of coarser meaning.

        Raises:
            RuntimeError: there is a prior, which knows the codes as they are.
            TypeError, ValueError: the model has no codebooks of vectors, or not so many codes.
        """
        quantizer = self.code_quantizer
        if quantizer is None:
            raise ValueError("this model has no codebooks whose codes could be merged: use one with bottleneck='codes'")
        if self.prior is not None:
            raise RuntimeError(
                "this model has a prior, which knows the codes as they are: merge them before init_prior"
            )
        quantizer.merge(codebook_size)
        self.codebook_size = codebook_size
        self.config = {**self.config, "codebook_size": codebook_size}

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
        relations: bool = False,
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
        arguments: dict[str, Any] = {
            "embed_dim": embed_dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "dropout": dropout,
            "style": style,
            "relations": relations,
        }
        prior = AutoregressiveTransformer(self.num_slots, self.num_codebooks, self.codebook_size, **arguments)
        prior.to(self.device)
        if self._prior_state:
            try:
                prior.load_state_dict(self._prior_state)
            except RuntimeError as error:
                saved = _told_by(self._prior_state)
                asked = {name: arguments[name] for name in saved}
                raise RuntimeError(
                    f"the loaded prior ({_listed(saved)}) does not fit init_prior({_listed(asked)}): "
                    "use the arguments it was trained with"
                ) from error
            self._prior_state = {}
        elif style == "default" and self.codebook is not None:
            prior.start_from(self.codebook)
        self.prior = prior.train(self.training)
        self.config["prior"] = arguments
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
        if isinstance(given, Tensor) and given.ndim == 2 and 0 < len(given) <= self.num_slots:
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
        `path` may also be what else `safe_load` opens: a folder that `save_pretrained` wrote, or a shipped model.

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
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"checkpoint {path} holds a model of kind {shown(kind)}, not one of: {', '.join(kinds)}")
        try:
            _require_likely_sizes(kinds[kind], config, prior, state)
            model = _built(kinds[kind], config, prior)
            model.load_state_dict(state)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {path} does not fit this version of the model: {_reason(error)}") from error
        broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            raise ValueError(f"checkpoint {path} holds NaN or infinity in {broken[0]}{more}: train a new one")
        model.origin = {name: checkpoint[name] for name in _ORIGIN if name in checkpoint}
        return model.to(place).eval()

    @classmethod
    def from_pretrained(
        cls: type[Model],
        name: str | PathLike,
        device: str | torch.device = "cpu",
        revision: str | None = None,
    ) -> Model:
        """A trained model, prior included, in eval mode on `device`. No code is run from its files.

        Args:
            name: a folder that `save_pretrained` wrote, a shipped model such as "shapes", for which no network is
                needed, or the id "owner/name" of such a folder on the Hugging Face hub.
            device: such as "cuda".
            revision: branch, tag or commit on the hub.

        Raises:
            TypeError: `name` is neither text nor a path.
            ValueError: there is no such model, or `from_checkpoint` refuses it.
            ImportError: a hub id, but huggingface_hub is not installed.
        """
        return cls.from_checkpoint(find(name, revision), device)

    def save_pretrained(
        self,
        folder: str | PathLike,
        *,
        config: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float | str | None] | None = None,
        source: str | None = None,
        compact: bool = False,
    ) -> list[Path]:
        """Writes the model, prior included, as model.safetensors, config.json and a model card, README.md.

        Args:
            folder: is made where it is missing; its name is the model's on the card.
            config: settings of the training, plain containers; `config["data"]` is what `src.evaluate` shows the model.
                None: those of the checkpoint that the model was loaded from.
            metrics: what the card says of the model's quality. None: the validation metrics of that checkpoint.
            source: where these metrics are from, such as "results/shapes/seed_0.json".
            compact: less than half the size: weights are rounded as `compact_bits` says.

        Returns:
            The files.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = Path(folder)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "model_config": self.config,
            "config": without_places(self.origin.get("config") or {} if config is None else config),
            "step": self.origin.get("step", 0),
            "metrics": dict(self.origin.get("metrics") or {} if metrics is None else metrics),
            "commit": self.origin.get("commit"),
        }
        card = model_card(folder.absolute().name, type(self), content, source, compact)
        content["model_state_dict"] = self.state_dict()
        return write_folder(folder, content, card, self.compact_bits if compact else None)

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, revision: str | None = None, **saved: Any
    ) -> str:
        """Publishes what `save_pretrained` writes on the Hugging Face hub, in one commit; needs `huggingface_hub`.

        Args:
            repo_id: "owner/name"; the repository is made where it is missing.
            private: whether a new repository is. None: as the owner's default is.
            revision: the branch. None: main.
            **saved: as of `save_pretrained`.

        Returns:
            The address of the commit.

        Raises:
            ValueError: `repo_id` is no such id, or the hub refused.
            ImportError: huggingface_hub is not installed.
        """
        require_hub_id(repo_id)
        with TemporaryDirectory() as place:
            folder = Path(place) / repo_id.split("/")[1]  # the model's name on the card
            self.save_pretrained(folder, **saved)
            return upload(folder, repo_id, private, revision)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; a prior's tensors wait for `init_prior` where there is no prior yet.

        Raises:
            TypeError: `state_dict` is no mapping.
            RuntimeError: it does not fit, in one line, where PyTorch gives every tensor one of its own.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping of names to tensors, got {type(state_dict).__name__}")
        state_dict = dict(state_dict)
        if self.prior is None:
            kept = {key[len(_PRIOR) :]: state_dict.pop(key) for key in list(state_dict) if key.startswith(_PRIOR)}
            self._prior_state = kept
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            raise RuntimeError(_reason(error)) from error


def _built(kind: type[Model], config: Mapping[str, Any], prior: Mapping[str, Any] | None) -> Model:
    model = kind(**config)
    if prior is not None:
        model.init_prior(**prior)
    return model


def _told_by(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `init_prior` that the weights of a prior tell."""
    return {
        "embed_dim": state["begin"].shape[0] if "begin" in state else "unknown",
        "num_heads": int(state["num_heads"]) if "num_heads" in state else "unknown",
        "num_layers": len({name.split(".")[1] for name in state if name.startswith("layers.")}),
        "style": "default" if "norm.weight" in state else "paper",
        "relations": any(name.startswith("relations.") for name in state),
    }


def _listed(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _require_likely_sizes(
    kind: type[CodeModel], config: Mapping[str, Any], prior: Mapping[str, Any] | None, state: Mapping[str, Any]
) -> None:
    """Raises ValueError where a model of these sizes would be far larger than the weights that are there: a file
    of some kilobytes must not fill the memory, or build layers forever."""
    numbers = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    have = f"cannot be those of {len(state)} weights with {numbers:,} numbers"
    for name, size in {**config, **(prior or {})}.items():
        most = max(len(state), _FEW_LAYERS) if name.endswith("layers") else max(numbers, _SMALL_SIZE)
        if isinstance(size, int) and size > most:
            raise ValueError(f"its sizes, such as {name}={size}, {have}")
    with torch.device("meta"):  # which takes no memory
        needed = sum(value.numel() for value in _built(kind, config, prior).state_dict().values())
    if needed > max(2 * numbers, _FEW_NUMBERS):
        raise ValueError(f"its sizes, which make {needed:,} numbers, {have}")


def _reason(error: Exception) -> str:
    """What `error` says, on one line."""
    reason = " ".join(str(error).split())
    return reason if len(reason) <= LONGEST else f"{reason[:LONGEST]} …"
