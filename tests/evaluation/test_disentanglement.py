"""Codes that belong to one factor each, that mix factors, and that say nothing must score as they must."""

from __future__ import annotations

import numpy as np
import pytest

from src.evaluation import disentanglement
from src.evaluation.disentanglement import _scores, dci, one_hot_inputs, vector_inputs

FIT, TEST = 1000, 500
SIZES = {"colour": 6, "shape": 3, "x": 8, "y": 8}


def labels(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {name: rng.integers(0, size, count) for name, size in SIZES.items()}


@pytest.fixture(autouse=True)
def few_trees(monkeypatch) -> None:
    monkeypatch.setattr(disentanglement, "TREES", 15)


@pytest.fixture(scope="module")
def factors() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return labels(rng, FIT), labels(rng, TEST)


def stacked(factors: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack(list(factors.values()), axis=1)


def one_hot_vectors(factors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.eye(8, dtype=np.float32)[values] for values in factors.values()], axis=1)


def test_disentanglement_and_completeness_of_a_matrix_by_hand() -> None:
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2)
    scores, notes = _scores(np.array([[0.75, 0.25], [0.25, 0.75]]))
    assert notes == []
    assert scores["disentanglement"] == pytest.approx(1 - entropy)
    assert scores["completeness"] == pytest.approx(1 - entropy)
    # One block for all: it is of both factors (D = 0), each of which is in one place (C = 1).
    scores, _ = _scores(np.array([[1.0, 1.0], [0.0, 0.0]]))
    assert scores["disentanglement"] == pytest.approx(0.0) and scores["completeness"] == pytest.approx(1.0)
    assert scores["block_disentanglement"] == [pytest.approx(0.0), None] and scores["block_weight"] == [1.0, 0.0]
    # Blocks count by their importance: the first has half of it and D = 1, two of a quarter share the other factor.
    scores, _ = _scores(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]]))
    assert scores["block_weight"] == [0.5, 0.25, 0.25] and scores["disentanglement"] == pytest.approx(1.0)
    assert scores["completeness"] == pytest.approx((1 + 1 - np.log(2) / np.log(3)) / 2)


def test_a_block_for_each_factor_scores_one(factors) -> None:
    fit, test = factors
    for inputs in (
        one_hot_inputs(stacked(fit) * 5 + 2, stacked(test) * 5 + 2),  # names of codes do not matter
        vector_inputs(one_hot_vectors(fit), one_hot_vectors(test), len(SIZES)),
    ):
        scores, notes = dci(inputs, fit, test)
        assert notes == []
        assert min(scores[name] for name in ("disentanglement", "completeness", "informativeness")) > 0.9
        assert np.array(scores["importance"]).argmax(axis=0).tolist() == [0, 1, 2, 3]
        assert np.array(scores["importance"]).sum(axis=0) == pytest.approx(1)


def test_codes_of_two_factors_inform_but_do_not_disentangle(factors) -> None:
    fit, test = factors

    def mixed(found: dict[str, np.ndarray]) -> np.ndarray:
        return np.stack([found["colour"] * 3 + found["shape"], found["x"] * 8 + found["y"]], axis=1)

    scores, _ = dci(one_hot_inputs(mixed(fit), mixed(test)), fit, test)
    assert scores["informativeness"] > 0.95 and scores["completeness"] > 0.95
    assert scores["disentanglement"] == pytest.approx(0.5, abs=0.05)  # two of four factors in each block


def test_rotated_vectors_inform_but_do_not_disentangle(factors) -> None:
    fit, test = (one_hot_vectors(found) for found in factors)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(fit.shape[1],) * 2))[0].astype(np.float32)
    scores, _ = dci(vector_inputs(fit @ rotation, test @ rotation, 4), *factors)
    assert scores["disentanglement"] < 0.2 and scores["completeness"] < 0.2
    assert scores["informativeness"] > 0.55


def test_noise_informs_no_more_than_chance(factors) -> None:
    rng = np.random.default_rng(2)
    scores, _ = dci(one_hot_inputs(rng.integers(0, 64, (FIT, 4)), rng.integers(0, 64, (TEST, 4))), *factors)
    for found in scores["accuracy"].values():
        assert abs(found["share"] - found["chance"]) < 0.1
    assert scores["disentanglement"] < 0.2 and scores["completeness"] < 0.2


def test_the_seed_makes_the_trees(factors) -> None:
    fit, test = ({name: found[name] for name in ("shape", "colour")} for found in factors)
    inputs = vector_inputs(one_hot_vectors(fit), one_hot_vectors(test), 2)
    assert dci(inputs, fit, test, seed=3) == dci(inputs, fit, test, seed=3)


def test_one_hot_columns_are_the_codes_that_occur() -> None:
    inputs = one_hot_inputs(np.array([[5, 0], [7, 0], [5, 3]]), np.array([[7, 3], [9, 1], [0, 0]]))
    assert inputs.block.tolist() == [0, 0, 1, 1]
    assert inputs.fit.toarray().tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]
    assert inputs.test.toarray().tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]  # a new code has no column


def test_what_cannot_be_said_is_none_and_has_a_line(factors) -> None:
    fit, test = ({**found, "y": np.zeros_like(found["y"])} for found in factors)
    scores, notes = dci(one_hot_inputs(stacked(fit), stacked(test)), fit, test)
    assert scores["accuracy"]["y"] is None and [row[3] for row in scores["importance"]] == [None] * 4
    assert scores["factor_completeness"][3] is None and scores["completeness"] > 0.97
    assert scores["block_disentanglement"][3] is None and scores["disentanglement"] > 0.97
    assert len(notes) == 1 and "y has one value only" in notes[0]
    one = {"colour": factors[0]["colour"]}, {"colour": factors[1]["colour"]}
    scores, notes = dci(one_hot_inputs(stacked(one[0]), stacked(one[1])), *one)
    assert scores["disentanglement"] is None and scores["completeness"] is None and len(notes) == 2
    assert scores["informativeness"] == 1.0
    blank = np.zeros((FIT, 2), np.int64), np.zeros((TEST, 2), np.int64)
    scores, notes = dci(one_hot_inputs(*blank), *one)
    assert scores["completeness"] is None and any("no split" in line for line in notes)
