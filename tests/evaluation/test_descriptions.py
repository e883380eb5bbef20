"""Scenes as multisets of objects: hand-made ones, and those of the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from src.data.toy_datasets import make_dataset
from src.evaluation.attribute_network import Reading
from src.evaluation.descriptions import (
    Objects,
    coverage,
    distinct,
    frequencies,
    same_distribution,
    total_variation,
)


def by_hand(*scenes: list[tuple[int, int, float, float]]) -> Objects:
    """Scenes of (shape, colour, x, y), of four objects at most."""
    rows = [[*scene, *[(-1, -1, float("nan"), float("nan"))] * (4 - len(scene))] for scene in scenes]
    shape, colour, x, y = (torch.tensor([[one[k] for one in row] for row in rows]) for k in range(4))
    return Objects.of_factors({"present": shape >= 0, "shape": shape, "colour": colour, "x": x, "y": y})


def test_a_description_is_the_objects_in_any_order() -> None:
    one = by_hand([(0, 1, 0.1, 0.9), (2, 1, 0.6, 0.3)])
    assert one.placed() == [((0, 1, 3, 0), (2, 1, 1, 2))]  # row before column
    assert one.unplaced() == [((0, 1), (2, 1))]
    assert by_hand([(2, 1, 0.74, 0.26), (0, 1, 0.0, 1.0)]).placed() == one.placed()
    assert by_hand([(2, 1, 0.76, 0.26), (0, 1, 0.0, 1.0)]).placed() != one.placed()
    twice = by_hand([(0, 1, 0.1, 0.1), (0, 1, 0.1, 0.1)])
    assert twice.unplaced() == [((0, 1), (0, 1))] != by_hand([(0, 1, 0.1, 0.1)]).unplaced()
    assert by_hand([]).placed() == [()]


def test_a_reading_of_the_truth_is_described_as_the_truth_is() -> None:
    factors = make_dataset("shapes", num_samples=50).factors
    present, order = factors["present"], torch.randperm(4, generator=torch.Generator().manual_seed(0))
    names = ("shape", "colour", "x", "y")
    shuffled = {name: factors[name][:, order] for name in names}
    reading = Reading(present.any(1), present.any(1).float(), present.sum(1), present[:, order], present, **shuffled)
    assert Objects.of_reading(reading).placed() == Objects.of_factors(factors).placed()


def test_distinct_scenes_and_what_they_cover() -> None:
    data = by_hand([(0, 0, 0.1, 0.1), (1, 1, 0.9, 0.9)], [(0, 1, 0.1, 0.9)], [(1, 0, 0.4, 0.1)])
    same = by_hand(*[[(0, 0, 0.1, 0.1)]] * 5)
    assert distinct(same.placed()) == {"share": 0.2, "count": 1, "n": 5}
    assert distinct([]) == {"share": None, "count": 0, "n": 0}
    found = coverage(same, data)
    assert {name: (one["count"], one["n"]) for name, one in found.items()} == {
        "pairs": (1, 4), "shape": (1, 2), "colour": (1, 2), "cell": (1, 4),
    }  # fmt: skip
    assert all(one["share"] == 1 for one in coverage(data, data).values())
    foreign = coverage(by_hand([(7, 7, 0.6, 0.6)]), data)  # what the data do not have counts for nothing
    assert all(one["share"] == 0 for one in foreign.values())


def test_total_variation() -> None:
    assert frequencies(np.array([0, 2, 2, 2]), 4) == [0.25, 0, 0.75, 0]
    assert total_variation([0.5, 0.5], [0.5, 0.5]) == 0
    assert total_variation([1, 0], [0, 1]) == 1
    assert total_variation([0.5, 0.3, 0.2], [0.4, 0.2, 0.4]) == pytest.approx(0.2)


def test_chi_square_is_that_of_scipy_where_that_holds() -> None:
    random = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.12):
        first = random.choice(4, 400, p=[0.25 + shift, 0.25 - shift, 0.25, 0.25])
        second = random.choice(4, 600)
        table = np.stack([np.bincount(some, minlength=4) for some in (first, second)])
        expected = chi2_contingency(table, correction=False)[1]
        assert same_distribution(first, second) == pytest.approx(expected, abs=0.02)


def test_chi_square_of_rare_and_constant_counts() -> None:
    four = np.full(1000, 4)
    assert same_distribution(four, four) == 1.0
    some = four.copy()
    some[:30] = 3
    assert same_distribution(some, np.full(50_000, 4)) == pytest.approx(1e-4)  # no permutation is as far
    assert same_distribution(np.array([4, 4, 3]), np.array([4, 4, 4])) == pytest.approx(1.0)  # either side has the 3
