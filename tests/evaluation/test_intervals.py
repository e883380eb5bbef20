"""Shares against Wilson's formula, bootstrap intervals against the normal one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from src.evaluation.intervals import FEW, few, mean, share, share_of


def test_a_share_has_wilsons_interval() -> None:
    found = share(torch.tensor([True] * 8 + [False] * 2))
    z, p, n = 1.959964, 0.8, 10
    centre, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z * (p * (1 - p) / n + (z / 2 / n) ** 2) ** 0.5 / (1 + z * z / n),
    )
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half), abs=1e-5)
    assert found == share_of(8, 10) and found["share"] == 0.8
    assert share_of(0, 0) == {"share": None, "count": 0, "n": 0, "low": None, "high": None}


def test_the_bootstrap_finds_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 4000)
    found = mean(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found["n"] == 4000 and found["mean"] == pytest.approx(values.mean())
    assert found["low"] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found["high"] == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert mean(values) == found and mean(values, seed=1) != found


def test_one_number_has_no_interval_and_none_has_no_mean() -> None:
    assert mean([0.5]) == {"mean": 0.5, "low": None, "high": None, "n": 1}
    assert mean([0.5, 0.5]) == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 2}
    assert mean([]) == {"mean": None, "low": None, "high": None, "n": 0}


def test_few_samples_are_said() -> None:
    assert few("edits", FEW, "scenes") == []
    (line,) = few("edits", FEW - 1, "scenes")
    assert line.startswith("edits: few scenes (29), so") and "30 or more" in line
