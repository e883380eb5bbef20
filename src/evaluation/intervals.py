"""Shares with the numbers behind them."""

from __future__ import annotations

from typing import Any

from scipy.stats import binomtest
from torch import Tensor


def share(hits: Tensor) -> dict[str, Any]:
    """Share of True in a bool tensor: `share`, `count`, `n` and the Wilson 95 % interval `low`..`high`.

    Of nothing (n = 0) everything but the numbers is None.
    """
    count, n = int(hits.sum()), hits.numel()
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
