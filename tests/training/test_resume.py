"""A run that was killed or interrupted ends with the same weights, bit by bit, as one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.configs.errors import Interrupted
from src.configs.launch import Invocation
from src.models.svq_model import SVQ
from src.training import finish, loop
from src.training.checkpoint import BEST, EVALUATION, LAST, load_checkpoint
from src.training.run import train

from .tiny import assert_same_weights, in_folder, tiny_config, weights

ROOT = Path(__file__).parents[2]
# Dropout, revival of dead codes and random initial slots all draw from the generators to restore; the codebooks of the
# second phase are smaller than those that the settings name.
SETTINGS = ("model.slot_init=random", "training.eval_every=2", "training.checkpoint_every=3", "training.merge_to=5")

# Kills itself in the middle of step `at` of the phase with `total` steps; all others were finished.
KILLED = """
import os, signal, sys
from pathlib import Path
from src.configs.launch import Invocation
from src.models.svq_model import SVQ
from src.training import loop
from src.training.run import train
from tests.training.tiny import tiny_config

at, total, *overrides = sys.argv[1:]
backward = loop.clip_gradients

def killing(fabric, phase):
    killing.calls += phase.steps == int(total)
    if killing.calls == int(at):
        # without SIGKILL, on Windows, os.kill ends a process at once for SIGTERM as well
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return backward(fabric, phase)

