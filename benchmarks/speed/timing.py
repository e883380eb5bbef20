"""Times that can be compared on a machine that others use too: everything in turn, and ratios within a round."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Call = Callable[[], object]

CPU = torch.device("cpu")


def interleave(
    calls: Mapping[str, Call], rounds: int, at_least: float = 0.05, device: torch.device = CPU
) -> dict[str, list[float]]:
    """Seconds of one call of each function, a list over the rounds.

    In every round each function runs once, in an order that turns from round to round; a function that returns sooner
    than `at_least` seconds is called several times in a row. Before the first round each runs twice, unmeasured.
    A clock is read when `device` has done all that it was given.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, math.ceil(at_least / _seconds(call, 1, device)))
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(_seconds(calls[name], repeats[name], device))
    return seconds


def _seconds(call: Call, repeats: int, device: torch.device) -> float:
    start = _now(device)
    for _ in range(repeats):
        call()
    return (_now(device) - start) / repeats


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """`slow` / `fast`, round by round."""
    return Spread.of([a / b for a, b in zip(slow, fast, strict=True)])


def count_flop(call: Call) -> int:
    """Floating-point operations of the matrix products and convolutions in one call, backward passes included."""
    with _FlopCounter() as counter:
        call()
    return counter.flop


class _FlopCounter(TorchDispatchMode):
    """Adds up PyTorch's own formulas. Its `FlopCounterMode` also follows modules, which fails where only part of a
    forward pass wants gradients."""

    flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=out)
        return out
