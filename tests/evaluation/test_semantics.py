"""The section on what codes mean, and those of scenes with intervals: of a model that knows all, and awkward cases."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from src.data.toy_datasets import make_dataset
from src.evaluation import disentanglement, scene_scores, semantics
from src.evaluation.codes import code_purity, normalised_information
from src.evaluation.passes import run_model
from src.evaluation.scene_scores import reconstruction_details, segmentation_details
from src.evaluation.semantics import semantics_figures, semantics_scores
from src.evaluation.similarity import has_ssim, ssim
from src.evaluation.subject import Subject
from src.models.catalogue import make_model
from src.models.svq_model import SVQ

from .test_report import Oracle


@pytest.fixture(autouse=True)
def few_trees(monkeypatch) -> None:
    monkeypatch.setattr(disentanglement, "TREES", 5)


def of(model, train_ds, test_ds) -> Subject:
    fit, test = run_model(model, train_ds, batch_size=64), run_model(model, test_ds, batch_size=64)
    return Subject(model, train_ds, test_ds, fit, test, None, None, torch.device("cpu"), progress=False)


class AllKnowing(Oracle):
    num_codebooks, codebook_size = 4, 8


@pytest.fixture(scope="module")
def known() -> Subject:
    train_ds, test_ds = make_dataset("shapes", num_samples=160), make_dataset("shapes", num_samples=130, split="test")
    return of(AllKnowing(train_ds, test_ds), train_ds, test_ds)


@pytest.fixture
def subject(known: Subject) -> Subject:
    return replace(known, notes=[], seconds={})


def untrained(**arguments) -> Subject:
    torch.manual_seed(0)
    sizes = {"image_size": 32, "num_slots": 3, "slot_size": 16, "num_codebooks": 2, "codebook_size": 8}
    model = SVQ(**{**sizes, "hidden_dim": 16, **arguments}).eval()
    train_ds, test_ds = (make_dataset("shapes", num_samples=24, image_size=32, split=s) for s in ("train", "test"))
    return of(model, train_ds, test_ds)


def test_codes_that_are_the_factors_score_as_they_must(subject: Subject) -> None:
    scores = semantics_scores(subject)
    assert scores is not None and json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert scores["factors"] == ["colour", "shape", "size", "x", "y"]
    own = {"colour": 0, "shape": 1, "x": 2, "y": 3}  # block of each factor; size has none
    for name, block in own.items():
        best, column = scores["purity"]["best"][name], scores["factors"].index(name)
        assert best["block"] == block and best["low"] <= best["share"] <= best["high"]
        # The bins of x and y that this model writes are those of its own split, which are not quite those of the fit.
        assert best["share"] > (0.7 if name in "xy" else 0.99) and best["permuted"] < 0.5
        assert np.array(scores["dci_codes"]["importance"])[block, column] > 0.9
        assert scores["information"]["nmi"][block][column] > 0.9
        assert scores["information"]["permuted"][block][column] < 0.3
    assert scores["purity"]["best"]["size"]["share"] < 0.5
    assert scores["dci_codes"]["accuracy"]["size"]["share"] < 0.5
    assert sum(scores["use"]["counts"][0]) == scores["n"] == len(subject.test.vectors)
    assert subject.notes == [] and subject.seconds["dci"] > 0
    figures = semantics_figures(subject, scores)
    assert set(figures) == {"purity", "dci_codes", "dci_vectors"}
    assert semantics_figures(subject, None) == {}


def test_permuted_codes_are_as_pure_as_chance(subject: Subject) -> None:
    rng = np.random.default_rng(0)
    labels = {"colour": rng.integers(0, 6, 3000)}
    codes = rng.integers(0, 20, (3000, 1))
    hits, chance = code_purity(codes, labels, codes[:0:-1], {"colour": labels["colour"][1:]})
    assert hits[0, 0] / 2999 == pytest.approx(chance[0, 0] / 2999, abs=0.04)
    nmi, permuted = normalised_information(codes, labels)
    assert nmi[0, 0] == pytest.approx(permuted[0, 0], abs=0.02)


def test_purity_by_hand() -> None:
    fit, test = np.array([[0], [0], [0], [1], [1]]), np.array([[0], [0], [1], [7]])
    hits, _ = code_purity(fit, {"a": np.array([2, 2, 1, 0, 1])}, test, {"a": np.array([2, 1, 0, 1])})
    # Code 0 stands for 2, code 1 for 0 (the smaller of two), code 7 is new: what most have, 1 (the smaller of two).
    assert hits.tolist() == [[3]]
    with pytest.raises(ValueError, match="at least 1"):
        code_purity(fit[:0], {"a": np.zeros(0, np.int64)}, test, {"a": np.zeros(4, np.int64)})


def test_constant_factors_are_none_and_said(subject: Subject) -> None:
    parts = {
        name: replace(part, factors={**part.factors, "shape": np.zeros_like(part.factors["shape"])})
        for name, part in (("fit", subject.fit), ("test", subject.test))
    }
    scores = semantics_scores(replace(subject, **parts))
    assert scores is not None
    json.dumps(scores, allow_nan=False)
    assert scores["dci_codes"]["accuracy"]["shape"] is None
    assert [row[1] for row in scores["information"]["nmi"]] == [None] * 4
    assert sum("shape" in line for line in subject.notes) == 3  # of information and of both DCI


def test_a_model_without_codes_has_the_dci_of_its_vectors() -> None:
    subject = untrained(bottleneck="none", num_codebooks=1)
    scores = semantics_scores(subject)
    assert scores is not None and [scores[part] for part in ("information", "purity", "use", "dci_codes")] == [None] * 4
    assert scores["dci_vectors"]["informativeness"] > 0 and scores["dci_vectors"]["completeness"] is None
    json.dumps(scores, allow_nan=False)
    assert any("no codes" in line for line in subject.notes) and any("two blocks" in line for line in subject.notes)


def test_prototypes_are_scored_by_index_and_by_vector() -> None:
    scores = semantics_scores(untrained(bottleneck="prototypes"))
    assert scores is not None and scores["dci_vectors"] is not None
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize("objects", [0, 1])
def test_too_few_objects_are_none_and_said(subject: Subject, objects: int) -> None:
    test = subject.test
    factors = {name: values[:objects] for name, values in test.factors.items()}
    few = replace(test, vectors=test.vectors[:objects], object_codes=test.object_codes[:objects], factors=factors)
    assert semantics_scores(replace(subject, test=few)) is None
    assert len(subject.notes) == 1 and "too few" in subject.notes[0]


def test_without_slots_there_is_one_line_each() -> None:
    model = make_model("vqvae", {"image_size": 32, "codebook_size": 8, "code_dim": 4, "hidden_dim": 8}).eval()
    train_ds, test_ds = (make_dataset("shapes", num_samples=6, image_size=32, split=s) for s in ("train", "test"))
    subject = of(model, train_ds, test_ds)
    assert semantics_scores(subject) is None and segmentation_details(subject) is None
    assert len(subject.notes) == 2 and all("no slots" in line for line in subject.notes)


def test_without_scikit_learn_the_rest_is_scored(subject: Subject, monkeypatch) -> None:
    monkeypatch.setattr(semantics, "has_trees", lambda: False)
    scores = semantics_scores(subject)
    assert scores is not None and scores["dci_codes"] is None and scores["purity"] is not None
    assert any("scikit-learn" in line for line in subject.notes)


def test_true_masks_and_pictures_score_one_with_intervals(subject: Subject) -> None:
    found = segmentation_details(subject)
    assert found is not None
    for name in ("fg_ari", "ari", "miou", "mbo"):
        assert found["decoder"][name]["mean"] == pytest.approx(1.0)
        attention = found["attention"][name]
        assert 0.5 < attention["low"] < attention["mean"] < attention["high"] < 1.0
    assert found["decoder"]["ari"]["n"] == 130 > found["decoder"]["fg_ari"]["n"]
    assert found["attention"]["mbo"]["mean"] >= found["attention"]["miou"]["mean"]
    painted = reconstruction_details(subject)
    assert painted is not None and painted["mse"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 130}
    if has_ssim():
        assert painted["ssim"]["mean"] == pytest.approx(1.0) and painted["ssim"]["n"] == 130


def test_without_torchmetrics_ssim_is_none_and_said(subject: Subject, monkeypatch) -> None:
    monkeypatch.setattr(scene_scores, "has_ssim", lambda: False)
    nothing = replace(subject.test, ssim=torch.full((130,), torch.nan))
    found = reconstruction_details(replace(subject, test=nothing))
    assert found is not None and found["ssim"]["mean"] is None and found["psnr"]["mean"] == 100.0
    assert len(subject.notes) == 1 and "torchmetrics" in subject.notes[0]


def test_ssim_of_one_pair_and_of_constant_pictures_by_hand() -> None:
    pytest.importorskip("torchmetrics")
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert ssim(image, image).tolist() == pytest.approx([1.0, 1.0])
    assert ssim(image[:1], image[1:]).shape == (1,)
    grey, white = torch.full((1, 3, 16, 16), 0.5), torch.ones(1, 3, 16, 16)
    # Without any variance only the term of the means is left: (2ab + c) / (a² + b² + c), c = 0.01².
    assert ssim(grey, white).item() == pytest.approx((1.0 + 1e-4) / (1.25 + 1e-4), abs=1e-5)
