"""Edits of codes that are the factors do what they say and nothing else; of entangled or dead ones they do not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from src.evaluation.interventions import (
    EDIT,
    NONE,
    RANDOM,
    SWAP,
    Edit,
    Picture,
    Scene,
    compare,
    find_handles,
    intervention_scores,
    make_edits,
    make_swap,
)
from src.evaluation.passes import run_model
from src.models.svq_model import SVQ
from tests.evaluation.factor_model import COLOUR, SHAPE, X, Y, subject_of


@pytest.fixture(scope="module")
def perfect():
    return subject_of()


def test_perfect_codes_do_what_they_say_and_nothing_else(perfect) -> None:
    scores = intervention_scores(perfect)
    assert scores is not None and json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert {name: found["block"] for name, found in scores["factors"].items()} == {
        "colour": COLOUR,
        "shape": SHAPE,
        "x": X,
        "y": Y,
    }
    for found in [*scores["factors"].values(), scores["pooled"]]:
        assert found[EDIT]["intended"]["share"] == found[SWAP]["intended"]["share"] == 1.0
        assert found[EDIT]["changed"]["count"] == found[SWAP]["changed"]["count"] == 0
        assert found[EDIT]["outside"]["mean"] < 1e-3  # the objects stand free
        assert found[RANDOM]["intended"]["share"] == 0.0 and found[RANDOM]["changed"]["share"] > 0.4
        assert found[EDIT]["intended"]["n"] == found[NONE]["intended"]["n"] > 20 and found[SWAP]["intended"]["n"] > 8
    assert scores["factors"]["colour"][NONE]["intended"]["share"] == 1.0
    assert 0.02 < scores["tolerance"] < 1 / 32  # a code covers a sixteenth of the image
    assert scores["pooled"][EDIT]["intended"]["n"] == sum(
        found[EDIT]["intended"]["n"] for found in scores["factors"].values()
    )


def test_a_colour_that_moves_its_object_changes_something_else() -> None:
    subject = subject_of(entangled=True)
    scores = intervention_scores(subject)
    assert scores is not None
    colour = scores["factors"]["colour"]
    assert colour[EDIT]["intended"]["share"] == 1.0
    assert colour[EDIT]["changed"]["share"] == 1.0 and colour[EDIT]["changed_by"]["x"] == colour[EDIT]["changed"]["n"]
    assert colour[EDIT]["changed_by"]["others"] == colour[EDIT]["changed_by"]["count"] == 0
    assert colour[EDIT]["outside"]["mean"] > 0.001
    assert scores["factors"]["shape"][EDIT]["changed"]["share"] == 0.0
    assert scores["factors"]["x"] is None  # no code of any block stands for one place
    assert any("two values of x" in line for line in subject.notes)


def test_a_block_that_nobody_reads_does_nothing() -> None:
    scores = intervention_scores(subject_of(dead=True))
    assert scores is not None
    colour = scores["factors"]["colour"]
    assert colour["block"] == COLOUR
    assert colour[EDIT]["intended"]["share"] == colour[EDIT]["changed"]["share"] == 0.0
    assert colour[SWAP]["intended"]["share"] == 0.0
    assert scores["factors"]["x"][EDIT]["intended"]["share"] == 1.0


def test_scores_are_a_function_of_the_seed(perfect) -> None:
    assert intervention_scores(perfect, scenes=20) == intervention_scores(perfect, scenes=20)


def a_scene(x: tuple[float, ...], size: float = 0.2) -> Scene:
    objects = {
        "colour": np.array([0, 1])[: len(x)],
        "shape": np.array([0, 2])[: len(x)],
        "x": np.array(x),
        "y": np.full(len(x), 0.5),
        "size": np.full(len(x), size),
    }
    at = np.arange(len(x))
    codes = np.array([[0, 0, int(16 * where), 8, 1, 0] for where in x])
    return Scene(0, objects, at, codes, Picture(torch.zeros(3, 64, 64), objects, True), at)


def test_edits_keep_objects_whole_and_apart(perfect) -> None:
    handle, rng = find_handles(perfect)["x"], np.random.default_rng(0)
    for _ in range(50):
        edits = make_edits(a_scene((0.2, 0.7)), 0, handle, 0.02, rng)
        assert edits is not None
        edit, nearest = edits
        ((x, y),) = edit.moved
        assert 0.1 <= x <= 0.5 or x >= 0.9  # 0.2 wide each
        assert x <= 0.9 and y == 0.5
        assert not edit.low[0] <= 0.2 <= edit.high[0]
        changed = edit.codes != edit.scene.codes
        assert changed.sum() == 1 and changed[0, X]
        drawn, chosen, here = (int(codes[0, X]) for codes in (edit.codes, nearest.codes, edit.scene.codes))
        assert nearest.low == edit.low and abs(chosen - here) <= abs(drawn - here)
        rivals = [
            code
            for code in range(16)
            if handle.value[code] == handle.value[chosen] and 0.1 <= handle.place[code] <= 0.9
        ]
        assert chosen in rivals and drawn in rivals
        free = [code for code in rivals if handle.place[code] <= 0.5 or handle.place[code] >= 0.9]
        assert abs(chosen - here) == min(abs(code - here) for code in free)
    touching = a_scene((0.4, 0.5))
    assert make_edits(touching, 0, find_handles(perfect)["colour"], 0.02, rng) is None
    assert make_swap(touching, 0, 1, handle, 0.02) is None
    swap = make_swap(a_scene((0.2, 0.7)), 0, 1, handle, 0.02)
    assert swap is not None and swap.moved == ((0.7, 0.5), (0.2, 0.5))
    assert swap.codes[:, X].tolist() == [11, 3]
    assert make_swap(a_scene((0.2, 0.2), size=0.0), 0, 1, handle, 0.02) is None  # nothing to exchange


@pytest.mark.parametrize(
    ("after", "intended", "changed"),
    [
        ({}, False, set()),
        ({"colour": [5, 1]}, True, set()),
        ({"colour": [5, 2]}, True, {"others"}),
        ({"colour": [5, 1], "shape": [1, 2]}, True, {"shape"}),
        ({"colour": [5, 1], "x": [0.25, 0.7]}, True, {"x"}),
        ({"colour": [5, 1], "x": [0.205, 0.7]}, True, set()),
        ({"colour": [5, 1], "y": [0.5, 0.6]}, True, {"others"}),
        ({"colour": [3, 1], "shape": [1, 2], "y": [0.4, 0.5]}, False, {"shape", "y"}),
    ],
)
def test_what_counts_as_changed(after: dict, intended: bool, changed: set) -> None:
    scene = a_scene((0.2, 0.7))
    edit = Edit(scene, "colour", scene.codes, (0,), (5.0,), (5.0,), ((0.2, 0.5),))
    read = {**scene.true, **{name: np.array(values) for name, values in after.items()}}
    order = [1, 0]  # detections come in any order
    shuffled = {name: values[order] for name, values in read.items()}
    assert compare(scene.true, shuffled, (0,), edit, 0.01) == (intended, frozenset(changed))
    gone = {name: values[1:] for name, values in scene.true.items()}
    assert compare(scene.true, gone, (0,), edit, 0.01) == (False, frozenset({"count"}))


def test_without_a_judge_slots_or_codes_there_is_a_line_and_no_score(perfect) -> None:
    judge, perfect.network = perfect.network, None
    assert intervention_scores(perfect) is None
    assert perfect.notes.pop() == "interventions: no attribute network reads scenes of shapes"
    perfect.network = judge
    torch.manual_seed(0)
    plain = SVQ(image_size=64, num_slots=3, slot_size=16, num_codebooks=1, hidden_dim=8, bottleneck="none").eval()
    model, perfect.model = perfect.model, plain
    assert intervention_scores(perfect) is None
    assert perfect.notes.pop() == "interventions: the model has no codes to edit"
    perfect.model = model
    test = perfect.test
    perfect.test = run_model(model, perfect.test_ds.first(1))
    scores = intervention_scores(perfect)  # one scene only
    assert scores is not None and scores["scenes"] == 1
    edits = scores["pooled"][EDIT]["intended"]["n"]
    assert any(line.startswith(f"interventions: few edits ({edits})") for line in perfect.notes)
    assert any("learned from 300 train scenes, the definition asks for 5,000" in line for line in perfect.notes)
    assert scores["factors"]["colour"][EDIT]["outside"]["low"] is None
    perfect.test = test
