"""Drawn scenes: those of a model that copies, of one that is stuck, of one that draws as the data do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.data.base import SceneDataset
from src.data.sprites import SpritesDataset
from src.data.toy_datasets import make_dataset
from src.evaluation.attribute_network import Reading, read_images
from src.evaluation.attribute_training import attribute_network
from src.evaluation.descriptions import Objects
from src.evaluation.passes import run_model
from src.evaluation.samples import sample_figures, sample_scores, temperature_scores
from src.evaluation.subject import Subject
from src.models.svq_model import SVQ

SCENES = 120


class Album(nn.Module):
    """Draws the pictures of an album at random, each as likely; its reconstructions are perfect."""

    prior = None
    has_codes = True
    num_slots = num_codebooks = 1

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images
        self.codebook_size = len(images)
        self.device = torch.device("cpu")

    def paint(self, codes: Tensor) -> Tensor:
        return self.images[codes[:, 0, 0]].float() / 255

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"recon": image}


def data(split: str, count: int, **arguments) -> SceneDataset:
    return make_dataset("shapes", num_samples=count, split=split, **arguments)


@pytest.fixture(scope="module")
def judged() -> tuple[SceneDataset, SceneDataset, Any, Any]:
    train_ds, test_ds = data("train", 400), data("test", 2 * SCENES)
    return train_ds, test_ds, *attribute_network(train_ds, progress=False)  # shipped


def subject_of(model: Any, judged: tuple, **changes: Any) -> Subject:
    train_ds, test_ds, network, report = judged
    empty = run_model(Album(test_ds.images), test_ds.first(1))
    known: dict[str, Any] = {
        "train_ds": train_ds, "test_ds": test_ds, "fit": empty, "test": empty, "network": network,
        "network_report": report, "device": torch.device("cpu"), "progress": False, "trained_on": train_ds,
    }  # fmt: skip
    return Subject(model=model, **(known | changes))


def test_copies_of_training_scenes_are_not_new(judged) -> None:
    train_ds, _, network, _ = judged
    placed = Objects.of_factors(train_ds.factors).placed()
    reading = read_images(network, train_ds.images)
    read = Objects.of_reading(reading).placed()
    rightly = reading.well_formed & torch.tensor([one == other for one, other in zip(read, placed, strict=True)])
    assert rightly.float().mean() > 0.8
    subject = subject_of(Album(train_ds.images[rightly]), judged)
    scores = sample_scores(subject, SCENES)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    novelty = scores["novelty"]
    assert novelty["placed"]["share"] == novelty["unplaced"]["share"] == 0.0
    assert novelty["true"]["placed"]["share"] > 0.7 > novelty["true"]["unplaced"]["share"] > 0.2
    assert 0 < novelty["train"]["placed"]["share"] < 0.2  # what is misread is new
    assert novelty["n_train"] == 400 and novelty["placed"]["n"] > 0.9 * SCENES
    assert scores["accuracy"]["share"] == 1.0


def test_true_scenes_are_as_their_references(judged) -> None:
    subject = subject_of(Album(data("val", 1500).images), judged)
    scores = sample_scores(subject, SCENES)
    new = scores["novelty"]["placed"]
    assert new["low"] < scores["novelty"]["true"]["placed"]["share"] < new["high"]
    for name in ("pairs", "shape", "colour", "cell"):
        assert scores["coverage"][name]["share"] == pytest.approx(scores["coverage"]["true"][name]["share"], abs=0.06)
    assert abs(scores["distinct"]["placed"]["share"] - scores["distinct"]["true"]["placed"]["share"]) < 0.1
    for found in scores["distributions"].values():
        assert found["distance"] < 0.15 and found["true"] < 0.15
        assert sum(found["data"]) == pytest.approx(1) and sum(found["drawn"]) == pytest.approx(1)
    assert scores["distributions"]["count"]["p"] > 0.01
    far = scores["frechet_attribute"]
    assert far["reconstructed"] == pytest.approx(far["true"], rel=1e-4) and far["n"] == SCENES
    assert far["drawn"] < 3 * far["true"]


def test_a_generator_that_is_stuck_covers_next_to_nothing(judged) -> None:
    crowded = int(torch.nonzero(judged[0].factors["present"].sum(dim=1) == 2)[0])
    subject = subject_of(Album(judged[0].images[crowded : crowded + 1]), judged)
    scores = sample_scores(subject, SCENES)
    both = scores["novelty"]["placed"]["n"]
    assert both > 0.9 * SCENES
    assert scores["distinct"]["placed"] == {"share": 1 / both, "count": 1, "n": both}
    assert scores["coverage"]["pairs"]["count"] <= 2 < scores["coverage"]["true"]["pairs"]["count"]
    assert scores["coverage"]["cell"]["count"] <= 2 and scores["coverage"]["true"]["cell"]["share"] == 1
    assert scores["distributions"]["colour"]["distance"] > 3 * scores["distributions"]["colour"]["true"]
    assert scores["distributions"]["count"]["p"] == scores["distributions"]["count"]["p_read"] == pytest.approx(1e-4)
    assert scores["frechet_attribute"]["drawn"] > 5 * scores["frechet_attribute"]["true"]


def test_of_data_with_a_rule_obedient_scenes_are_looked_at_by_themselves() -> None:
    train_ds = SpritesDataset(30)
    judge = attribute_network(train_ds, progress=False)  # shipped
    half = torch.cat([train_ds.images, train_ds.unruled("val", 30).images])
    scores = sample_scores(subject_of(Album(half), (train_ds, SpritesDataset(80, split="test"), *judge)), 80)
    novelty = scores["novelty"]
    assert novelty["obeying"]["unplaced"]["n"] == scores["accuracy"]["obeys_rule"]["count"] < 80
    assert novelty["obeying"]["unplaced"]["share"] < 0.3 < novelty["unplaced"]["share"]


def test_nothing_well_formed_is_said_and_not_described(judged) -> None:
    subject = subject_of(Album(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)), judged)
    scores = sample_scores(subject, 30)
    assert scores["accuracy"]["count"] == 0
    assert [scores[part] for part in ("novelty", "distinct", "coverage", "distributions")] == [None] * 4
    assert any("no drawn scene is well-formed" in line for line in subject.notes)
    assert scores["frechet_attribute"] is None
    assert any("30 scenes of each kind (half of the test scenes" in line for line in subject.notes)
    assert sample_figures(subject, scores) == {}


def test_fewer_test_scenes_than_drawn_ones(judged) -> None:
    for count, wanted in ((20, "20 well-formed test scenes"), (1, "one test scene")):
        subject = subject_of(Album(judged[0].images), judged, test_ds=data("test", count))
        scores = sample_scores(subject, 40)
        assert scores["accuracy"]["n"] == 40 and scores["novelty"]["placed"]["n"] <= count
        assert any(wanted in line for line in subject.notes)
        json.dumps(scores, allow_nan=False)


def test_what_is_new_is_told_by_all_that_the_model_was_trained_on(judged) -> None:
    train_ds, _, _, _ = judged
    copies = Album(train_ds.images[300:])
    scores = sample_scores(subject_of(copies, judged, train_ds=train_ds.first(50)), 60)
    assert scores["novelty"]["n_train"] == 400 and scores["novelty"]["placed"]["share"] < 0.2
    assert scores == sample_scores(subject_of(copies, judged), 60)


def test_without_the_scenes_of_training_nothing_is_called_new(judged) -> None:
    for trained_on, said in ((None, "not known here"), (SpritesDataset(5), "of sprites, and those of shapes")):
        subject = subject_of(Album(judged[0].images), judged, trained_on=trained_on)
        scores = sample_scores(subject, 40)
        assert [scores[part] for part in ("novelty", "coverage", "distributions")] == [None] * 3
        assert scores["accuracy"]["n"] == 40 and scores["distinct"]["placed"]["n"] > 30
        assert any("training, which are " + said in line for line in subject.notes)


def test_training_pictures_that_the_judge_does_not_know_are_described_but_not_read(judged) -> None:
    more = data("train", 300, max_shapes=6)
    subject = subject_of(Album(judged[0].images), judged, trained_on=more)
    scores = sample_scores(subject, 40)
    assert scores["novelty"]["train"] is None and scores["novelty"]["n_train"] == 300
    assert any("novelty.train is not given" in line for line in subject.notes)
    assert sum(scores["distributions"]["count"]["data"]) == pytest.approx(1)
    assert len(scores["distributions"]["count"]["data"]) == 6


def test_a_judge_that_miscounts_does_not_tell_true_scenes_from_true_ones(judged, monkeypatch) -> None:
    def read(*arguments: Any) -> Reading:
        found = read_images(*arguments)
        return replace(found, count=found.count.clamp(max=2))

    monkeypatch.setattr("src.evaluation.samples.read_images", read)
    for images, alike in ((data("val", 1500).images, True), (judged[0].images[:1], False)):
        count = sample_scores(subject_of(Album(images), judged), SCENES)["distributions"]["count"]
        assert count["drawn"][3:] == [0.0] * 3 and sum(count["data"][3:]) > 0.3
        assert count["p"] == pytest.approx(1e-4)
        assert (count["p_read"] > 0.01) == alike


def test_counts_are_of_all_drawn_scenes(judged) -> None:
    subject = subject_of(Album(judged[0].images), judged, test_ds=judged[1].first(80))
    scores = sample_scores(subject, SCENES)
    count = scores["distributions"]["count"]
    assert (count["n"], count["n_true"]) == (SCENES, 80)
    assert [round(part * SCENES) for part in count["drawn"]] == scores["accuracy"]["objects"]


def test_what_a_model_or_data_set_lacks_is_a_line(judged) -> None:
    model = Album(judged[0].images)
    subject = subject_of(model, judged, network=None)
    assert set(sample_scores(subject, 10).values()) == {None, 0, 1.0}
    assert any("no attribute network reads scenes of shapes" in line for line in subject.notes)
    assert temperature_scores(subject) is None and "no prior" in subject.notes[-1]
    model.has_codes = False
    assert sample_scores(subject, 10)["n"] == 0 and "no codes" in subject.notes[-1]
    with pytest.raises(ValueError, match="num_generated was 0 but expected at least 1"):
        sample_scores(subject, 0)


def test_fid_and_kid_need_no_attribute_network(judged, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr("src.evaluation.inception.KID_SUBSET", 50)
    quarters = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quarters = quarters

        def forward(self, images: Tensor) -> Tensor:
            return self.quarters(images.float())

    torch.jit.save(torch.jit.script(Small()), tmp_path / "small.pt")
    subject = subject_of(Album(judged[0].images), judged, network=None)
    scores = sample_scores(subject, SCENES, inception=tmp_path / "small.pt")
    assert scores["accuracy"] is None and scores["n"] == SCENES
    assert scores["fid"]["reconstructed"] == pytest.approx(scores["fid"]["true"], rel=1e-3)
    assert set(scores["kid"]) == {"drawn", "true", "reconstructed", "n", "features"}
    assert sample_scores(subject, SCENES, inception=tmp_path / "small.pt") == scores


@pytest.fixture(scope="module")
def svq() -> SVQ:
    torch.manual_seed(0)
    model = SVQ(image_size=64, num_slots=3, slot_size=16, num_codebooks=2, codebook_size=8, code_dim=8, hidden_dim=16)
    nn.init.normal_(model.init_prior(embed_dim=16, num_heads=2, num_layers=1).head)
    return model.eval()


def test_temperatures(svq: SVQ, judged) -> None:
    subject = subject_of(svq, judged)
    rows = temperature_scores(subject, 40, (0.1, 1.0, 3.0))
    assert rows is not None and [row["temperature"] for row in rows] == [0.1, 1.0, 3.0]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[0]["bits_per_code"] < rows[1]["bits_per_code"] < rows[2]["bits_per_code"]
    assert all(row["accuracy"]["n"] == 40 and row["novelty"]["placed"]["n"] <= 40 for row in rows)
    assert temperature_scores(subject, 40, (0.1, 1.0, 3.0)) == rows
    unread = temperature_scores(subject_of(svq, judged, network=None), 40, (1.0,))
    assert unread == [rows[1] | {"accuracy": None, "novelty": None}]


def test_figures(svq: SVQ, judged) -> None:
    subject = subject_of(svq, judged)
    shown = {"count": {"names": ["0", "1"], "data": [0.5, 0.5], "drawn": [0.2, 0.8], "distance": 0.3}}
    figures = sample_figures(subject, {"distributions": shown}, temperatures=(0.5, 1.0), num_pictures=3)
    assert list(figures) == ["distributions", "temperatures"]
    assert len(figures["temperatures"].images) == 6
