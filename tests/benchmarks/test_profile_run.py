"""Every part of a run is timed, once, and nothing stays wrapped."""

from __future__ import annotations

import time

import pytest

from benchmarks.profile_run import AUTOENCODER, PARTS, PRIOR, Stopwatch, profile
from src.training import run

from ..training.tiny import TINY, in_folder


def test_a_part_within_a_part_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0, 9.0, 12.0])  # outer starts, inner starts and ends twice, outer ends
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    stopwatch = Stopwatch()
    inner = stopwatch.timed("scores", lambda: None)
    stopwatch.timed("rendering", lambda: (inner(), inner()))()
    assert stopwatch.seconds["scores"] == 7 and stopwatch.seconds["rendering"] == 5


def test_a_run_is_timed_and_its_functions_are_put_back(tmp_path) -> None:
    before = run.train_prior
    seconds = profile([*TINY, *in_folder(tmp_path)], budget=0.5)
    assert run.train_prior is before
    assert seconds.keys() == {*PARTS, "else"}
    assert all(seconds[part] > 0 for part in (AUTOENCODER, PRIOR, "validation", "pictures", "checkpoints"))
    assert seconds["scores"] == 0  # which TINY leaves out
