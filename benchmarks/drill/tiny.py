"""The smallest training that still does everything: a few seconds of both phases, and its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from src.training import loop
from src.training.checkpoint import BEST, LAST

STEPS = 24  # of each phase
TINY = (
    *("data.image_size=16", "data.max_shapes=3", "data.num_train=24", "data.num_val=8", "data.num_test=8"),
    *("model.num_slots=3", "model.num_iterations=1", "model.slot_size=8", "model.hidden_dim=8"),
    *("model.num_codebooks=2", "model.codebook_size=8", "model.code_dim=4"),
    *("model.feature_dim=8", "model.slot_mlp_dim=16"),
    *(f"training.steps={STEPS}", "training.batch_size=4", "training.warmup_steps=2", "training.log_every=2"),
    *("training.sketch_steps=8", "training.quantize_from=4", "training.quantize_by=12", "training.merge_to=6"),
    *("training.eval_every=6", "training.image_every=1000000", "training.checkpoint_every=4"),
    *(f"training.prior.steps={STEPS}", "training.prior.batch_size=8", "training.prior.warmup_steps=2"),
    *("training.prior.embed_dim=8", "training.prior.num_heads=2", "training.prior.num_layers=1"),
    *("visualization.num_images=1", "visualization.num_samples=1", "visualization.dpi=20"),
    *("evaluation.enabled=false", "device=cpu", "precision=float32", "hydra.output_subdir=null"),
)
# Random initial slots and dropout draw from the generators that a checkpoint has to bring back.
RANDOM = ("model.slot_init=random", "training.prior.dropout=0.1")


def places(folder: Path) -> list[str]:
    """Settings that keep everything a run writes below `folder`."""
    return [f"hydra.run.dir={folder / 'run'}", f"checkpoint_dir={folder / 'checkpoints'}"]


def pictures(folder: Path, count: int = 36) -> Path:
    """`count` pictures of coloured rectangles in a new folder, always the same."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = np.zeros((16, 16, 3), np.uint8)
        for _ in range(3):
            y, x = rng.integers(0, 11, 2)
            pixels[y : y + 5, x : x + 5] = rng.integers(60, 256, 3)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def of_pictures(folder: Path, cache: Path) -> list[str]:
    """Settings that train on the pictures of that folder instead of drawn scenes."""
    counts = ("data.num_train=24", "data.num_val=5", "data.num_test=5")
    return ["data=folder", f"data.path={folder}", f"data.cache_dir={cache}", *counts]


@dataclass(frozen=True)
class Begun:
    """A step of training (counted from 0) and the moment, of `time.monotonic`, at which it began."""

    phase: str
    step: int
    moment: float


def write_steps(path: Path) -> None:
    """In a child: from now on each step of training leaves a line in that file when it begins."""
    begin = loop.set_learning_rates

    def telling(phase: loop.Phase, step: int) -> float:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{phase.name} {step} {time.monotonic()}\n")
        return begin(phase, step)

    loop.set_learning_rates = telling


def steps_of(path: Path) -> list[Begun]:
    """The whole lines that `write_steps` wrote so far."""
    if not path.exists():
        return []
    return _parsed(path.read_bytes())


def last_step(path: Path) -> Begun | None:
    """The last of them, of a file that may have grown long."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 500))
        begun = _parsed(b"\n" + file.read().partition(b"\n")[2] if file.tell() else file.read())
    return begun[-1] if begun else None


def _parsed(text: bytes) -> list[Begun]:
    lines = text.decode().split("\n")[:-1]
    return [Begun(phase, int(step), float(moment)) for phase, step, moment in map(str.split, filter(None, lines))]


def at_step(phase: str, step: int, act: Callable[[loop.Phase], None]) -> None:
    """In a child: `act` is called when the gradient of that step (counted from 1) of that phase is there."""
    clip, made = loop.clip_gradients, 0

    def acting(fabric: Any, running: loop.Phase) -> float:
        nonlocal made
        made += running.name == phase
        if running.name == phase and made == step:
            act(running)
        return clip(fabric, running)

    loop.clip_gradients = acting


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Those of best_model.pth or last.pth of the run in `folder`, and the validation metrics behind them."""
    content = torch.load(folder / "checkpoints" / name, weights_only=True)
    metrics = {f"metric {key}": torch.tensor(value) for key, value in content["metrics"].items()}
    return {**content["model_state_dict"], **metrics}


def furthest(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> float:
    """The largest difference between two sets of weights; 0: the same bits. infinity: other names or shapes."""
    if found.keys() != expected.keys() or any(found[name].shape != expected[name].shape for name in expected):
        return float("inf")
    return max(
        0.0 if torch.equal(found[name], value) else (found[name].double() - value.double()).abs().max().item()
        for name, value in expected.items()
    )


def both_files(folder: Path) -> dict[str, torch.Tensor]:
    """The weights and metrics of both files of a run."""
    return {f"{name} {key}": value for name in (BEST, LAST) for key, value in weights(folder, name).items()}
