"""The prior in detail: calibration by hand, frequencies, and what a model without this or that leaves out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from src.data.toy_datasets import make_dataset
from src.evaluation import prior_details as module
from src.evaluation.intervals import mean
from src.evaluation.passes import run_model
from src.evaluation.prior_details import calibration_of, prior_details, prior_details_figures, total_variation
from src.evaluation.subject import Subject
from src.models.svq_model import SVQ


def test_calibration_by_hand() -> None:
    found = calibration_of(np.array([0.15, 0.17, 0.95, 0.95, 1.0]), np.array([0, 1, 1, 1, 0]))
    used = {number: one for number, one in enumerate(found["bins"]) if one["n"]}
    assert set(used) == {1, 9} and len(found["bins"]) == 10
    assert used[1]["predicted"] == pytest.approx(0.16) and used[1]["right"] == 0.5
    assert used[9]["right"] == pytest.approx(2 / 3) and used[9]["n"] == 3
    assert found["ece"] == pytest.approx(2 / 5 * 0.34 + 3 / 5 * (2.9 / 3 - 2 / 3)) and found["n"] == 5
    assert found["bins"][0] == {"predicted": None, "right": None, "n": 0}


def test_probabilities_that_are_true_have_no_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(50_000)
    assert calibration_of(probability, rng.random(50_000) < probability)["ece"] < 0.01
    assert calibration_of(probability, rng.random(50_000) < 0.5)["ece"] > 0.2


def test_total_variation() -> None:
    a, b = torch.tensor([[0, 0], [1, 1]]), torch.tensor([[0], [2]])
    assert total_variation(a, a, 4) == 0 and total_variation(a, b, 4) == 0.5
    assert total_variation(a, b + 2, 6) == 1


def subject(prior: bool = True) -> Subject:
    torch.manual_seed(0)
    model = SVQ(image_size=16, num_slots=3, slot_size=8, num_codebooks=2, codebook_size=8, code_dim=4, hidden_dim=8)
    if prior:
        model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    model.eval()
    train, test = (
        make_dataset("shapes", num_samples=30, image_size=16, max_shapes=2, split=s) for s in ("train", "test")
    )
    passes = run_model(model, train), run_model(model, test)
    return Subject(model, train, test, *passes, None, None, torch.device("cpu"), batch_size=16, progress=False)


def test_an_untrained_prior_is_scored_and_what_has_no_judge_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(module, "SCENES", 2)
    one = subject()
    scores = prior_details(one)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    for name in ("canonical", "shuffled"):
        assert len(scores["bits"][name]["blocks"]) == 2 and len(scores["bits"][name]["slots"]) == 3
        means = [part["mean"] for part in scores["bits"][name]["slots"]]
        assert np.mean(means) == pytest.approx(np.mean([part["mean"] for part in scores["bits"][name]["blocks"]]))
    assert [block["n"] for block in scores["calibration"]] == [90, 90]
    assert all(0 <= block["samples"] <= 1 and block["n_scenes"] == 30 for block in scores["frequencies"])
    assert scores["conditions"] is None and any("conditions need" in note for note in one.notes)
    if scores["completions"] is not None:
        assert scores["completions"]["codes_kept"]["share"] == 1.0 and scores["completions"]["objects_kept"] is None
    figures = prior_details_figures(one, scores)
    assert "reliability" in figures and ("completions" in figures) == (scores["completions"] is not None)
    assert prior_details(subject()) == scores


def test_the_seed_draws_the_intervals(monkeypatch) -> None:
    seeds = []
    monkeypatch.setattr(module, "mean", lambda values, seed=0: seeds.append(seed) or mean(values, seed))
    one = subject()
    one.seed = 1
    module._predictions(one)
    assert len(seeds) > 10 and set(seeds) == {1}


def test_without_a_prior_there_is_nothing_to_score() -> None:
    one = subject(prior=False)
    assert set(prior_details(one).values()) == {None}
    assert one.notes == ["prior_details: there is no prior to look at"]
    assert prior_details_figures(one, prior_details(one)) == {}
