"""What codes stand for, in cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from src.evaluation.code_values import bin_limits, code_values, informative_blocks
from src.evaluation.codes import factor_labels


def test_majorities_counted_by_hand() -> None:
    found = code_values(np.array([0, 0, 0, 2, 2, 3]), np.array([1, 1, 0, 2, 0, 0]), 5)
    assert found.uses.tolist() == [3, 0, 2, 1, 0]
    assert found.value.tolist() == [1, -1, 0, 0, -1]  # of equally frequent labels the smallest
    assert found.purity == pytest.approx([2 / 3, np.nan, 1 / 2, 1, np.nan], nan_ok=True)
    with pytest.raises(ValueError, match="twice"):
        code_values(np.zeros(2, int), np.zeros(3, int), 4)


def test_every_factor_has_its_block_and_several_may_share_one() -> None:
    rng = np.random.default_rng(0)
    colour, shape, constant = rng.integers(0, 4, 2000), rng.integers(0, 3, 2000), np.zeros(2000, int)
    codes = np.stack([rng.integers(0, 8, 2000), colour * 3 + shape], axis=1)
    blocks, matrix, notes = informative_blocks(codes, {"colour": colour, "shape": shape, "constant": constant})
    assert blocks == {"colour": 1, "shape": 1, "constant": None}
    assert matrix[1, :2] == pytest.approx([1, 1]) and len(notes) == 1


def test_limits_are_those_of_the_labels() -> None:
    values = np.random.default_rng(0).uniform(size=500)
    limits, labels = bin_limits("x", values), factor_labels({"x": values})["x"]
    assert len(limits) == 9 and (values > limits[labels]).all() and (values <= limits[labels + 1]).all()
