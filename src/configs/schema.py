"""Names, types, choices and limits of every setting. The defaults live in the YAML files next to this one.

A wrong name or type fails when Hydra composes the config; `check` then looks at choices and limits. Nothing
here imports torch, so that a mistake shows at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from .errors import ConfigError

DATASETS = ("shapes", "multi_dsprites")
BACKGROUNDS = ("black", "random")
DECODERS = ("cross_attention", "cnn")
SLOT_INITS = ("random", "learned")
QUANTIZE_AT = ("last", "every")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "bf16", "float32")


def _one_of(*choices: str) -> Any:
    return field(metadata={"choices": choices})


def _at_least(minimum: float, maximum: float = float("inf")) -> Any:
    return field(metadata={"at_least": minimum, "at_most": maximum})


def _above(minimum: float) -> Any:
    return field(metadata={"above": minimum})


@dataclass(kw_only=True)
class DataConfig:
    """Which pictures, and how many of each split."""

    name: str = _one_of(*DATASETS)
    image_size: int = _at_least(16)
    max_shapes: int = _at_least(1, 8)
    background: str = _one_of(*BACKGROUNDS)
    num_train: int = _at_least(1)
    num_val: int = _at_least(1)
    num_test: int = _at_least(1)
    seed: int = _at_least(0)
    num_workers: int = _at_least(0)


@dataclass(kw_only=True)
class ModelConfig:
    """Exactly the constructor arguments of `SVQ`."""

    image_size: int = _at_least(16)
    in_channels: int = _at_least(1)
    num_slots: int = _at_least(1)
    num_iterations: int = _at_least(1)
    slot_size: int = _at_least(1)
    num_codebooks: int = _at_least(1)
    codebook_size: int = _at_least(1)
    code_dim: int = _at_least(1)
    hidden_dim: int = _at_least(1)
    commitment_cost: float = _at_least(0)
    decoder: str = _one_of(*DECODERS)
    slot_init: str = _one_of(*SLOT_INITS)
    quantize_at: str = _one_of(*QUANTIZE_AT)
    num_starts: int = _at_least(1)


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


@dataclass(kw_only=True)
class TrainingConfig:
    """The first phase (the autoencoder), what both phases report and save, and the prior's own settings."""

    steps: int = _at_least(1)
    batch_size: int = _at_least(1)
    learning_rate: float = _above(0)
    warmup_steps: int = _at_least(0)
    grad_clip: float = _above(0)
    recon_loss_weight: float = _at_least(0)
    commitment_loss_weight: float | None = _at_least(0)
    sketch_steps: int = _at_least(0)
    quantize_from: int = _at_least(0)
    quantize_by: int = _at_least(0)
    bypass: float = _at_least(0, 1)
    eval_every: int = _at_least(1)
    log_every: int = _at_least(1)
    image_every: int = _at_least(1)
    checkpoint_every: int = _at_least(1)
    devices: int = _at_least(1)
    resume: str | None
    prior: PriorConfig


@dataclass(kw_only=True)
class EvaluationConfig:
    """The scores at the end of a run, on the test split."""

    enabled: bool
    batch_size: int = _at_least(1)
    num_generated: int = _at_least(1)
    temperature: float = _above(0)
    top_k: int | None = _at_least(1)
    seed: int = _at_least(0)
    cache_dir: str


@dataclass(kw_only=True)
class VisualizationConfig:
    """What the pictures show."""

    num_images: int = _at_least(1)
    num_samples: int = _at_least(1)
    dpi: int = _at_least(20)


@dataclass(kw_only=True)
class AblationConfig:
    """Whether variants of the model are trained and compared instead of one model, which ones, and for how long."""

    enabled: bool
    seeds: list[int]
    budget: float = _above(0)
    variants: list[str] | None
    name: str


@dataclass(kw_only=True)
class TrainConfig:
    """Everything `python -m src.train` can be told."""

    name: str
    seed: int = _at_least(0, 2**31)
    device: str = _one_of(*DEVICES)
    precision: str = _one_of(*PRECISIONS)
    log_dir: str
    checkpoint_dir: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    visualization: VisualizationConfig
    ablation: AblationConfig


@dataclass(kw_only=True)
class GenerateConfig:
    """Everything `python -m src.generate` can be told."""

    checkpoint: str
    num_images: int = _at_least(1)
    temperature: float = _above(0)
    top_k: int | None = _at_least(1)
    seed: int = _at_least(0)
    output: str
    device: str = _one_of(*DEVICES)
    precision: str = _one_of(*PRECISIONS)
    dpi: int = _at_least(20)


def register() -> None:
    """Makes the schemas known to Hydra, for the `defaults` of config.yaml and generate.yaml."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="generate_schema", node=GenerateConfig)


def check(config: Any, prefix: str = "") -> None:
    """Holds every value of a config object against the choices and limits of its field.

    Raises:
        ConfigError: naming the key, its value and what was expected.
    """
    for entry in fields(config):
        key, value, rule = prefix + entry.name, getattr(config, entry.name), entry.metadata
        if is_dataclass(value):
            check(value, key + ".")
        elif value is None:
            continue
        elif "choices" in rule and value not in rule["choices"]:
            raise ConfigError(f"{key}={value} is unknown; choose one of: {', '.join(rule['choices'])}")
        elif "above" in rule and not value > rule["above"]:
            raise ConfigError(f"{key}={value} is out of range; it must be greater than {rule['above']}")
        elif "at_least" in rule and not rule["at_least"] <= value <= rule["at_most"]:
            low, high = rule["at_least"], rule["at_most"]
            wanted = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
            raise ConfigError(f"{key}={value} is out of range; it must be {wanted}")
