"""The whole evaluation: a model that knows everything, one that knows nothing, and the awkward cases."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from src.data.toy_datasets import ToyDataset, make_dataset
from src.evaluation import attribute_training
from src.evaluation.codes import factor_labels
from src.evaluation.passes import run_model
from src.evaluation.report import code_scores, evaluate_model, reconstruction_scores, segmentation_scores
from src.models.catalogue import make_model
from src.models.svq_model import SVQ


@pytest.fixture(autouse=True)
def small_network(monkeypatch) -> None:
    sizes = {
        "PLACEMENTS": 32,
        "EXAMPLES": 128,
        "BATCH": 16,
        "STEPS": 2,
        "TEST_SCENES": 16,
        "TEST_PER_KIND": 4,
    }
    for name, value in sizes.items():
        monkeypatch.setattr(attribute_training, name, value)


class Oracle(nn.Module):
    """Looks every image up in the ground truth: its masks are true and its codes are the factors.

    Slot S is the background. Blocks: colour, shape, x, y (the last two in bins).
    """

    def __init__(self, *datasets: ToyDataset) -> None:
        super().__init__()
        self.answers = {}
        for dataset in datasets:
            factors = dataset.factors
            present = factors["present"]
            labels = factor_labels({name: factors[name][present].numpy() for name in dataset.scored_factors})
            codes = torch.zeros(*present.shape, 4, dtype=torch.int64)
            for block, name in enumerate(("colour", "shape", "x", "y")):
                codes[..., block][present] = torch.from_numpy(labels[name])
            for i, image in enumerate(dataset.images):
                self.answers[image.numpy().tobytes()] = dataset.instances[i], codes[i]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        found = [self.answers[(one * 255).round().to(torch.uint8).numpy().tobytes()] for one in image]
        owner, codes = torch.stack([f[0] for f in found]), torch.stack([f[1] for f in found])
        slots = codes.shape[1] + 1
        order = (torch.arange(slots) + 1) % slots  # slot n holds instance n + 1, the last slot the background
        masks = (owner[:, None] == order[:, None, None]).float()[:, :, None]
        codes = torch.cat([codes, torch.zeros_like(codes[:, :1])], dim=1)
        small = nn.functional.avg_pool2d(masks[:, :, 0], 4).flatten(2)
        return {
            "recon": image,
            "masks": masks,
            "codes": codes,
            "quantized": nn.functional.one_hot(codes, 8).float().flatten(2),
            "attention": small,
        }


def test_perfect_codes_and_masks_score_perfectly() -> None:
    fit_ds, test_ds = (
        make_dataset("shapes", num_samples=400),
        make_dataset("shapes", num_samples=300, split="test"),
    )
    model = Oracle(fit_ds, test_ds)
    fit, test = run_model(model, fit_ds, batch_size=128), run_model(model, test_ds, batch_size=128)
    notes: list[str] = []
    assert reconstruction_scores(test) == {"mse": 0.0, "psnr": 100.0, "n": 300}
    segmentation = segmentation_scores(test, notes)
    assert segmentation["fg_ari"] == pytest.approx(1.0) and segmentation["miou"] == pytest.approx(1.0)
    assert segmentation["matched"]["share"] == 1.0
    assert 0.8 < segmentation["fg_ari_attention"] < 1.0  # cells of 4 pixels
    assert 150 < segmentation["n_fg_ari"] < 300 and segmentation["n_miou"] == 300
    assert notes == []
    scores = code_scores(fit, test, 8, 0, notes)
    assert scores["readout"]["colour"]["accuracy"] == 1.0 and scores["readout"]["shape"]["accuracy"] == 1.0
    assert scores["readout"]["x"]["r2"] > 0.95 and scores["readout"]["size"]["r2"] < 0.2
    best = scores["blocks"]
    assert [best[name]["block"] for name in ("colour", "x", "y")] == [0, 2, 3]
    assert all(best[name]["value"] > 0.98 for name in ("colour", "x", "y"))
    assert scores["codebooks"]["share_used"] == [0.75, 0.375, 1.0, 1.0]
    assert [line for line in notes if "10000" not in line] == []


@pytest.fixture(scope="module")
def svq() -> SVQ:
    torch.manual_seed(0)
    model = SVQ(image_size=32, num_slots=3, slot_size=16, num_codebooks=2, codebook_size=8, code_dim=8, hidden_dim=16)
    model.init_prior(embed_dim=16, num_heads=2, num_layers=1)
    return model


def data(split: str, count: int = 24, **arguments) -> ToyDataset:
    return make_dataset("shapes", num_samples=count, image_size=32, max_shapes=2, split=split, **arguments)


def test_everything_is_scored_and_fits_into_json(svq: SVQ) -> None:
    svq.train()
    codebook = svq.quantizer.codebook.clone()
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    scores = evaluate_model(svq, data("train"), data("test"), num_generated=10, batch_size=8, progress=False)
    assert torch.equal(torch.rand(2), expected)
    assert svq.training and torch.equal(svq.quantizer.codebook, codebook)
    text = json.dumps(scores, allow_nan=False)
    assert json.loads(text) == scores
    assert set(scores) == {
        "reconstruction", "segmentation", "readout", "blocks", "codebooks", "prior", "generation",
        "attribute_network", "seconds", "notes", "arrays",
    }  # fmt: skip
    assert scores["generation"]["n"] == 10 and sum(scores["generation"]["objects"]) == 10
    assert len(scores["arrays"]["block_factor"]) == 2 and len(scores["arrays"]["code_counts"][0]) == 8
    assert scores["prior"]["n_codes"] == 24 * 3 * 2
    assert any("10000" in line for line in scores["notes"])
    again = evaluate_model(svq, data("train"), data("test"), num_generated=10, batch_size=8, progress=False)
    for part in ("reconstruction", "segmentation", "readout", "blocks", "codebooks", "prior", "generation"):
        assert again[part] == scores[part]


def test_without_a_prior_the_rest_is_scored(svq: SVQ) -> None:
    plain = SVQ(**{name: value for name, value in svq.config.items() if name not in ("kind", "prior")})
    scores = evaluate_model(plain, data("train"), data("test"), progress=False)
    assert scores["prior"] is None
    assert scores["generation"]["n"] == 1000 and scores["generation"]["share"] < 0.5  # random codes
    assert any("no" in line and "prior" in line for line in scores["notes"])
    assert scores["reconstruction"]["mse"] > 0


@pytest.mark.parametrize("kind", ["vqvae", "dvae"])
def test_a_model_without_slots_is_scored_where_it_can_be(kind: str) -> None:
    torch.manual_seed(0)
    model = make_model(kind, {"image_size": 32, "codebook_size": 8, "code_dim": 4, "hidden_dim": 8, "vocab_size": 8})
    prior = model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    scores = evaluate_model(model, data("train", 6), data("test", 6), num_generated=4, progress=False)
    json.dumps(scores, allow_nan=False)
    assert scores["reconstruction"]["mse"] > 0 and scores["reconstruction"]["well_formed"]["n"] == 6
    assert scores["generation"]["n"] == 4
    assert scores["prior"]["shuffled"] is None and scores["prior"]["n_codes"] == 6 * prior.num_slots
    assert [scores[part] for part in ("segmentation", "readout", "blocks", "codebooks")] == [None] * 4
    assert scores["notes"] == [
        "segmentation, readout, blocks, codebooks: the model has no slots to compare with the objects of shapes",
        "prior: patches have one order only, so no shuffled one is scored",
    ]


def test_a_model_without_codes_is_scored_where_it_can_be() -> None:
    torch.manual_seed(0)
    model = SVQ(image_size=32, num_slots=3, slot_size=16, num_codebooks=1, hidden_dim=16, bottleneck="none")
    scores = evaluate_model(model, data("train"), data("test"), progress=False)
    json.dumps(scores, allow_nan=False)
    assert scores["segmentation"]["miou"] is not None and scores["readout"] is not None
    assert [scores[part] for part in ("blocks", "codebooks", "prior", "generation")] == [None] * 4
    expected = {
        "blocks, codebooks: the model has no codes",
        "prior: the model has no codes to learn one of",
        "generation: the model has no codes to draw scenes from",
    }
    assert expected <= set(scores["notes"])


def test_scenes_of_one_object_have_no_fg_ari_and_say_so(svq: SVQ) -> None:
    one = {"num_samples": 12, "image_size": 32, "max_shapes": 1}
    scores = evaluate_model(
        svq,
        make_dataset("shapes", **one),
        make_dataset("shapes", split="test", **one),
        num_generated=2,
        progress=False,
    )
    assert scores["segmentation"]["fg_ari"] is None and scores["segmentation"]["n_fg_ari"] == 0
    assert scores["segmentation"]["miou"] is not None
    assert any("FG-ARI" in line for line in scores["notes"])
    json.dumps(scores, allow_nan=False)


def test_masks_that_hold_no_object_leave_nothing_to_read_and_say_so() -> None:
    dataset = make_dataset("shapes", num_samples=6)
    fit = run_model(Oracle(dataset), dataset)
    nothing = run_model(Oracle(dataset), dataset)
    nothing.vectors, nothing.object_codes = nothing.vectors[:0], nothing.object_codes[:0]
    notes: list[str] = []
    scores = code_scores(fit, nothing, 8, 0, notes)
    assert scores["readout"] is None and any("too few" in line for line in notes)
