"""How much a long training grows: its resident memory as the system counts it, seen from outside.

Both phases, with everything that happens now and then (validation, checkpoints, curves and pictures in TensorBoard)
happening many times between the two steps that are compared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from src.training.checkpoint import AUTOENCODER, PRIOR

from .case import Case, Settings
from .processes import Running
from .tiny import TINY, last_step, places, write_steps

FIRST, LAST = 1000, 10_000  # steps that are compared
MOST = 20.0  # MB
OFTEN = ("training.eval_every=500", "training.checkpoint_every=500", "training.image_every=500")  # all before FIRST too
POLL = 0.02  # seconds


def memory(work: Path, settings: Settings) -> Iterator[Case]:
    """A case for each phase."""
    yield from growth(work, FIRST, LAST, OFTEN)


def growth(work: Path, first: int, last: int, often: tuple[str, ...]) -> Iterator[Case]:
    """Trains each phase for a little more than `last` steps and compares the memory at `first` and at `last`."""
    steps = last + max(10, last // 100)
    words = [*TINY, *often, f"training.steps={steps}", f"training.prior.steps={steps}", *places(work)]
    written = work / "steps.txt"
    running = Running("src.train", words, work / "output", first=write_steps, arguments=(written,))
    seen: dict[tuple[str, int], float] = {}  # phase, step → MB
    while running.alive:
        time.sleep(POLL)
        begun, resident = last_step(written), megabytes(running.pid)
        if begun is not None and resident is not None:
            seen[begun.phase, begun.step] = resident
    ended = running.wait()
    for phase in (AUTOENCODER, PRIOR):
        there = {step: resident for (name, step), resident in seen.items() if name == phase}
        marks = [next((there[step] for step in sorted(there) if step >= mark), None) for mark in (first, last)]
        start, end = marks
        grown = None if start is None or end is None else end - start
        wrong = "" if ended.code == 0 else f"; {ended}"
        yield Case(
            phase,
            f"resident memory of a training process at step {first:,} and at step {last:,} of the {phase}",
            f"at most {MOST:g} MB more",
            "not seen" if grown is None else f"{start:.1f} MB, then {end:.1f} MB: {grown:+.1f} MB{wrong}",
            passed=grown is not None and grown <= MOST and not wrong,
            numbers={
                "first_mb": start,
                "last_mb": end,
                "grown_mb": grown,
                "most_mb": max(there.values(), default=None),
            },
        )


def megabytes(pid: int) -> float | None:
    """Resident memory of a process; None if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
