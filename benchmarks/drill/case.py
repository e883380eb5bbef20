"""What a section of the drill is, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One thing that was done to the system, and what came of it.

    Args:
        name: unlike those of the section's other cases.
        done: what was done.
        expected: what the system should make of it.
        happened: what it made of it: exit code and the line it said, or a number.
        passed: whether that is what was expected.
        numbers: what was measured, for drill.json only.
    """

    name: str
    done: str
    expected: str
    happened: str
    passed: bool
    numbers: dict[str, int | float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What all sections are given.

    Args:
        seed: of everything a section draws at random, by generators of its own.
        kills: how often training is killed.
    """

    seed: int = 0
    kills: int = 50


# Gives its cases one by one, as soon as each is over, so that they are shown and kept whatever happens to the next.
# Everything it writes is below the folder that it is given, which is empty at first and removed afterwards.
Section = Callable[[Path, Settings], Iterator[Case]]
