"""Names, types, choices and limits of every setting. The defaults live in the YAML files next to this one.

A wrong name or type fails when Hydra composes the config; `check` then looks at choices and limits. Nothing
here imports torch, so that a mistake shows at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore

from .errors import ConfigError
from .mistakes import choose

DRAWN = ("shapes", "multi_dsprites", "sprites")  # data sets without an end
FILES = ("folder", "clevr", "sysbinder", "clevr_like")  # as large as what is found at data.path
DATASETS = (*DRAWN, *FILES)
CLEVR_VARIANTS = ("easy", "hard")
BACKGROUNDS = ("black", "random", "textured")
MODELS = ("svq", "vqvae", "dvae")
DECODERS = ("cross_attention", "cnn", "transformer")
SLOT_INITS = ("random", "learned", "learned_noisy")
QUANTIZE_AT = ("last", "every")
BOTTLENECKS = ("codes", "prototypes", "none")
BACKBONES = ("small", "paper")
PRIOR_STYLES = ("default", "paper")
SCHEDULES = ("cosine", "half_life")
CLIP_NORMS = ("l2", "max")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "bf16", "float32")
LANGUAGES = ("auto", "en", "ko")
MAX_SEED = 2**31 - 1

# true or false and, unlike OmegaConf's bool, nothing that might be meant as one of them: 2, yes, "0".
if TYPE_CHECKING:
    Flag = bool
else:
    Flag = Any


def _one_of(*choices: str) -> Any:
    return field(metadata={"choices": choices})


def _at_least(minimum: float, maximum: float = float("inf")) -> Any:
    return field(metadata={"at_least": minimum, "at_most": maximum})


def _above(minimum: float) -> Any:
    return field(metadata={"above": minimum})


def _folder_name() -> Any:
    return field(metadata={"folder_name": True})


def _path() -> Any:
    return field(metadata={"path": True})


@dataclass(kw_only=True)
class DataConfig:
    """Which pictures, and how many of each split."""

    name: str = _one_of(*DATASETS)
    image_size: int = _at_least(16, 1024)
    max_shapes: int = _at_least(1, 8)
    background: str = _one_of(*BACKGROUNDS)
    num_train: int | None = _at_least(1)
    num_val: int | None = _at_least(1)
    num_test: int | None = _at_least(1)
    seed: int = _at_least(0, MAX_SEED)
    path: str | None = _path()
    skip_bad: Flag
    cache_dir: str = _path()
    num_workers: int = _at_least(0)


@dataclass(kw_only=True)
class ModelConfig:
    """Which model, and exactly the constructor arguments of `SVQ`; a baseline without slots reads those it has."""

    kind: str = _one_of(*MODELS)
    image_size: int = _at_least(16, 1024)
    in_channels: int = _at_least(1)
    num_slots: int = _at_least(1)
    num_iterations: int = _at_least(1)
    slot_size: int = _at_least(1)
    num_codebooks: int = _at_least(1)
    codebook_size: int = _at_least(1, 2**16)
    code_dim: int = _at_least(1)
    hidden_dim: int = _at_least(1)
    commitment_cost: float = _at_least(0)
    decoder: str = _one_of(*DECODERS)
    slot_init: str = _one_of(*SLOT_INITS)
    quantize_at: str = _one_of(*QUANTIZE_AT)
    num_starts: int = _at_least(1)
    bottleneck: str = _one_of(*BOTTLENECKS)
    backbone: str = _one_of(*BACKBONES)
    feature_dim: int | None = _at_least(1)
    slot_mlp_dim: int | None = _at_least(1)
    implicit: Flag
    salience: Flag
    inhibition: float = _at_least(0)
    shading: Flag
    vocab_size: int = _at_least(2, 2**16)
    decoder_layers: int = _at_least(1)
    decoder_heads: int = _at_least(1)
    decoder_dropout: float = _at_least(0, 1)


@dataclass(kw_only=True)
class PriorConfig:
    """The second phase: the prior over codes and its training."""

    steps: int = _at_least(0)
    batch_size: int = _at_least(1)
    learning_rate: float = _above(0)
    warmup_steps: int = _at_least(0)
    weight_decay: float = _at_least(0)
    grad_clip: float = _above(0)
    dropout: float = _at_least(0, 1)
    embed_dim: int = _at_least(1)
    num_heads: int = _at_least(1)
    num_layers: int = _at_least(1)
    style: str = _one_of(*PRIOR_STYLES)
    relations: Flag


@dataclass(kw_only=True)
class GumbelConfig:
    """The temperature of the dVAE's Gumbel-softmax: half a cosine from `start` to `end` over the first `steps`."""

    start: float = _above(0)
    end: float = _above(0)
    steps: int = _at_least(0)


