"""What both phases of a run share: settings, engine, model, state, and where things are written."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from ..configs.errors import Interrupted
from ..configs.launch import plain
from ..configs.schema import TrainConfig
from ..models.code_model import CodeModel
from ..utils.checkpoint_io import atomic_save
from ..utils.whole_files import draft_of, is_same_file
from .board import Board
from .checkpoint import BEST, LAST, TrainingState, rng_state, save_checkpoint
from .stop import StopRequest

LOG = logging.getLogger("svq")


@dataclass
class Session:
    """One run of `python -m src.train`, from its start or from where an earlier process left it."""

    config: TrainConfig
    fabric: Fabric
    model: CodeModel
    state: TrainingState
    board: Board
    run_dir: Path  # TensorBoard events, results.json, pictures
    checkpoint_dir: Path  # best_model.pth and last.pth
    command: str  # that started it, to be shown when it stops
    stop: StopRequest = field(default_factory=StopRequest)
    started: float = field(default_factory=time.perf_counter)
    scored: bool = False  # results.json is this run's; one of an earlier run may lie there

    def __post_init__(self) -> None:
        self.settings: dict[str, Any] = plain(self.config)
        self.seconds_before = self.state.seconds

    @property
    def best_path(self) -> Path:
        return self.checkpoint_dir / BEST

    @property
    def last_path(self) -> Path:
        return self.checkpoint_dir / LAST

    @property
    def results_path(self) -> Path:
        return self.run_dir / "results.json"

    @property
    def seconds(self) -> float:
        """Time spent on this run, that of interrupted processes included."""
        return self.seconds_before + time.perf_counter() - self.started

    def save_last(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Writes last.pth. All processes call it, because each has random numbers of its own."""
        self.state.optimizer = {} if optimizer is None else _on_cpu(optimizer.state_dict())
        self.state.rng = self._gather(rng_state())
        self.state.seconds = self.seconds
        if self.fabric.is_global_zero:
            save_checkpoint(
                self.last_path,
                self.model,
                step=self.state.step,
                metrics=self.state.best.get("metrics", {}),
                config=self.settings,
                state=self.state,
            )

    def save_best(self, metrics: Mapping[str, float]) -> None:
        """Writes the present weights as best_model.pth and remembers them; metrics of phase one stay."""
        metrics = {**self.state.best.get("metrics", {}), **metrics}
        if self.fabric.is_global_zero:
            self.state.best = save_checkpoint(
                self.best_path, self.model, step=self.state.step, metrics=metrics, config=self.settings
            )
        self.state.best = self.fabric.broadcast(self.state.best)

    def restore_files(self, resumed: Path) -> None:
        """Makes best_model.pth and last.pth those of the run that goes on from the file `resumed`, so that
        training.resume=auto is right from here on: the former may be another run's, or one step ahead, the latter
        another run's, or not there, where `resumed` lies elsewhere."""
        if not self.fabric.is_global_zero:
            return
        if self.state.best:
            atomic_save(self.state.best, self.best_path)
        if not is_same_file(resumed, self.last_path):
            with draft_of(self.last_path) as draft:
                shutil.copyfile(resumed, draft)

    def load_best(self) -> None:
        """Puts the best weights so far into the model."""
        self.model.load_state_dict(self.state.best["model_state_dict"])

    def stopped(self, when: str, number: int, kept: str = "everything is saved") -> Interrupted:
        """What ends a run that signal `number` stopped, after everything was saved; the first process alone says so."""
        said = f"stopped {when}; {kept}. Go on with: {self.command} training.resume=auto"
        return Interrupted(said if self.fabric.is_global_zero else "", number)

    def say(self, line: str) -> None:
        """One line to the user, from the first process only."""
        if self.fabric.is_global_zero:
            LOG.info(line)

    def _gather(self, value: Any) -> list[Any]:
        if self.fabric.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.fabric.world_size
        dist.all_gather_object(values, value)
        return values


def _on_cpu(value: Any) -> Any:
    """The same nested containers with tensors copied to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(item) for item in value)
    return value
