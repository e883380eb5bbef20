"""Two processes learn what one learns from the same batches: Gloo on the CPU, through the real training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.training.checkpoint import BEST, LAST, load_checkpoint

from .tiny import assert_same_weights, weights

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEPS = 50
# Random initial slots, scenes that bypass the codes, codebooks larger than the first batch, and codes that die.
SETTINGS = (
    *("precision=float32", "model.slot_init=random", "model.num_iterations=2", "model.codebook_size=32"),
    *(f"training.steps={STEPS}", f"training.prior.steps={STEPS}", "training.batch_size=8", "training.log_every=1"),
    *("training.eval_every=10", "training.image_every=50", "training.checkpoint_every=20"),
    *("training.sketch_steps=10", "training.quantize_from=5", "training.quantize_by=20"),
)


def run(folder: Path, *overrides: str, stop_at: int = 0) -> None:
    words = [str(folder), str(stop_at), *SETTINGS, *overrides]
    line = [sys.executable, "-m", "tests.training.recorded", *words]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr.decode()


def curves(folder: Path) -> dict[str, torch.Tensor]:
    """What TensorBoard shows: tag → values."""
    events = EventAccumulator(str(folder / "run"))
    events.Reload()
    return {tag: torch.tensor([entry.value for entry in events.Scalars(tag)]) for tag in events.Tags()["scalars"]}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=f"{name}: {found[name]}, not {value}")


@pytest.fixture(scope="module")
def by_two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("by_two")
    run(folder, "training.devices=2")
    return folder


@pytest.mark.parametrize("quantize_at", ["last", "every"])
def test_two_processes_learn_what_one_learns(tmp_path, by_two, quantize_at):
    run(tmp_path / "alone", f"model.quantize_at={quantize_at}")
    if quantize_at == "every":
        by_two = tmp_path / "by_two"
        run(by_two, "training.devices=2", "model.quantize_at=every")

    alone, first, second = (
        torch.load(path) for path in (tmp_path / "alone/calls_0.pt", by_two / "calls_0.pt", by_two / "calls_1.pt")
    )
    assert len(alone) == len(first) == len(second) == STEPS * (2 if quantize_at == "every" else 1)
    for one, two, other in zip(alone, first, second, strict=True):
        assert_close(two, one)  # the codes chosen and those revived are integers: equal
        assert_same_weights(two, other)
    assert sum(int(call["revived"].sum()) for call in alone) > 20
    assert alone[0]["num_filled"] == 24  # a batch of 8 scenes with 3 slots fills no codebook of 32

    expected = curves(tmp_path / "alone")
    for tag in ("autoencoder/loss", "autoencoder/recon_loss", "autoencoder/commitment_loss", "prior/loss"):
        assert len(expected[tag]) == STEPS
    assert_close(curves(by_two), expected)


@pytest.mark.parametrize("stop_at", [7, STEPS + 7])
def test_two_interrupted_processes_go_on_as_if_nothing_had_happened(tmp_path, by_two, stop_at):
    """The signal reaches one of them only."""
    run(tmp_path, "training.devices=2", stop_at=stop_at)
    state = load_checkpoint(tmp_path / "checkpoints" / LAST)["training_state"]
    assert (state.phase, state.step) == (("autoencoder", 7) if stop_at < STEPS else ("prior", 7))
    run(tmp_path, "training.devices=2", "training.resume=auto")
    for name in (LAST, BEST):
        assert_same_weights(weights(tmp_path / "checkpoints" / name), weights(by_two / "checkpoints" / name))
