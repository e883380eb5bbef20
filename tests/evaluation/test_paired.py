"""Differences of paired seeds against formulas written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from src.evaluation.paired import paired_difference


def test_three_pairs() -> None:
    found = paired_difference([0.9, 0.7, 0.8], [0.5, 0.5, 0.5])
    assert found["n"] == 3 and found["mean"] == pytest.approx(0.3) and found["std"] == pytest.approx(0.1)
    assert found["effect"] == pytest.approx(3.0)
    assert found["p"] is None  # three pairs cannot tell
    # All 27 resamples of three: the lowest mean (0.2) has probability 1/27 > 2.5 %.
    assert found["low"] == pytest.approx(0.2) and found["high"] == pytest.approx(0.4)
    assert paired_difference([0.9, 0.7, 0.8], [0.5, 0.5, 0.5]) == found  # the same resamples


def test_many_pairs_agree_with_the_normal_interval_and_scipy() -> None:
    generator = np.random.default_rng(1)
    baseline = generator.normal(size=200)
    values = baseline + 0.3 + generator.normal(size=200)
    found = paired_difference(list(values), list(baseline))
    half = 1.96 * found["std"] / math.sqrt(200)
    assert found["low"] == pytest.approx(found["mean"] - half, abs=0.02)
    assert found["high"] == pytest.approx(found["mean"] + half, abs=0.02)
    assert found["p"] == pytest.approx(stats.wilcoxon(values, baseline).pvalue)


def test_pairs_matter() -> None:
    """The same numbers, paired otherwise, have the same mean and another spread."""
    together = paired_difference([1.1, 2.1, 3.2], [1.0, 2.0, 3.0])
    crossed = paired_difference([3.2, 2.1, 1.1], [1.0, 2.0, 3.0])
    assert together["mean"] == pytest.approx(crossed["mean"]) and together["std"] < 0.1 < 1 < crossed["std"]


def test_what_the_pairs_cannot_tell_is_none() -> None:
    one = paired_difference([2.0], [1.5])
    assert one == {"n": 1, "mean": 0.5, "std": None, "low": None, "high": None, "effect": None, "p": None}
    same = paired_difference([1.0] * 6, [1.0] * 6)
    assert same["effect"] is None and same["p"] == 1.0 and same["low"] == same["high"] == 0.0


def test_wrong_pairs() -> None:
    with pytest.raises(ValueError, match="got 0 values and a baseline of 0; give at least one pair"):
        paired_difference([], [])
    with pytest.raises(ValueError, match="got 2 values and a baseline of 1"):
        paired_difference([1.0, 2.0], [1.0])
