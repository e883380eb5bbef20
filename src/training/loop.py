"""The one training loop. A phase says what a batch, a loss and a validation are; the loop does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric, seed_everything
from torch import Tensor, nn

from ..configs.errors import CommandError
from ..configs.schema import TrainingConfig
from ..utils.distributed import mean_over_processes
from ..utils.progress import progress_bar
from .checkpoint import restore_rng
from .schedule import learning_rate_at
from .session import Session


@dataclass
class Phase:
    """One phase of training.

    Args:
        seed: of what is drawn while training; the same in all processes, see `utils.distributed`.
        model: the module whose weights are trained, set up by Fabric.
        batches: from the first step on, without end.
        loss: the loss of this process's share of a batch, and its terms as floats, "loss" among them.
        validate: the validation metrics; "loss" is the objective that chooses the best model.
        illustrate: draws pictures into TensorBoard.
        learning_rate: peak of the optimiser's groups, where a group has none of its own under "peak"; a group whose
            "scheduled" is False keeps its peak all along.
        half_life: steps; None: the rate falls as a cosine.
        clip_norm: "l2" or "max".
    """

    name: str
    seed: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[Tensor]
    loss: Callable[[Tensor], tuple[Tensor, dict[str, float]]]
    validate: Callable[[], dict[str, float]]
    illustrate: Callable[[], None]
    steps: int
    learning_rate: float
    warmup_steps: int
    half_life: int | None
    grad_clip: float
    clip_norm: str


def run_phase(phase: Phase, session: Session) -> None:
    """Trains from `session.state.step` to the phase's last step; then `state.best` holds the best weights.

    Raises:
        CommandError: the loss or its gradient is not finite; what was saved before stays as it is.
        Interrupted: a signal asked for it; everything is saved.
    """
    fabric, state, every = session.fabric, session.state, session.config.training
    phase.model.train()
    if fabric.global_rank < len(state.rng):
        restore_rng(state.rng[fabric.global_rank])
    else:
        seed_everything(phase.seed, verbose=False)

    with progress_bar(phase.name, phase.steps, state.step, enabled=fabric.is_global_zero) as bar:
        live: dict[str, float] = {}
        for step, batch in zip(range(state.step, phase.steps), phase.batches, strict=False):
            rate = set_learning_rates(phase, step)

            phase.optimizer.zero_grad(set_to_none=True)
            loss, metrics = phase.loss(batch)
            fabric.backward(loss)
            norm = clip_gradients(fabric, phase)
            _require_finite(phase, session, step + 1, loss=metrics["loss"], gradient_norm=norm)
            phase.optimizer.step()

            state.step = step + 1
            last = state.step == phase.steps
            if state.step % every.log_every == 0 or last:
                metrics = mean_over_processes(metrics, fabric.device)
                live = metrics | {key: value for key, value in live.items() if key == "val_loss"}
                session.board.scalars(phase.name, {**metrics, "learning_rate": rate, "gradient_norm": norm}, state.step)
            if state.step % every.eval_every == 0 or last:
                validation = mean_over_processes(phase.validate(), fabric.device)  # so that they agree on the best
                phase.model.train()
                _require_finite(phase, session, state.step, validation_loss=validation["loss"])
                session.board.scalars(phase.name, {f"val_{k}": v for k, v in validation.items()}, state.step)
                live["val_loss"] = validation["loss"]
                if validation["loss"] < state.best_loss:
                    state.best_loss = validation["loss"]
                    session.save_best({f"{phase.name}_{key}": value for key, value in validation.items()})
            if state.step % every.image_every == 0 or last:
                phase.illustrate()
                phase.model.train()
            bar.set_postfix({key: f"{value:.4g}" for key, value in live.items()}, refresh=False)
            bar.update()

            stop = stop_signal(session)
            if state.step % every.checkpoint_every == 0 or last or stop:
                session.save_last(phase.optimizer)
            if stop:
                raise session.stopped(f"after step {state.step} of {phase.steps} ({phase.name})", stop)


def half_life(settings: TrainingConfig) -> int | None:
    """Steps in which the learning rate halves, where it does."""
    return settings.half_life if settings.schedule == "half_life" else None


def set_learning_rates(phase: Phase, step: int) -> float:
    """Gives every group of the optimiser its rate at that step; returns the first group's."""
    for group in phase.optimizer.param_groups:
        peak = group.get("peak", phase.learning_rate)
        group["lr"] = peak
        if group.get("scheduled", True):
            group["lr"] = learning_rate_at(
                step,
                peak=peak,
                warmup_steps=phase.warmup_steps,
                total_steps=phase.steps,
                half_life=phase.half_life,
            )
    return phase.optimizer.param_groups[0]["lr"]


def clip_gradients(fabric: Fabric, phase: Phase) -> float:
    """Scales the gradient down to the phase's largest norm; returns the norm it had."""
    norm = fabric.clip_gradients(
        phase.model,
        phase.optimizer,
        max_norm=phase.grad_clip,
        norm_type=2 if phase.clip_norm == "l2" else math.inf,
        error_if_nonfinite=False,
    )
    assert norm is not None  # a largest norm was given
    return float(norm)


def _require_finite(phase: Phase, session: Session, step: int, **values: float) -> None:
    """Stops before weights are learned or saved that NaN has got into. The gradient's norm is that of all
    processes, so that they stop together."""
    if all(map(math.isfinite, values.values())):
        return
    found = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())
    last = session.last_path
    kept = f"{last} is from before" if last.exists() else "no checkpoint was written yet"
    raise CommandError(
        f"training stopped at step {step} of {phase.steps} ({phase.name}): {found}; {kept}. "
        f"Try a smaller learning rate than {phase.learning_rate:g}, or precision=float32"
    )


def stop_signal(session: Session) -> int:
    """The signal that some process has received, or 0; all processes agree on it."""
    number = session.stop.number or 0
    if session.fabric.world_size > 1:
        total = session.fabric.all_reduce(torch.tensor(number), reduce_op="max")
        assert isinstance(total, torch.Tensor)
        number = int(total)
    return number
