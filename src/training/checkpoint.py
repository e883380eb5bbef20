"""The two files of a run: best_model.pth to use, last.pth to go on from. `CodeModel.from_checkpoint` opens both."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configs.errors import CommandError, ConfigError, as_config_error
from ..models.code_model import CodeModel
from ..utils.checkpoint_io import FORMAT, VERSION, atomic_save, safe_load
from ..utils.pretrained import BEST as BEST  # beside LAST, for those who look for both here
from .results import commit

LAST = "last.pth"

# The phases of a run, in order. A run whose last.pth says FINISHED has nothing left to do.
AUTOENCODER, PRIOR, EVALUATION, FINISHED = "autoencoder", "prior", "evaluation", "finished"

# Settings that may differ when a run goes on: they change what is shown, or where and how it is computed (which rounds
# differently, and another device draws other numbers), not what is to be learned.
FREE = (
    *("name", "log_dir", "checkpoint_dir", "objective", "device", "evaluation", "visualization", "ablation"),
    *("data.num_test", "data.num_workers", "data.cache_dir", "training.resume"),
    *("training.log_every", "training.image_every", "training.checkpoint_every"),
)
MOST_SHOWN = 4  # settings that differ, in one line


@dataclass
class TrainingState:
    """All that a run needs to go on as if it had not been interrupted, besides the model itself."""

    phase: str = AUTOENCODER
    step: int = 0  # steps made in this phase
    best_loss: float = float("inf")  # smallest validation loss of this phase
    best: dict[str, Any] = field(default_factory=dict)  # the content of best_model.pth
    optimizer: dict[str, Any] = field(default_factory=dict)
    rng: list[dict[str, Any]] = field(default_factory=list)  # one for each process
    seconds: float = 0.0  # spent so far

    def start_phase(self, phase: str) -> None:
        """Moves on to the first step of `phase`."""
        self.phase, self.step, self.best_loss, self.optimizer, self.rng = phase, 0, float("inf"), {}, []


def save_checkpoint(
    path: str | Path,
    model: CodeModel,
    *,
    step: int,
    metrics: Mapping[str, float],
    config: Mapping[str, Any],
    state: TrainingState | None = None,
) -> dict[str, Any]:
    """Writes a checkpoint, whole or not at all, and returns its content (tensors on the CPU).

    Args:
        step: training steps behind these weights, of the phase that made them.
        metrics: validation metrics of these weights.
        config: the settings of the run, plain containers.
        state: what is needed to go on; without it the file is one to use only.

    Raises:
        CommandError: NaN or infinity in the weights; nothing would open them.
        OSError: the file cannot be written. Either way what was at `path` stays as it is.
    """
    weights = cpu_copy(model.state_dict())
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise CommandError(f"step {step}: NaN or infinity in {broken[0]}; {path} is left as it was before")
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "model_config": model.config,
        "model_state_dict": weights,
        "step": step,
        "metrics": dict(metrics),
        "config": dict(config),
        "commit": _own_commit(),
    }
    if state is not None:
        content["training_state"] = {entry.name: getattr(state, entry.name) for entry in fields(state)}
    atomic_save(content, path)
    return content


@functools.cache
def _own_commit() -> str | None:
    """Of the code of this process, which files that change meanwhile do not change."""
    return commit()


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a last.pth, its `training_state` as a `TrainingState`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is no checkpoint, or one that cannot be resumed.
    """
    content = safe_load(path)
    saved = content.get("training_state")
    if saved is None:
        raise ValueError(f"checkpoint {path} holds a model but no training state; resume from a {LAST}")
    for name in ("config", "model_state_dict"):
        if not isinstance(content.get(name), dict):
            raise ValueError(f"checkpoint {path} is damaged: its {name} is {type(content.get(name)).__name__}")
    try:
        content["training_state"] = TrainingState(**saved)
    except TypeError as error:
        raise ValueError(f"checkpoint {path} was written by another version of the code: {error}") from error
    return content


def find_resume(resume: str | None, checkpoint_dir: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of the checkpoint to go on from, and its "path"; None to start anew.

    Args:
        resume: None, "auto" (the unfinished run in `checkpoint_dir`, if there is one) or a path.
        config: the settings of this run, plain containers.

    Raises:
        ConfigError: the file is missing or broken, its run has finished or had other settings. Those of a prior that
            was not begun yet may be others.
    """
    if resume is None:
        return None
    auto = resume == "auto"
    path = checkpoint_dir / LAST if auto else Path(resume)
    if auto and not path.exists():
        return None
    if not resume.strip() or not path.exists():
        wrong = "does not exist" if resume.strip() else "names no file"
        raise ConfigError(
            f"training.resume={resume} {wrong}; give the file to go on from, such as {checkpoint_dir / LAST}, or auto, "
            "which goes on with that one if its run did not end"
        )
    if path.is_dir():
        raise ConfigError(f"training.resume={path} is a folder; give the file to go on from, such as {path / LAST}")
    with as_config_error():
        content = load_checkpoint(path)
    if content["training_state"].phase == FINISHED:
        if auto:
            return None
        raise ConfigError(
            f"the run of {path} has finished; nothing is left to resume: leave training.resume out to start anew"
        )
    begun = content["training_state"].phase != AUTOENCODER
    differing = differences(content["config"], config, FREE if begun else (*FREE, "training.prior"))
    if differing:
        # model.image_size follows data.image_size, which is the one to set
        keys = [key for key in differing if key != "model.image_size" or "data.image_size" not in differing]
        then, now = (
            ", ".join(f"{key}={_shown(differing[key][which])}" for key in keys[:MOST_SHOWN]) for which in (0, 1)
        )
        more = f" (and {len(keys) - MOST_SHOWN} more)" if len(keys) > MOST_SHOWN else ""
        raise ConfigError(
            f"{path} was trained with {then} but this run has {now}{more}: "
            "use the same settings to go on, or leave training.resume out to start anew"
        )
    return {**content, "path": path}


def unfinished(checkpoint_dir: Path) -> TrainingState | None:
    """The state of the unfinished run in that folder, if there is one that can be read."""
    try:
        state: TrainingState = load_checkpoint(checkpoint_dir / LAST)["training_state"]
    except (OSError, ValueError):
        return None
    return None if state.phase == FINISHED else state


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str] = FREE
) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, but for those that are `free` to: dotted key → (then, now)."""
    before, after = _flat(then), _flat(now)
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not f"{key}.".startswith(tuple(f"{name}." for name in free))
    }


def cpu_copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that training cannot change any more, on the CPU."""
    return {key: _contiguous(value) for key, value in weights.items()}


def _contiguous(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def rng_state() -> dict[str, Any]:
    """The state of every generator that training draws from: those of PyTorch, in plain containers."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def restore_rng(state: Mapping[str, Any]) -> None:
    """Puts the generators back to where `rng_state` found them."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown(value: Any) -> str:
    """As one would give it on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