@dataclass(kw_only=True)
class TrainingConfig:
    """The first phase (the autoencoder), what both phases report and save, and the prior's own settings."""

    steps: int = _at_least(1)
    batch_size: int = _at_least(1)
    learning_rate: float = _above(0)
    decoder_learning_rate: float | None = _above(0)
    dvae_learning_rate: float | None = _above(0)
    warmup_steps: int = _at_least(0)
    schedule: str = _one_of(*SCHEDULES)
    half_life: int = _at_least(1)
    grad_clip: float = _above(0)
    clip_norm: str = _one_of(*CLIP_NORMS)
    gumbel: GumbelConfig
    recon_loss_weight: float = _at_least(0)
    commitment_loss_weight: float | None = _at_least(0)
    sketch_steps: int = _at_least(0)
    quantize_from: int = _at_least(0)
    quantize_by: int = _at_least(0)
    bypass: float = _at_least(0, 1)
    merge_to: int | None = _at_least(1)
    eval_every: int = _at_least(1)
    log_every: int = _at_least(1)
    image_every: int = _at_least(1)
    checkpoint_every: int = _at_least(1)
    devices: int = _at_least(1)
    num_nodes: int = _at_least(1)
    resume: str | None
    prior: PriorConfig


@dataclass(kw_only=True)
class EvaluationConfig:
    """The scores at the end of a run, on the test split."""

    enabled: Flag
    batch_size: int = _at_least(1)
    num_generated: int = _at_least(1)
    temperature: float = _above(0)
    top_k: int | None = _at_least(1)
    seed: int = _at_least(0, MAX_SEED)
    cache_dir: str = _path()


@dataclass(kw_only=True)
class VisualizationConfig:
    """What the pictures show."""

    num_images: int = _at_least(1)
    num_samples: int = _at_least(1)
    dpi: int = _at_least(20, 1000)


@dataclass(kw_only=True)
class AblationConfig:
    """Whether variants of the model are trained and compared instead of one model, which ones, and for how long."""

    enabled: Flag
    seeds: list[int]
    budget: float = _above(0)
    variants: list[str] | None
    folder: str = _folder_name()
    name: str = _folder_name()


@dataclass(kw_only=True)
class TrainConfig:
    """Everything `python -m src.train` can be told."""

    name: str = _folder_name()
    seed: int = _at_least(0, MAX_SEED)
    device: str = _one_of(*DEVICES)
    precision: str = _one_of(*PRECISIONS)
    log_dir: str = _path()
    objective: str
    checkpoint_dir: str = _path()
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    visualization: VisualizationConfig
    ablation: AblationConfig


@dataclass(kw_only=True)
class GenerateConfig:
    """Everything `python -m src.generate` can be told."""

    checkpoint: str = _path()
    num_images: int = _at_least(1)
    conditions: str | None
    given: str | None = _path()
    scene: int = _at_least(0)
    image: str | None = _path()
    keep: list[int] | None
    temperature: float = _above(0)
    top_k: int | None = _at_least(1)
    seed: int = _at_least(0, MAX_SEED)
    output: str = _path()
    cache_dir: str = _path()
    device: str = _one_of(*DEVICES)
    precision: str = _one_of(*PRECISIONS)
    dpi: int = _at_least(20, 1000)


@dataclass(kw_only=True)
class ExportConfig:
    """Everything `python -m src.export` can be told."""

    checkpoint: str = _path()
    output: str = _path()
    formats: list[str]
    num_images: int = _at_least(1)


