"""The learning rate as a function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "half_life")


def learning_rate_at(
    step: int, *, peak: float, warmup_steps: int, total_steps: int, half_life: int | None = None
) -> float:
    """Linear warm-up to `peak`, then half a cosine down to almost 0 at the last step, or an exponential decay.

    Args:
        step: steps already made, in [0, total_steps).
        peak: the highest rate, reached when the warm-up ends (with a half-life it is not quite).
        warmup_steps: length of the warm-up; cut to the length of the training.
        half_life: steps in which the rate halves, those of the warm-up included (the official code); None: a cosine.
    """
    if half_life is not None:
        return peak * min(1.0, (step + 1) / max(1, warmup_steps)) * 0.5 ** (step / half_life)
    warmup_steps = min(warmup_steps, total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def gumbel_temperature_at(step: int, *, start: float, end: float, steps: int) -> float:
    """Half a cosine from `start` to `end` over the first `steps` steps, then `end` (the official code's)."""
    if step >= steps:
        return end
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * step / steps))


def ramp(step: int, start: int, end: int) -> float:
    """0 up to `start`, then in a straight line to 1 at `end`, where it stays."""
    if step >= end:
        return 1.0
    return max(0.0, (step - start) / (end - start)) if start < end else 0.0
