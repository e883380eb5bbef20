"""Several settings, each trained with the same seeds: mean ± std of their scores, and how far they lie from the first.

Of one measure, `Values` holds: name of the setting → one number a seed, None where a run has no such score.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from .paired import SEEDS_FOR_P, paired_difference

Values = dict[str, list[float | None]]


@dataclass(frozen=True)
class Measure:
    """A number that tables show: its heading, where the scores have it, and in which unit it is shown."""

    label: str
    path: tuple[str, ...]
    factor: float = 1.0
    digits: int = 3
    higher_is_better: bool | None = True  # None: neither

    @property
    def heading(self) -> str:
        """The label, and which way is better."""
        words = {True: " (higher is better)", False: " (lower is better)", None: ""}
        return self.label + words[self.higher_is_better]

    @property
    def limits(self) -> tuple[float, float]:
        """Between what it lies: a share between none and all, R² up to 1, an error (had better be small) from 0."""
        if self.label.endswith("%"):
            return 0.0, self.factor
        if self.label.endswith("R²"):
            return -inf, 1.0
        return (0.0 if self.higher_is_better is False else -inf), inf

    def of(self, value: float | None) -> float | None:
        """A number of the scores in the unit that is shown."""
        return None if value is None else value * self.factor

    def shown(self, value: float | None, sign: str = "") -> str:
        """A number in the unit that is shown, as text; `sign="+"` for differences."""
        return "–" if value is None else f"{value:{sign}.{self.digits}f}"


def compare(values: Sequence[float | None], baseline: Sequence[float | None]) -> dict[str, Any]:
    """Mean and std over seeds, and the paired difference from the baseline over the seeds that both have."""
    known = [value for value in values if value is not None]
    both = zip(values, baseline, strict=True)
    pairs = [(value, base) for value, base in both if value is not None and base is not None]
    return {
        "mean": statistics.mean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "difference": paired_difference([value for value, _ in pairs], [base for _, base in pairs]) if pairs else None,
    }


def as_csv(values: Mapping[str, Values], compared: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a setting and measure: its mean, std, difference from the first, and the number of each seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = ("n", "mean", "std", "low", "high", "effect", "p")
    writer.writerow(["variant", "measure", "mean", "std", *(f"difference_{name}" for name in fields), "each_seed"])
    for label, of_measure in values.items():
        for name, each in of_measure.items():
            row = compared[label][name]
            difference = row["difference"] or {}
            numbers = [row["mean"], row["std"], *(difference.get(field) for field in fields)]
            shown = " ".join("" if value is None else f"{value:.6g}" for value in each)
            writer.writerow([name, label, *("" if number is None else f"{number:.6g}" for number in numbers), shown])
    return text.getvalue()


def as_markdown(
    values: Mapping[str, Values], compared: Mapping[str, Mapping[str, Any]], measures: Sequence[Measure], seeds: int
) -> str:
    """Two tables: the scores, and what differs from the first setting."""
    first, *others = next(iter(values.values()))
    rows = [measure for measure in measures if measure.label in values]
    scores = [[row.label, *(mean_and_std(row, compared[row.label][name]) for name in (first, *others))] for row in rows]
    differences = [[row.label, *(difference(row, compared[row.label][name]) for name in others)] for row in rows]
    of_what = f"Mean ± standard deviation of {seeds} seeds" if seeds > 1 else "One seed"
    lines = [
        *_table(["", first, *others], scores),
        "",
        f"{of_what}. Differences from the {first} model:",
        "",
        *_table(["", *others], differences),
        *(["", f"{HOW_TO_READ}."] if seeds > 1 else []),
    ]
    return "\n".join(lines) + "\n"


HOW_TO_READ = (
    "Mean of the differences within a seed, [95 % bootstrap interval], d: the mean over the standard deviation of "
    f"the differences; p (Wilcoxon) from {SEEDS_FOR_P} seeds on"
)


def mean_and_std(measure: Measure, row: Mapping[str, Any]) -> str:
    """What `compare` found of one setting, as text."""
    spread = "" if row["std"] is None else f" ± {measure.shown(row['std'])}"
    return measure.shown(row["mean"]) + spread


def difference(measure: Measure, row: Mapping[str, Any]) -> str:
    """The paired difference that `compare` found, as text."""
    found = row["difference"]
    if found is None:
        return "–"
    text = measure.shown(found["mean"], "+")
    if found["low"] is not None:
        text += f" [{measure.shown(found['low'], '+')}, {measure.shown(found['high'], '+')}]"
    if found["effect"] is not None:
        text += f", d = {found['effect']:+.1f}"
    return text if found["p"] is None else f"{text}, p = {found['p']:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