@dataclass(kw_only=True)
class DemoConfig:
    """Everything `python -m src.demo` can be told."""

    checkpoint: str = _path()
    data_path: str | None = _path()
    language: str = _one_of(*LANGUAGES)
    host: str
    port: int = _at_least(1, 65535)
    open: Flag
    cache_dir: str = _path()
    device: str = _one_of(*DEVICES)
    precision: str = _one_of(*PRECISIONS)


@dataclass(kw_only=True)
class RenderConfig:
    """Everything `python -m src.render` can be told."""

    variant: str = _one_of(*CLEVR_VARIANTS)
    image_size: int = _at_least(16, 1024)
    samples: int = _at_least(1)
    num_train: int = _at_least(1)
    num_val: int = _at_least(1)
    num_test: int = _at_least(1)
    seed: int = _at_least(0, MAX_SEED)
    num_workers: int | None = _at_least(1)
    output: str = _path()


@dataclass(kw_only=True)
class ReportDataConfig:
    """Other pictures than those that a checkpoint was trained on; None: those."""

    name: str | None = _one_of(*DATASETS)
    path: str | None = _path()
    max_shapes: int | None = _at_least(1, 8)
    background: str | None = _one_of(*BACKGROUNDS)
    num_train: int | None = _at_least(1)
    num_val: int | None = _at_least(1)
    num_test: int | None = _at_least(1)
    seed: int | None = _at_least(0, MAX_SEED)


@dataclass(kw_only=True)
class ReportConfig:
    """Everything `python -m src.evaluate` can be told."""

    checkpoint: Any  # one path, or several
    data: ReportDataConfig
    split: str = _one_of("test", "val")
    sections: list[str] | None
    output: str | None = _path()
    device: str = _one_of(*DEVICES)
    precision: str = _one_of(*PRECISIONS)
    batch_size: int = _at_least(1)
    seed: int = _at_least(0, MAX_SEED)
    num_generated: int = _at_least(1)
    temperature: float = _above(0)
    top_k: int | None = _at_least(1)
    inception: str | None = _path()
    cache_dir: str = _path()
    dpi: int = _at_least(20, 1000)


def is_folder_name(name: str) -> bool:
    """Whether `name` is that of one folder, not a path, and not empty."""
    return name.strip() not in ("", ".", "..") and not set(name) & set("/\\")


COMMANDS: dict[str, type] = {  # `python -m src.<name>`, whose settings <name>.yaml begins
    "train": TrainConfig,
    "generate": GenerateConfig,
    "evaluate": ReportConfig,
    "export": ExportConfig,
    "demo": DemoConfig,
    "render": RenderConfig,
}


def register() -> None:
    """Makes the schemas known to Hydra, for the `defaults` of the YAML files beside this one."""
    store = ConfigStore.instance()
    for name, kind in COMMANDS.items():
        store.store(name=f"{name}_schema", node=kind)


def check(config: Any, prefix: str = "") -> None:
    """Holds every value of a config object against the choices and limits of its field.

    Raises:
        ConfigError: naming the key, its value and what was expected.
    """
    for entry in fields(config):
        value: Any = getattr(config, entry.name)
        key, rule = prefix + entry.name, entry.metadata
        if is_dataclass(value):
            check(value, key + ".")
        elif entry.type == "Flag":  # as it is spelt above
            if not isinstance(value, bool):
                raise ConfigError(f"{key}={'null' if value is None else value} cannot be used; give true or false")
        elif value is None:
            continue
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value} is out of range; it must be a finite number")
        elif "path" in rule and not str(value).strip():
            raise ConfigError(f"{key} is empty; give a path, such as {key}={entry.name.split('_')[0]}")
        elif "folder_name" in rule and not is_folder_name(str(value)):
            raise ConfigError(f"{key}={value!r} is no name of one folder; give one without slashes, such as {key}=svq")
        elif "choices" in rule and value not in rule["choices"]:
            raise ConfigError(f"{key}={value} is unknown; {choose(value, rule['choices'])}")
        elif "above" in rule and not value > rule["above"]:
            raise ConfigError(f"{key}={value} is out of range; it must be greater than {rule['above']}")
        elif "at_least" in rule and not rule["at_least"] <= value <= rule["at_most"]:
            low, high = rule["at_least"], rule["at_most"]
            wanted = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
            raise ConfigError(f"{key}={value} is out of range; it must be {wanted}")