killing.calls = 0
loop.clip_gradients = killing
train(tiny_config(*overrides), Invocation(Path(overrides[0].removeprefix("log_dir="))))
"""


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Nothing here looks at them, and they take longer than the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "save_pictures", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(tiny_config(*in_folder(folder), *SETTINGS), Invocation(folder / "run"))
    return folder / "checkpoints"


def resume(folder: Path) -> None:
    config = tiny_config(*in_folder(folder), *SETTINGS, "training.resume=auto")
    train(config, Invocation(folder / "resumed"))


def assert_same_run(folder: Path, uninterrupted: Path) -> None:
    for name in (LAST, BEST):
        assert_same_weights(weights(folder / "checkpoints" / name), weights(uninterrupted / name))
    assert SVQ.from_checkpoint(folder / "checkpoints" / BEST).codebook_size == 5
    here, there = (load_checkpoint(path / LAST) for path in (folder / "checkpoints", uninterrupted))
    assert here["metrics"] == there["metrics"]


@pytest.mark.parametrize(
    ("step", "phase_steps", "saved"),
    [
        pytest.param(5, 6, ("autoencoder", 3, " of 6"), id="in the autoencoder", marks=pytest.mark.slow),
        pytest.param(1, 5, ("autoencoder", 6, " of 6, prior is next"), id="between", marks=pytest.mark.slow),
        pytest.param(5, 5, ("prior", 3, " of 5"), id="in the prior", marks=pytest.mark.slow),
    ],
)
def test_killed_run_resumes_to_the_same_weights(tmp_path, uninterrupted, caplog, step, phase_steps, saved):
    caplog.set_level("INFO")
    words = [str(step), str(phase_steps), *in_folder(tmp_path), *SETTINGS]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=ROOT, capture_output=True, timeout=200)
    assert done.returncode == (-9 if os.name == "posix" else signal.SIGTERM), done.stderr.decode()
    state = load_checkpoint(tmp_path / "checkpoints" / LAST)["training_state"]
    phase, done_steps, more = saved
    assert (state.phase, state.step) == (phase, done_steps)
    resume(tmp_path)
    assert f"going on from {tmp_path / 'checkpoints' / LAST}: {phase}, after step {done_steps}{more}" in caplog.messages
    assert_same_run(tmp_path, uninterrupted)


def interrupt_at(monkeypatch, step: int, phase_steps: int, number: int) -> None:
    """Sends the signal while that step is being computed."""
    calls = 0
    original = loop.clip_gradients

    def clip(fabric, phase):
        nonlocal calls
        calls += phase.steps == phase_steps
        if calls == step and phase.steps == phase_steps:
            signal.raise_signal(number)
        return original(fabric, phase)

    monkeypatch.setattr(loop, "clip_gradients", clip)


@pytest.mark.parametrize(
    ("step", "phase_steps", "number", "code"), [(4, 6, signal.SIGINT, 130), (2, 5, signal.SIGTERM, 143)]
)
def test_interrupted_run_finishes_its_step_saves_and_says_how_to_go_on(
    tmp_path, uninterrupted, monkeypatch, step, phase_steps, number, code
):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stopped:
        interrupt_at(patch, step, phase_steps, number)
        call = Invocation(tmp_path / "run", command="python -m src.train seed=0")
        train(tiny_config(*in_folder(tmp_path), *SETTINGS), call)
    assert stopped.value.exit_code == code
    assert f"after step {step} of {phase_steps}" in str(stopped.value)
    assert "python -m src.train seed=0 training.resume=auto" in str(stopped.value)
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert load_checkpoint(tmp_path / "checkpoints" / LAST)["training_state"].step == step
    resume(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


def test_a_run_stops_while_it_computes_codes(tmp_path, uninterrupted, monkeypatch):
    original = SVQ.in_order

    def in_order(model, codes):
        signal.raise_signal(signal.SIGTERM)
        return original(model, codes)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="while computing the codes") as stopped:
        patch.setattr(SVQ, "in_order", in_order)
        train(tiny_config(*in_folder(tmp_path), *SETTINGS), Invocation(tmp_path / "run"))
    assert stopped.value.exit_code == 143
    resume(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


SCORED = ("evaluation.enabled=true", "training.checkpoint_every=100")


@pytest.mark.parametrize(
    ("at", "number", "code", "said"),
    [
        ("evaluate_model", signal.SIGINT, 130, "stopped while the trained model was scored"),
        ("write_json", signal.SIGTERM, 143, "stopped while the trained model was scored"),
        ("save_pictures", signal.SIGTERM, 143, "stopped while pictures were drawn"),
    ],
)
def test_stopped_after_training_a_run_says_what_is_kept_and_then_only_scores(
    tmp_path, monkeypatch, caplog, at, number, code, said
):
    caplog.set_level("INFO")
    monkeypatch.setattr(finish, "evaluate_model", lambda *_, **__: {"arrays": None})
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    best, results = tmp_path / "checkpoints" / BEST, tmp_path / "run" / "results.json"
    results.parent.mkdir()
    results.write_text("of an earlier run")
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stopped:
        patch.setattr(finish, at, lambda *_, **__: signal.raise_signal(number))
        call = Invocation(tmp_path / "run", command="python -m src.train seed=0")
        train(tiny_config(*in_folder(tmp_path), *SCORED), call)
    line = str(stopped.value)
    assert stopped.value.exit_code == code and line.startswith(f"{said}; {best} ") and "\n" not in line
    assert line.endswith("Go on with: python -m src.train seed=0 training.resume=auto")
    scored = results.read_text() != "of an earlier run"
    assert scored == (at == "save_pictures") == (f"{results} are kept" in line)
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))

    monkeypatch.setattr(loop, "clip_gradients", None)  # no step is made
    trained = weights(best)
    train(tiny_config(*in_folder(tmp_path), *SCORED, "training.resume=auto"), Invocation(tmp_path / "again"))
    assert f"going on from {best.with_name(LAST)}: training has ended, scores are next" in caplog.messages
    assert (tmp_path / "again" / "results.json").exists()
    assert_same_weights(weights(best), trained)


def test_a_signal_after_the_last_step_is_not_forgotten(tmp_path, monkeypatch):
    def load_best(session):
        if session.state.phase == EVALUATION:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("src.training.session.Session.load_best", load_best)
    monkeypatch.setattr("src.training.run.finish", None)
    words = ("training.prior.steps=0", "training.merge_to=null")
    with pytest.raises(Interrupted, match="stopped while the trained model was scored") as stopped:
        train(tiny_config(*in_folder(tmp_path), *words), Invocation(tmp_path / "run"))
    assert stopped.value.exit_code == 143


def test_resuming_from_another_folder_brings_its_own_best_model(tmp_path, uninterrupted, monkeypatch, caplog):
    caplog.set_level("INFO")
    for folder in ("a", "b"):  # what is in b is another run
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            interrupt_at(patch, 3, 5, signal.SIGINT)
            train(tiny_config(*in_folder(tmp_path / folder), *SETTINGS), Invocation(tmp_path / "run"))
    there, here = (tmp_path / folder / "checkpoints" for folder in ("a", "b"))
    path = f"training.resume={there / LAST}"
    train(tiny_config(*in_folder(tmp_path / "b"), *SETTINGS, path), Invocation(tmp_path / "run2"))
    assert f"going on from {there / LAST}: prior, after step 3 of 5" in caplog.messages
    replaced = "and replaces the unfinished run there (prior, after step 3)"
    assert f"from here on it is kept in {here}, {replaced}" in caplog.messages
    assert_same_run(tmp_path / "b", uninterrupted)


def test_stopped_before_its_next_checkpoint_a_run_from_another_folder_can_go_on(tmp_path, uninterrupted, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 3, 5, signal.SIGINT)
        train(tiny_config(*in_folder(tmp_path / "a"), *SETTINGS), Invocation(tmp_path / "run"))
    original = SVQ.in_order

    def in_order(model, codes):
        signal.raise_signal(signal.SIGTERM)
        return original(model, codes)

    path = f"training.resume={tmp_path / 'a' / 'checkpoints' / LAST}"
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="training.resume=auto"):
        patch.setattr(SVQ, "in_order", in_order)
        train(tiny_config(*in_folder(tmp_path / "b"), *SETTINGS, path), Invocation(tmp_path / "run2"))
    resume(tmp_path / "b")
    assert_same_run(tmp_path / "b", uninterrupted)


def test_a_finished_run_is_replaced_by_a_new_one(tmp_path, uninterrupted, caplog):
    caplog.set_level("INFO")
    shutil.copytree(uninterrupted, tmp_path / "checkpoints")
    before = (tmp_path / "checkpoints" / LAST).stat().st_mtime_ns
    resume(tmp_path)
    assert (tmp_path / "checkpoints" / LAST).stat().st_mtime_ns > before
    last = tmp_path / "checkpoints" / LAST
    assert f"training.resume=auto finds nothing to go on from: the run of {last} has finished" in caplog.messages
    assert f"starting anew: {tmp_path / 'checkpoints' / BEST} will be replaced" in caplog.text


def test_nothing_to_go_on_from_is_said(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr("src.training.run.run_phases", lambda *_: None)
    monkeypatch.setattr("src.training.run.finish", lambda *_: {})
    resume(tmp_path)
    last = tmp_path / "checkpoints" / LAST
    assert f"training.resume=auto finds nothing to go on from: there is no {last}" in caplog.messages
