"""The steps of `python -m src.train`, both phases: from the batch to the changed weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from lightning_fabric import Fabric

from src.configs.launch import compose_config
from src.training import autoencoder, prior
from src.training.board import Board
from src.training.build import make_model, make_split
from src.training.checkpoint import AUTOENCODER, PRIOR, TrainingState
from src.training.engine import make_fabric, reproducible
from src.training.loop import Phase, clip_gradients
from src.training.session import Session
from src.utils.precision import resolve_precision

from .measurement import Measurement, measure
from .memory import peak_memory
from .timing import CPU

FEW_IMAGES = ("data.num_train=256", "data.num_val=8")  # a step costs the same for any number of them


@dataclass
class Training:
    """A phase of training at half of its steps, where nothing special to its beginning is left."""

    phase: Phase
    fabric: Fabric
    precision: str
    batch_size: int

    def step(self) -> None:
        """What `run_phase` does for a batch, without logs and checkpoints."""
        self.phase.optimizer.zero_grad(set_to_none=True)
        loss, _ = self.phase.loss(next(self.phase.batches))
        self.fabric.backward(loss)
        clip_gradients(self.fabric, self.phase)
        self.phase.optimizer.step()


def start(name: str, *settings: str, device: torch.device = CPU) -> Training:
    """The phase `name` ("autoencoder" or "prior") of the training command with these settings, ready to make steps."""
    config = compose_config([*FEW_IMAGES, f"device={device}", *settings])
    train_data, val_data = make_split(config.data, "train"), make_split(config.data, "val")
    steps, batch_size = {
        AUTOENCODER: (config.training.steps, config.training.batch_size),
        PRIOR: (config.training.prior.steps, config.training.prior.batch_size),
    }[name]
    phases: list[Phase] = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(
            config=config,
            fabric=make_fabric(config),
            model=make_model(config.model),
            state=TrainingState(step=steps // 2),
            board=Board(Path(folder), enabled=False),
            run_dir=Path(folder),
            checkpoint_dir=Path(folder),
            command="",
        )
        owner, begin = {
            AUTOENCODER: (autoencoder, autoencoder.train_autoencoder),
            PRIOR: (prior, prior.train_prior),
        }[name]
        if name == PRIOR:
            prior.add_prior(session)
            session.model.to(session.fabric.device)  # where the first phase has left it
        with patch.object(owner, "run_phase", lambda phase, _: phases.append(phase)):
            begin(session, train_data, val_data)
    (phase,) = phases
    phase.model.train()
    for group in phase.optimizer.param_groups:
        group["lr"] = phase.learning_rate
    return Training(phase, session.fabric, resolve_precision(config.precision, device.type), batch_size)


def make_steps(name: str, device: str, *settings: str) -> None:
    """Some steps, for their peak memory."""
    training = start(name, *settings, device=torch.device(device))
    with reproducible():
        for _ in range(3):
            training.step()


def measure_step(
    rounds: int,
    device: torch.device,
    name: str,
    settings: tuple[str, ...] = (),
    peer: float | None = None,
    most_rounds: int | None = None,
) -> Measurement:
    """A step of the phase `name`, in the precision that the settings choose.

    Args:
        peer: seconds of such a step elsewhere, on a CPU.
        most_rounds: for a step of many seconds.
    """
    training = start(name, *settings, device=device)
    with reproducible():
        return measure(
            training.step,
            min(rounds, most_rounds or rounds),
            peer=peer if device == CPU else None,
            precision=training.precision,
            images=training.batch_size,
            peak_memory=peak_memory(f"{__name__}:{make_steps.__name__}", name, str(device), *settings),
            device=device,
        )


def step_of(name: str, device: torch.device, settings: tuple[str, ...] = ()) -> tuple[Callable[[], None], int]:
    """A step as a call, to compare with, and its images."""
    training = start(name, *settings, device=device)
    return training.step, training.batch_size
