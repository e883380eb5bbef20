"""Differences between two settings trained with the same seeds: mean, interval, effect size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 10_000
SEEDS_FOR_P = 6  # fewer pairs cannot reach p < 0.05, whatever they are


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    """How far `values` lie from `baseline`, pair by pair.

    Args:
        values, baseline: one number a seed, the same seeds in the same order.

    Returns:
        `n`; `mean` and `std` (n - 1) of the differences; `low`..`high`, the 95 % percentile bootstrap interval of
        their mean (Efron & Tibshirani 1993; the same resamples every time); `effect`, their mean over their std
        (Cohen's d of paired samples); `p` of Wilcoxon's signed-rank test, two-sided, from six pairs on. None is what
        the pairs cannot tell: all but n and mean with a single one, the effect where all differences are the same.

    Raises:
        ValueError: no pairs, or numbers that do not pair up.
    """
    if len(values) != len(baseline) or len(values) == 0:
        raise ValueError(f"got {len(values)} values and a baseline of {len(baseline)}; give at least one pair of each")
    differences = np.asarray(values, dtype=float) - np.asarray(baseline, dtype=float)
    count, mean = len(differences), float(differences.mean())
    if count == 1:
        return {"n": 1, "mean": mean, **dict.fromkeys(("std", "low", "high", "effect", "p"))}
    std = float(differences.std(ddof=1))
    means = np.random.default_rng(0).choice(differences, (RESAMPLES, count)).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    p = None
    if count >= SEEDS_FOR_P:
        tested: Any = stats.wilcoxon(differences) if differences.any() else None  # SciPy's annotation knows no pvalue
        p = float(tested.pvalue) if tested else 1.0
    return {
        "n": count,
        "mean": mean,
        "std": std,
        "low": float(low),
        "high": float(high),
        "effect": mean / std if std > 1e-12 else None,
        "p": p,
    }
