"""The learning rate as a function of the step, so that resuming needs no state."""

from __future__ import annotations

import math


def learning_rate_at(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up to `peak`, then half a cosine down to almost 0 at the last step.

    Args:
        step: steps already made, in [0, total_steps).
        peak: the highest rate, reached when the warm-up ends.
        warmup_steps: length of the warm-up; cut to the length of the training.
    """
    warmup_steps = min(warmup_steps, total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def ramp(step: int, start: int, end: int) -> float:
    """0 up to `start`, then in a straight line to 1 at `end`, where it stays."""
    if step >= end:
        return 1.0
    return max(0.0, (step - start) / (end - start))
