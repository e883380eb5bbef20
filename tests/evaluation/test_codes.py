"""Codes that say everything, nothing or part of it must score as they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from src.evaluation.codes import (
    best_distinct_blocks,
    block_factor_matrix,
    codebook_use,
    entropy,
    equal_frequency_bins,
    factor_labels,
    mutual_information,
)

OBJECTS = 10_000
FACTORS = ("colour", "shape", "size", "x", "y")


@pytest.fixture(scope="module")
def factors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "colour": rng.integers(0, 6, OBJECTS),
        "shape": rng.integers(0, 3, OBJECTS),
        "size": rng.uniform(0.16, 0.28, OBJECTS),
        "x": rng.uniform(0.1, 0.9, OBJECTS),
        "y": rng.uniform(0.1, 0.9, OBJECTS),
    }


@given(seed=st.integers(0, 1000), a=st.integers(1, 9), b=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_mutual_information_equals_scikit_learn(seed: int, a: int, b: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, a, 200), rng.integers(0, b, 200)
    assert mutual_information(first, second) == pytest.approx(mutual_info_score(first, second), abs=1e-9)


def test_aligned_codes_score_one_in_their_own_block(factors) -> None:
    labels = factor_labels(factors)
    codes = np.stack([labels["colour"], labels["x"] * 7 + 3, labels["shape"], labels["y"]], axis=1)
    matrix, notes = block_factor_matrix(codes, labels)
    assert notes == []
    own = {"colour": 0, "x": 1, "shape": 2, "y": 3}
    for column, name in enumerate(FACTORS):
        for block in range(4):
            assert matrix[block, column] == pytest.approx(1.0 if own.get(name) == block else 0.0, abs=0.01)
    best = best_distinct_blocks(matrix, FACTORS)
    assert {name: found["block"] for name, found in best.items()} == {"colour": 0, "x": 1, "y": 3}
    assert all(found["value"] == pytest.approx(1.0) for found in best.values())


def test_noise_codes_score_zero_however_many_codes(factors) -> None:
    rng = np.random.default_rng(1)
    codes = np.stack([rng.integers(0, size, OBJECTS) for size in (2, 64, 512, 4096)], axis=1)
    matrix, _ = block_factor_matrix(codes, factor_labels(factors))
    assert np.abs(matrix).max() < 0.03  # uncorrected, 4096 codes would seem to know most of the factor
    assert mutual_information(codes[:, 3], factor_labels(factors)["x"]) > 0.3


def test_a_block_of_two_factors_informs_about_both(factors) -> None:
    labels = factor_labels(factors)
    codes = (labels["colour"] * 8 + labels["x"])[:, None]
    matrix, _ = block_factor_matrix(codes, labels)
    by_name = dict(zip(FACTORS, matrix[0], strict=True))
    assert by_name["colour"] == pytest.approx(1.0) and by_name["x"] == pytest.approx(1.0)
    assert abs(by_name["y"]) < 0.02


def test_the_matrix_is_a_function_of_the_seed(factors) -> None:
    codes = np.random.default_rng(2).integers(0, 64, (OBJECTS, 2))
    labels = factor_labels(factors)
    assert np.array_equal(block_factor_matrix(codes, labels, 5)[0], block_factor_matrix(codes, labels, 5)[0])


def test_constant_factors_and_too_few_objects_are_said_not_hidden(factors) -> None:
    labels = {**factor_labels(factors), "shape": np.zeros(OBJECTS, np.int64)}
    matrix, notes = block_factor_matrix(np.random.default_rng(0).integers(0, 8, (OBJECTS, 2)), labels)
    assert np.isnan(matrix[:, 1]).all() and np.isfinite(np.delete(matrix, 1, axis=1)).all()
    assert len(notes) == 1 and "shape" in notes[0]
    few = {name: values[:4] for name, values in factor_labels(factors).items()}
    few["colour"] = np.arange(4)
    matrix, notes = block_factor_matrix(np.arange(4)[:, None], few)  # four objects, four codes
    assert np.isnan(matrix[0, 0]) and any("too few" in line for line in notes)
    _, notes = block_factor_matrix(np.zeros((5, 2), np.int64), dict.fromkeys("ab", np.zeros(5, np.int64)))
    assert len(notes) == 1 and "a, b have one value only" in notes[0]
    codes = np.stack([np.arange(4), np.zeros(4, np.int64), np.arange(4)], axis=1)
    _, notes = block_factor_matrix(codes, {"a": np.arange(4), "b": np.arange(4)})
    assert len(notes) == 1 and "4 objects are too few for a (block 1, 3), b (block 1, 3)" in notes[0]
    best = best_distinct_blocks(matrix, FACTORS)
    assert best["colour"] == {"block": None, "value": None}


def test_best_blocks_differ_even_when_one_block_is_best_at_everything() -> None:
    matrix = np.array([[0.9, 0, 0, 0.8, 0.1], [0.4, 0, 0, 0.1, 0.2], [0.0, 0, 0, 0.6, 0.4]])
    best = best_distinct_blocks(matrix, FACTORS)
    assert len({found["block"] for found in best.values()}) == 3
    assert best["colour"] == {"block": 0, "value": 0.9}
    assert sum(found["value"] for found in best.values()) == pytest.approx(0.9 + 0.6 + 0.2)


def test_fewer_blocks_than_factors_leave_some_without() -> None:
    best = best_distinct_blocks(np.array([[0.9, 0.0, 0.0, 0.3, 0.2]]), FACTORS)
    assert best == {
        "colour": {"block": 0, "value": 0.9},
        "x": {"block": None, "value": None},
        "y": {"block": None, "value": None},
    }


def test_bins_hold_equally_many_and_equal_values_share_one() -> None:
    values = np.random.default_rng(0).exponential(size=8000)
    assert np.bincount(equal_frequency_bins(values, 8)).tolist() == [1000] * 8
    assert np.unique(equal_frequency_bins(np.full(50, 0.3), 8)).size == 1
    assert entropy(equal_frequency_bins(values, 8)) == pytest.approx(np.log(8))


def test_codebook_use_counts() -> None:
    codes = np.stack([np.arange(100) % 4, np.zeros(100, np.int64)], axis=1)
    use = codebook_use(codes, 8)
    assert use["counts"].tolist() == [[25] * 4 + [0] * 4, [100] + [0] * 7]
    assert use["share_used"].tolist() == [0.5, 0.125]
    assert use["perplexity"] == pytest.approx([4.0, 1.0])
    with pytest.raises(ValueError, match=r"0\.\.7"):
        codebook_use(codes + 8, 8)
    with pytest.raises(ValueError, match="at least one"):
        codebook_use(codes[:0], 8)


def test_lengths_that_differ_are_an_error(factors) -> None:
    with pytest.raises(ValueError, match="labels of colour"):
        block_factor_matrix(np.zeros((5, 2), np.int64), factor_labels(factors))
