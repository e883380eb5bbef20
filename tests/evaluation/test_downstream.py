"""A head solves its task from representations that tell the objects' values, also for values it has not met."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.data.base import SceneDataset
from src.data.property_comparison import make_questions
from src.data.sprites import SpritesDataset
from src.data.toy_datasets import ShapesDataset, ToyDataset
from src.evaluation import downstream
from src.evaluation.downstream import Examples, Part, answers_right, downstream_figures, downstream_scores, fit_head
from src.evaluation.passes import run_model
from src.evaluation.sameness_head import REFERENCES, SamenessHead, Standardised
from src.evaluation.subject import Subject
from src.evaluation.tokens import Tokens
from src.models.code_model import CodeModel


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"FIT_SCENES": 1500, "TEST_SCENES": 200, "STEPS": 200, "BATCH": 64, "SEEDS": 2}
    for name, value in sizes.items():
        monkeypatch.setattr(downstream, name, value)


def contents_of(dataset: SceneDataset, noise: float = 0.0) -> Tensor:
    """Of each object a random direction for its shape, one for its colour, and its place; the last slot is empty."""
    generator = torch.Generator().manual_seed(0)
    directions = {"shape": torch.randn(12, 16, generator=generator), "colour": torch.randn(7, 16, generator=generator)}
    factors = dataset.factors
    told = [table[factors[name].clamp(min=0)] for name, table in directions.items()]
    objects = torch.cat([*told, factors["x"].nan_to_num()[..., None], factors["y"].nan_to_num()[..., None]], dim=-1)
    objects = objects * factors["present"][..., None]
    slots = torch.cat([objects, torch.zeros_like(objects[:, :1])], dim=1)
    return slots + noise * torch.randn(slots.shape, generator=generator)


def holders_of(dataset: SceneDataset) -> Tensor:
    present = dataset.factors["present"]
    return torch.eye(present.shape[1], present.shape[1] + 1, dtype=torch.bool) & present[..., None]


def odd_part(subset: str, split: str, count: int, contents: dict[str, Tensor] | None = None) -> Part:
    dataset = SpritesDataset(count, 32, 4, split, subset=subset)
    holders = holders_of(dataset)
    factors = dataset.factors
    odd = downstream.odd_one_out(factors["shape"], factors["colour"], factors["present"])
    contents = {"vectors": contents_of(dataset)} if contents is None else contents
    return Part(dataset, Tokens(contents, holders, placed=False), Examples(torch.arange(count), holders, odd))


@pytest.mark.slow
def test_perfect_vectors_solve_odd_one_out_for_values_never_met() -> None:
    fit, near, far = odd_part("in", "train", 1500), odd_part("in", "test", 200), odd_part("out", "test", 200)
    head = fit_head(fit, "vectors", 0)
    assert answers_right(head, "vectors", near)[0].float().mean() > 0.97
    assert answers_right(head, "vectors", far)[0].float().mean() > 0.8  # in directions of which it has seen none
    control = fit_head(fit, "vectors", 0, permuted=True)
    for part in (near, far):
        assert answers_right(control, "vectors", part)[1].mean() == pytest.approx(0.25, abs=0.06)


@pytest.mark.slow
def test_noise_solves_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    fit, near = (
        odd_part("in", split, count, {"vectors": torch.randn(count, 5, 8, generator=generator)})
        for split, count in (("train", 1000), ("test", 300))
    )
    head = fit_head(fit, "vectors", 0)
    assert 0.1 < answers_right(head, "vectors", near)[0].float().mean() < 0.33


def test_the_same_seed_gives_the_same_head_and_leaves_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "STEPS", 3)
    fit = odd_part("in", "train", 200)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (fit_head(fit, "vectors", 0, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.mark, other.mark)


def test_objects_that_no_slot_holds_are_answered_wrongly() -> None:
    fit = odd_part("in", "train", 200)
    odd = fit.examples.answer
    fit.examples.options = fit.examples.options.clone()
    fit.examples.options[torch.arange(100), odd[:100]] = False
    head = SamenessHead(Standardised(fit.tokens.contents["vectors"]), 5).eval()
    right, sure = answers_right(head, "vectors", fit)
    assert not right[:100].any() and not sure[:100].any() and (sure[100:] > 0).all()
    loss = downstream._loss(head, fit.tokens.contents["vectors"], fit.examples, torch.arange(100))
    assert loss == 0  # nothing to learn from these


def comparison_part(dataset: SceneDataset, held_out: bool) -> Part:
    asked = make_questions(dataset, held_out)
    holders = holders_of(dataset)
    marked = torch.stack([holders[asked.scene, asked.first], holders[asked.scene, asked.second]], dim=1)
    tokens = Tokens({"vectors": contents_of(dataset)}, holders, placed=False)
    return Part(dataset, tokens, Examples(asked.scene, marked, asked.same, asked.asked))


@pytest.mark.slow
def test_perfect_vectors_compare_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "STEPS", 400)
    train, test = ShapesDataset(1500, 32), ShapesDataset(400, 32, split="test")
    fit, near, far = comparison_part(train, False), comparison_part(test, False), comparison_part(test, True)
    head = fit_head(fit, "vectors", 0)
    assert answers_right(head, "vectors", near)[0].float().mean() > 0.95
    assert answers_right(head, "vectors", far)[0].float().mean() > 0.9
    control = fit_head(fit, "vectors", 0, permuted=True)
    assert answers_right(control, "vectors", near)[1].mean() == pytest.approx(0.5, abs=0.1)


def test_what_is_the_same_for_all_tokens_changes_no_relation() -> None:
    """Scores do not depend on the order of slots, nor on a shift of all contents, references aside."""
    torch.manual_seed(0)
    contents = torch.randn(3, 5, 6)
    reader = Standardised(contents)
    head = SamenessHead(reader, 5).eval()
    order = torch.randperm(5)
    with torch.inference_mode():
        scores = head(contents)
        assert torch.allclose(head(contents[:, order]), scores[:, order], atol=1e-5)
        head.references.add_(1.0 / reader.scale)
        assert REFERENCES and torch.allclose(head(contents + 1.0), scores, atol=1e-4)


def test_patches_are_told_where_they_are() -> None:
    torch.manual_seed(0)
    contents = torch.randn(3, 4, 6)
    head = SamenessHead(Standardised(contents), 4, placed=True).eval()
    order = torch.tensor([1, 0, 3, 2])
    with torch.inference_mode():
        assert not torch.allclose(head(contents[:, order]), head(contents)[:, order], atol=1e-4)


# ---------------------------------------------------------------------- the whole section


class Knowing(CodeModel):
    """Slots that tell shape, colour and place, from the ground truth of the pictures it was made with."""

    kind = "knowing"

    def __init__(self, *datasets: ToyDataset) -> None:
        super().__init__({}, datasets[0].max_shapes + 1, 2, 12)
        self.weight = nn.Parameter(torch.zeros(1))
        self.answers = {}
        for dataset in datasets:
            contents, slots = contents_of(dataset), dataset.max_shapes + 1
            codes = torch.zeros(len(dataset), slots, 2, dtype=torch.int64)
            codes[:, :-1] = torch.stack([dataset.factors["shape"], dataset.factors["colour"]], dim=-1).clamp(min=0)
            for i, image in enumerate(dataset.images):
                self.answers[image.numpy().tobytes()] = contents[i], codes[i], dataset.instances[i]

    @property
    def has_slots(self) -> bool:
        return True

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        found = [self.answers[(one * 255).round().to(torch.uint8).numpy().tobytes()] for one in image]
        vectors, codes, owner = (torch.stack(parts) for parts in zip(*found, strict=True))
        order = (torch.arange(self.num_slots) + 1) % self.num_slots
        masks = (owner[:, None] == order[:, None, None]).float()[:, :, None]
        attention = nn.functional.avg_pool2d(masks[:, :, 0], 4).flatten(2)
        return {"slots": vectors, "quantized": vectors, "codes": codes, "masks": masks, "attention": attention}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        return {"encoder": [self.weight]}

    def encode(self, image: Tensor) -> Tensor:
        return self(image)["codes"]

    def paint(self, codes: Tensor) -> Tensor:
        pytest.fail("what is asked downstream needs no picture painted")


def subject_of(model: CodeModel, train_ds: SceneDataset, test_ds: SceneDataset) -> Subject:
    passes: dict[str, Any] = {"fit": run_model(model, train_ds), "test": run_model(model, test_ds)}
    settings: dict[str, Any] = {"network": None, "network_report": None, "device": torch.device("cpu")}
    return Subject(model=model, train_ds=train_ds, test_ds=test_ds, **passes, **settings, progress=False)


@pytest.mark.slow
def test_the_section_of_sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FIT_SCENES": 600, "TEST_SCENES": 60, "STEPS": 20}.items():
        monkeypatch.setattr(downstream, name, value)
    train_ds, test_ds = SpritesDataset(300, 32), SpritesDataset(40, 32, split="test")
    seen = [
        test_ds.of_subset(subset, split, count)
        for subset, split, count in (("in", "train", 600), ("in", "test", 60), ("out", "test", 60))
    ]
    subject = subject_of(Knowing(train_ds, test_ds, *seen), train_ds, test_ds)
    scores = downstream_scores(subject)
    assert scores is not None and json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert scores["task"] == "odd_one_out" and scores["chance"] == 0.25 and scores["n_fit"] == 600
    assert list(scores["representations"]) == ["vectors", "indices", "continuous"]
    for found in scores["representations"].values():
        assert found["in"]["n"] == found["out"]["n"] == 60
        assert [each["n"] for each in found["seeds"]["out"]] == [60, 60]
        total = sum(each["count"] for each in found["seeds"]["in"])
        assert found["in"]["mean"] == pytest.approx(total / 120)
    assert scores["readout"]["shape"]["out"]["share"] > 0.95 and scores["readout"]["in"]["share"] > 0.9
    assert subject.notes == [] and "downstream" in subject.seconds
    figure = downstream_figures(subject, scores)["downstream"]
    groups = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert groups == ["code vectors", "code indices", "before quantization", "read by probes"]


class ClevrLikeDescribed(SceneDataset):
    """Four scenes of two objects that have so many materials."""

    name, split, image_size, has_instances, has_factors = "described", "test", 32, True, True
    scored_factors = ("colour", "shape", "material")

    def __init__(self, materials: int) -> None:
        table = torch.tensor([[0, 1], [1, 0], [0, 0], [1, 1]])
        self._factors = {"present": table >= 0, "colour": table, "shape": table, "material": table % materials}

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self.scored_factors, ("one", "two"))

    @property
    def factors(self) -> dict[str, Tensor]:
        return self._factors

    @property
    def images(self) -> Tensor:
        pytest.fail("questions come from the factors alone")

    def __len__(self) -> int:
        return 4


def test_what_is_lacking_is_said() -> None:
    train_ds, test_ds = ShapesDataset(20, 32, max_shapes=1), ShapesDataset(10, 32, max_shapes=1, split="test")
    subject = subject_of(Knowing(train_ds, test_ds), train_ds, test_ds)
    assert downstream_scores(subject) is None and downstream_figures(subject, None) == {}
    assert downstream_scores(subject, "odd_one_out") is None
    assert downstream_scores(subject, "property_comparison") is None
    assert [line.split(": ")[1] for line in subject.notes] == [
        "no task is defined for shapes",
        "shapes has no odd one out; only sprites have",
        "no scene of shapes has two objects to compare",
    ]
    with pytest.raises(ValueError, match="unknown; choose one of: odd_one_out, property_comparison"):
        downstream_scores(subject, "counting")


def test_splits_that_do_not_ask_the_same_are_said() -> None:
    train_ds, test_ds = (ClevrLikeDescribed(values) for values in (2, 1))
    subject = subject_of(Knowing(ShapesDataset(4, 32)), ShapesDataset(4, 32), ShapesDataset(4, 32))
    subject.train_ds, subject.test_ds = train_ds, test_ds
    assert downstream_scores(subject, "property_comparison") is None
    assert subject.notes == [
        "downstream: colour, shape, material and colour, shape vary in the splits of described; use more scenes"
    ]


def test_too_few_questions_are_said() -> None:
    train_ds, test_ds = ShapesDataset(30, 32), ShapesDataset(10, 32, split="test")
    subject = subject_of(Knowing(train_ds, test_ds), train_ds, test_ds)
    assert downstream_scores(subject, "property_comparison") is None
    assert len(subject.notes) == 1 and "are needed; use more scenes" in subject.notes[0]
