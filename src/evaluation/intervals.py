"""Shares with the numbers behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from torch import Tensor

RESAMPLES = 1000
FEW = 30  # below that a score is a rough guess, and a bootstrap interval is narrower than it should be


def share(hits: Tensor) -> dict[str, Any]:
    """Share of True in a bool tensor: `share`, `count`, `n` and the Wilson 95 % interval `low`..`high`.

    Of nothing (n = 0) everything but the numbers is None.
    """
    return share_of(int(hits.sum()), hits.numel())


def share_of(count: int, n: int) -> dict[str, Any]:
    """`share` of `count` hits among `n`."""
    if n == 0:
        return {"share": None, "count": 0, "n": 0, "low": None, "high": None}
    interval = binomtest(count, n).proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "share": count / n,
        "count": count,
        "n": n,
        "low": float(interval.low),
        "high": float(interval.high),
    }


def mean(values: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """Mean of numbers, one a scene, `n` of them, with the 95 % interval `low`..`high` of 1,000 bootstrap means.

    Of nothing everything but `n` is None; of one number, which says nothing of its spread, so is the interval.
    """
    numbers = np.asarray(values, np.float64)
    count = len(numbers)
    if count < 2:
        return {"mean": float(numbers[0]) if count else None, "low": None, "high": None, "n": count}
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    low, high = np.quantile(numbers[drawn].mean(axis=1), [0.025, 0.975])
    return {"mean": float(numbers.mean()), "low": float(low), "high": float(high), "n": count}


def few(name: str, n: int, what: str) -> list[str]:
    """A line for the notes where the scores called `name` are of fewer than FEW `what`, such as "scenes"."""
    if n >= FEW:
        return []
    return [f"{name}: few {what} ({n}), so the numbers are rough and intervals too narrow; use {FEW} or more"]
