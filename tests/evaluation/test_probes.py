"""The probe reads what is there, not what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from src.evaluation.probes import read_factors

NAMES = ("colour", "shape", "size", "x", "y")


def make_factors(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "colour": rng.integers(0, 6, count),
        "shape": rng.integers(0, 3, count),
        "size": rng.uniform(0.16, 0.28, count),
        "x": rng.uniform(0.1, 0.9, count),
        "y": rng.uniform(0.1, 0.9, count),
    }


def vectors_of(factors: dict[str, np.ndarray], seed: int, wires: np.ndarray) -> np.ndarray:
    """Code vectors of all factors but the size, mixed, with a little noise and a useless large constant."""
    plain = np.concatenate(
        [
            np.eye(6)[factors["colour"]],
            np.eye(3)[factors["shape"]],
            factors["x"][:, None],
            factors["y"][:, None],
        ],
        axis=1,
    )
    mixed = plain @ wires + np.random.default_rng(seed).normal(0, 0.01, (len(plain), wires.shape[1]))
    return np.concatenate([mixed, np.full((len(mixed), 1), 1e3)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def data():
    fit, test = make_factors(3000, 0), make_factors(1000, 1)
    wires = np.random.default_rng(2).normal(size=(11, 16))
    return vectors_of(fit, 3, wires), fit, vectors_of(test, 4, wires), test


def test_what_is_in_the_vectors_is_read_and_what_is_not_is_not(data) -> None:
    scores, notes = read_factors(*data)
    assert notes == []
    assert scores["colour"]["accuracy"] > 0.99 and scores["shape"]["accuracy"] > 0.99
    assert scores["x"]["r2"] > 0.97 and scores["y"]["r2"] > 0.97
    assert scores["size"]["r2"] < 0.1
    assert scores["colour"]["chance"] == pytest.approx(1 / 6, abs=0.04)
    assert set(scores["x"]) == {"r2"}  # whose chance is 0 by its definition, and no share


@pytest.mark.slow
def test_noise_scores_chance(data) -> None:
    fit, test = data[1], data[3]
    rng = np.random.default_rng(0)
    scores, _ = read_factors(
        rng.normal(size=(3000, 8)).astype(np.float32),
        fit,
        rng.normal(size=(1000, 8)).astype(np.float32),
        test,
    )
    assert scores["colour"]["accuracy"] == pytest.approx(1 / 6, abs=0.05)
    assert scores["shape"]["accuracy"] == pytest.approx(1 / 3, abs=0.06)
    assert scores["x"]["r2"] < 0.05


def test_same_seed_same_scores_and_the_callers_random_numbers_stay(data) -> None:
    small = tuple(
        {name: values[:200] for name, values in part.items()} if isinstance(part, dict) else part[:200] for part in data
    )
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, _ = read_factors(*small, seed=3)
    assert torch.equal(torch.rand(3), expected)
    assert read_factors(*small, seed=3)[0] == first


def test_constant_factors_are_said_not_hidden(data) -> None:
    fit_x, _, test_x, _ = data
    fit_y, test_y = {"shape": np.zeros(200, np.int64)}, {"shape": np.zeros(100, np.int64)}
    scores, notes = read_factors(fit_x[:200], fit_y, test_x[:100], test_y)
    assert scores == {"shape": {"accuracy": None, "chance": None}}
    assert len(notes) == 1 and "shape" in notes[0]


def test_bad_vectors_are_an_error(data) -> None:
    fit_x, fit, test_x, test = data
    with pytest.raises(ValueError, match="finite"):
        read_factors(np.full_like(fit_x, np.nan), fit, test_x, test)
    with pytest.raises(ValueError, match="2 or more"):
        read_factors(fit_x[:1], fit, test_x, test)
