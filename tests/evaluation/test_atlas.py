"""The atlas of a model whose codes are the factors says so, in numbers and in pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from src.evaluation.atlas import (
    EXEMPLARS,
    SCENES,
    AtlasCode,
    _chosen,
    _tied,
    atlas_figure,
    atlas_table,
    code_words,
    codebook_atlas,
)
from src.models.svq_model import SVQ
from tests.evaluation.factor_model import COLOUR, SHAPE, X, Y, subject_of


@pytest.fixture(scope="module")
def subject():
    return subject_of()


def test_codes_that_are_factors_are_pure_and_look_like_it(subject) -> None:
    atlas = codebook_atlas(subject)
    assert atlas is not None
    assert {atlas[block].factor for block in (COLOUR, SHAPE, X, Y)} == {"colour", "shape", "x", "y"}
    colours = atlas[COLOUR]
    assert [code.value for code in colours.codes] == list(subject.test_ds.colour_names)
    assert colours.used == 6 and sum(code.uses for code in colours.codes) == colours.objects
    assert sum(code.share for code in colours.codes) == pytest.approx(1)
    assert all(code.purity == 1 and code.code == i for i, code in enumerate(colours.codes))
    for code, rgb in zip(colours.codes, subject.test_ds.colour_values, strict=True):
        wanted = (255 * rgb).byte().numpy()
        for picture in [*code.exemplars, *code.decoded]:
            assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8
            assert (picture == wanted).all(axis=-1).any()
        for picture in code.decoded:  # what is in the middle has the colour, whatever it had before
            assert picture[8, 8].tolist() == wanted.tolist()
        assert 0 < len(code.exemplars) <= EXEMPLARS and len(code.decoded) == SCENES == len(colours.typical)
    assert atlas[X].codes[0].decoded[0].shape == (32, 32, 3)  # places need the whole picture
    table = atlas_table(atlas)
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert set(table[0]["codes"][0]) == {"code", "uses", "share", "value", "purity"}
    again = codebook_atlas(subject)
    assert again is not None and np.array_equal(again[0].codes[0].exemplars, colours.codes[0].exemplars)
    assert atlas_figure(atlas[X]).get_figwidth() > 4


def test_ties_and_single_uses_are_called_so() -> None:
    assert _tied(np.array([2, 0, 2, 0, 1]), ("red", "green", "blue")) == ("red", "blue")
    assert _tied(np.array([2, 2, 0]), ("red", "green", "blue")) == ()
    said = [
        code_words(AtlasCode(7, uses, 0.02, "red", purity, [], [], tied))
        for uses, purity, tied in ((10, 0.9, ()), (10, 0.5, ("red", "blue")), (1, 1.0, ()), (9, 1 / 3, tuple("abc")))
    ]
    assert said == [
        "red, 90 % pure, 2.0 % of objects",
        "red or blue, half each, 2.0 % of objects",
        "one object only, red",
        "a or b or c, equally often, 2.0 % of objects",
    ]
    assert code_words(AtlasCode(7, 3, 0.02, None, None, [], [])) == "2.0 % of objects"


def test_every_value_is_shown_before_a_second_code_of_one() -> None:
    uses, value = np.array([9, 8, 7, 0, 2, 1]), np.array([1, 1, 1, -1, 0, 2])
    assert _chosen(uses, value, 3).tolist() == [4, 0, 5]
    assert _chosen(uses, value, 4).tolist() == [4, 0, 1, 5]
    assert _chosen(uses, value, 99).tolist() == [4, 0, 1, 2, 5]


def test_without_codes_there_is_a_line_and_no_atlas(subject) -> None:
    torch.manual_seed(0)
    model, subject.model = subject.model, SVQ(32, num_slots=3, slot_size=16, num_codebooks=1, bottleneck="none")
    assert codebook_atlas(subject) is None and subject.notes.pop().startswith("atlas:")
    subject.model = model