def check_together(config: TrainConfig) -> None:
    """Holds settings of a run that depend on each other against each other.

    Raises:
        ConfigError: naming the keys, their values and what was expected.
    """
    data, model, training = config.data, config.model, config.training
    check_source(data)
    if model.image_size != data.image_size:
        raise ConfigError(
            f"model.image_size={model.image_size} but data.image_size={data.image_size}; set data.image_size alone, "
            "which the model's follows"
        )
    if model.in_channels != 3:
        raise ConfigError(f"model.in_channels={model.in_channels} but the pictures of {data.name} have 3 channels")
    if model.kind == "svq" and model.bottleneck != "codes" and training.prior.steps:
        raise ConfigError(
            f"model.bottleneck={model.bottleneck} leaves no codes for a prior to learn; set training.prior.steps=0"
        )
    if training.quantize_from > training.quantize_by:
        raise ConfigError(
            f"training.quantize_from={training.quantize_from} must not exceed "
            f"training.quantize_by={training.quantize_by}"
        )
    if not config.objective.strip():
        raise ConfigError("objective is empty; give the name of a number, such as validation.autoencoder_loss")
    if config.objective.startswith("validation.prior_") and not training.prior.steps:
        raise ConfigError(f"objective={config.objective} needs a prior; set training.prior.steps above 0")
    if not config.objective.startswith("validation.") and not config.evaluation.enabled:
        raise ConfigError(
            f"objective={config.objective} is none of the validation metrics, such as validation.autoencoder_loss, "
            "and evaluation.enabled=false leaves no others"
        )
    if data.num_train is not None:
        check_batches(training, data.num_train, f"data.num_train={data.num_train}", "raise data.num_train")
    for key, size in batch_sizes(training).items():
        if size % (training.devices * training.num_nodes):
            raise ConfigError(
                f"{key}={size} is no multiple of training.devices={training.devices} times "
                f"training.num_nodes={training.num_nodes}, whose processes share each batch; change one of them"
            )


def batch_sizes(training: TrainingConfig) -> dict[str, int]:
    """Scenes a step of each phase that is trained, by the setting that says so."""
    sizes = {"training.batch_size": training.batch_size}
    if training.prior.steps:
        sizes["training.prior.batch_size"] = training.prior.batch_size
    return sizes


def check_batches(training: TrainingConfig, num_train: int, there_are: str, more: str) -> None:
    """A batch has each scene once, so none can be larger than the training data.

    Args:
        num_train: scenes to train on.
        there_are: the same in words.
        more: what to do to have more of them.

    Raises:
        ConfigError: naming all batches that are too large, and the largest that fits.
    """
    large = {key: size for key, size in batch_sizes(training).items() if size > num_train}
    if not large:
        return
    processes = training.devices * training.num_nodes
    most = num_train // processes * processes
    named = " and ".join(f"{key}={size}" for key, size in large.items())
    lower = f"give at most {most} for {'each' if len(large) > 1 else 'it'}, or " if most else ""
    raise ConfigError(f"{named} exceed{'s' if len(large) == 1 else ''} {there_are}; {lower}{more}")


def check_source(data: DataConfig, key: str = "data") -> None:
    """Scenes that are drawn need a number of them, those in files a path; `key` is the setting that chooses them."""
    if data.name in FILES:
        if data.path is None:
            raise ConfigError(f"data.path is missing; say where the pictures of {data.name} are, as data.path=<folder>")
        return
    if data.path is not None:
        raise ConfigError(f"data.path={data.path} does not go with {data.name}, which is drawn; choose {key}=folder")
    for split in ("train", "val", "test"):
        if getattr(data, f"num_{split}") is None:
            raise ConfigError(f"data.num_{split}=null means all there is, but {data.name} has no end; give a number")
