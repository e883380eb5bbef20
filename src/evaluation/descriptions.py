"""Scenes as multisets of their objects: how many are new, how many differ, and what they show how often.

Legend: B scenes, S objects a scene can hold; a cell is one of CELLS x CELLS equal parts of the image.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .attribute_network import Reading

CELLS = 4  # along each side
PERMUTATIONS = 9999
Description = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Objects:
    """The objects of B scenes: present (B, S) bool; shape, colour, column, row (B, S) int64, meaningless where absent.

    Columns count from the left and rows from the top, 0 to CELLS - 1.
    """

    present: Tensor
    shape: Tensor
    colour: Tensor
    column: Tensor
    row: Tensor

    @classmethod
    def of_factors(cls, factors: Mapping[str, Tensor]) -> Objects:
        """Those that a data set has drawn."""
        names = ("present", "shape", "colour")
        return cls(*(factors[name] for name in names), column=_cell(factors["x"]), row=_cell(factors["y"]))

    @classmethod
    def of_reading(cls, reading: Reading) -> Objects:
        """Those that the attribute network found."""
        return cls(reading.found, reading.shape, reading.colour, column=_cell(reading.x), row=_cell(reading.y))

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, scenes: Tensor | slice) -> Objects:
        return Objects(**{name: value[scenes] for name, value in vars(self).items()})

    def placed(self) -> list[Description]:
        """Of each scene the sorted (shape, colour, row, column) of its objects."""
        return self._described("shape", "colour", "row", "column")

    def unplaced(self) -> list[Description]:
        """Of each scene the sorted (shape, colour) of its objects."""
        return self._described("shape", "colour")

    def values(self, name: str) -> NDArray[np.int64]:
        """All objects' "shape", "colour", "column" or "row", scene by scene."""
        return getattr(self, name)[self.present].numpy()

    def _described(self, *names: str) -> list[Description]:
        labels = torch.stack([getattr(self, name) for name in names], dim=-1).tolist()
        pairs = zip(labels, self.present.tolist(), strict=True)
        return [
            tuple(sorted(tuple(one) for one, is_there in zip(scene, there, strict=True) if is_there))
            for scene, there in pairs
        ]


def distinct(descriptions: Collection[Description]) -> dict[str, Any]:
    """How many of the scenes' descriptions differ: `share`, `count`, `n`; a share of 1 is without any repeat."""
    return _part(len(set(descriptions)), len(descriptions))


def coverage(objects: Objects, data: Objects) -> dict[str, dict[str, Any]]:
    """How much of what the objects of `data` are is found among `objects`: of the `pairs` of shape and colour, of the
    single values of `shape` and `colour`, and of the `cell`s; each `share`, `count`, `n`."""
    kinds = {"pairs": ("shape", "colour"), "shape": ("shape",), "colour": ("colour",), "cell": ("row", "column")}
    scores = {}
    for name, factors in kinds.items():
        found, known = (
            set(zip(*(some.values(factor).tolist() for factor in factors), strict=True)) for some in (objects, data)
        )
        scores[name] = _part(len(found & known), len(known))
    return scores


def frequencies(values: NDArray[np.int64], classes: int) -> list[float]:
    """The share of each class 0..classes - 1 among the values, of which there is at least one."""
    return (np.bincount(values, minlength=classes) / len(values)).tolist()


def total_variation(first: Sequence[float], second: Sequence[float]) -> float:
    """Half of the summed differences of two distributions: 0, the same, to 1, nothing in common."""
    return float(np.abs(np.subtract(first, second)).sum() / 2)


def same_distribution(first: NDArray[np.int64], second: NDArray[np.int64], seed: int = 0) -> float:
    """The p-value of a chi-square test that two samples of whole numbers have one distribution.

    It is the share of PERMUTATIONS seeded permutations of both samples together that are as far apart as the two are,
    so that rare numbers need not be pooled; 1 where all are one number.
    """
    classes = int(max(first.max(), second.max())) + 1
    table = np.stack([np.bincount(some, minlength=classes) for some in (first, second)])
    table = table[:, table.any(axis=0)]
    expected = table.sum(axis=0) * len(first) / table.sum()

    def statistic(counts: NDArray) -> NDArray:  # of the first sample (..., classes); the second's follow from them
        return ((counts - expected) ** 2 / expected).sum(axis=-1)

    random = np.random.default_rng(seed)
    permuted = random.multivariate_hypergeometric(table.sum(axis=0), len(first), PERMUTATIONS, method="marginals")
    as_far = statistic(permuted) >= statistic(table[0]) * (1 - 1e-9)
    return float((1 + as_far.sum()) / (1 + PERMUTATIONS))


def _part(count: int, n: int) -> dict[str, Any]:
    """A share that is no mean over independent scenes, hence without an interval."""
    return {"share": count / n if n else None, "count": count, "n": n}


def _cell(centre: Tensor) -> Tensor:
    return (centre.nan_to_num(0) * CELLS).long().clamp(0, CELLS - 1)
