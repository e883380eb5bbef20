"""The variants of an ablation study: one file each in a folder of conf/ablation/, laid over the settings of the run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .errors import ConfigError
from .launch import conf_folder, explain
from .mistakes import choose
from .schema import GumbelConfig, PriorConfig, TrainConfig, TrainingConfig, check, check_together

Steps = TypeVar("Steps", TrainingConfig, PriorConfig, GumbelConfig)

FULL = "full"  # the settings as they are
SET_BY_THE_STUDY = ("seed", "name", "log_dir", "checkpoint_dir", "ablation")


def variant_files(folder: str) -> dict[str, Path]:
    """The files of conf/ablation/<folder>/, by name.

    Raises:
        ConfigError: there are none.
    """
    place = conf_folder() / "ablation" / folder
    files = {path.stem: path for path in sorted(place.glob("*.yaml"), key=_numbers_first)}
    if not files:
        others = sorted(path.name for path in place.parent.iterdir() if path.is_dir())
        raise ConfigError(f"ablation.folder={folder} has no variants; {choose(folder, others)}")
    return files


def _numbers_first(path: Path) -> tuple[int, str]:
    """2_blocks before 16_blocks; names without a number as they are spelt."""
    number = re.match(r"\d+", path.stem)
    return (int(number[0]) if number else 0, path.stem)


def make_variants(config: TrainConfig) -> dict[str, TrainConfig]:
    """The full model's settings and those of every chosen variant, each at the study's share of the steps.

    Raises:
        ConfigError: a variant that does not exist, changes nothing, or sets what is no setting.
    """
    files = variant_files(config.ablation.folder)
    chosen = list(files) if config.ablation.variants is None else config.ablation.variants
    variants = {FULL: with_budget(config)}
    for name in chosen:
        if name not in files:
            raise ConfigError(f"ablation.variants has {name}, which is unknown; {choose(name, files)}")
        variants[name] = with_budget(_laid_over(config, files[name]))
        if variants[name] == variants[FULL]:
            raise ConfigError(f"{files[name]} changes nothing: the run has these settings already; leave {name} out")
    return variants


def with_budget(config: TrainConfig) -> TrainConfig:
    """A run of the study: `config` with every count of steps times `ablation.budget`, and no study of its own."""
    budget, training = config.ablation.budget, config.training

    def shrunk(settings: Steps, names: Sequence[str]) -> Steps:
        counts = {name: getattr(settings, name) for name in names}
        return replace(settings, **{name: count and max(1, round(budget * count)) for name, count in counts.items()})

    prior = shrunk(training.prior, ("steps", "warmup_steps"))
    gumbel = shrunk(training.gumbel, ("steps",))
    phase = ("steps", "warmup_steps", "half_life", "sketch_steps", "quantize_from", "quantize_by")
    intervals = ("eval_every", "image_every", "checkpoint_every")
    alone = replace(config.ablation, enabled=False, budget=1.0)
    shorter = replace(shrunk(training, phase + intervals), gumbel=gumbel, prior=prior)
    return replace(config, training=shorter, ablation=alone)


def _laid_over(config: TrainConfig, path: Path) -> TrainConfig:
    try:
        merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config), OmegaConf.load(path)))
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {explain(error)}") from error
    assert isinstance(merged, TrainConfig)
    for key in SET_BY_THE_STUDY:
        if getattr(merged, key) != getattr(config, key):
            raise ConfigError(f"{path} sets {key}, which the study sets itself; leave it out")
    if not merged.evaluation.enabled:
        raise ConfigError(f"{path} sets evaluation.enabled=false, which leaves nothing to compare; leave it out")
    try:
        check(merged)
        check_together(merged)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return merged
