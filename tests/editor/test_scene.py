"""Edits of codes, and files of codes."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.editor.scene import MOST_BYTES, MOST_UNDOS, EditableScene, codes_from_json, codes_to_json
from src.editor.texts import LANGUAGES, Refused

CODES = ((0, 1), (2, 3), (4, 5))
SCENE = EditableScene(CODES, codebook_size=8)


def refused(do, *arguments) -> Refused:
    with pytest.raises(Refused) as error:
        do(*arguments)
    for language in LANGUAGES:
        line = error.value.line(language)
        assert line and "\n" not in line and "{" not in line.replace('{"codes"', "")
    return error.value


def test_one_code_changes_and_nothing_else():
    after = SCENE.with_code(1, 0, 7)
    assert after.codes == ((0, 1), (7, 3), (4, 5))
    assert after.before == CODES and SCENE.codes == CODES
    assert SCENE.before == CODES  # nothing has happened yet


def test_a_swap_exchanges_one_block_and_twice_it_is_none():
    after = SCENE.swapped(1, 0, 2)
    assert after.codes == ((0, 5), (2, 3), (4, 1))
    assert after.past == (CODES,)  # one edit, not two
    assert after.swapped(1, 2, 0).codes == CODES


def test_a_slot_is_replaced():
    assert SCENE.with_slot(2, (1, 1)).codes == ((0, 1), (2, 3), (1, 1))


def test_undo_goes_back_edit_by_edit():
    second = SCENE.with_code(0, 0, 5).with_code(0, 1, 5)
    assert second.undone().codes == ((5, 1), (2, 3), (4, 5))
    assert second.undone().undone() == SCENE
    assert refused(SCENE.undone).key == "nothing_to_undo"


def test_what_changes_nothing_is_no_edit():
    assert SCENE.with_code(0, 0, 0) is SCENE


def test_the_past_has_an_end():
    scene = SCENE
    for i in range(MOST_UNDOS + 10):
        scene = scene.with_code(0, 0, 1 + i % 2)
    assert len(scene.past) == MOST_UNDOS


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda: SCENE.with_code(3, 0, 0), "bad_slot"),
        (lambda: SCENE.with_code(-1, 0, 0), "bad_slot"),
        (lambda: SCENE.with_code(0, 2, 0), "bad_block"),
        (lambda: SCENE.with_code(0, 0, 8), "bad_code"),
        (lambda: SCENE.with_code(0, 0, -1), "bad_code"),
        (lambda: SCENE.swapped(0, 0, 3), "bad_slot"),
        (lambda: SCENE.swapped(-1, 0, 1), "bad_block"),
        (lambda: SCENE.with_slot(0, (1,)), "wrong_shape"),
    ],
)
def test_what_is_out_of_range_is_refused(edit, key):
    assert refused(edit).key == key


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 7)), max_size=20))
def test_all_edits_undone_leave_the_scene(edits):
    scene = SCENE
    for edit in edits:
        scene = scene.with_code(*edit)
    while scene.past:
        scene = scene.undone()
    assert scene == SCENE


# ------------------------------------------------------------------ files


def test_a_file_of_codes_is_read_as_it_was_written():
    text = codes_to_json(CODES)
    assert codes_from_json(text.encode(), 3, 2, 8) == CODES
    content = json.loads(text)
    assert content["shape"] == [1, 3, 2] and content["codes"] == [[[0, 1], [2, 3], [4, 5]]]


def test_of_several_scenes_the_first_is_read():
    data = json.dumps({"codes": [[[1, 1]] * 3, [[2, 2]] * 3]}).encode()
    assert codes_from_json(data, 3, 2, 8) == ((1, 1),) * 3


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"", "not_codes"),
        (b"\xff\xfe", "not_codes"),
        (b"[]", "not_codes"),
        (b"{}", "not_codes"),
        (b"null", "not_codes"),
        (b'{"codes": []}', "not_codes"),
        (b'{"codes": 3}', "not_codes"),
        (b'{"codes": {"0": 1}}', "not_codes"),
        (b'{"codes": "abc"}', "not_codes"),
        (b"[" * 100_000, "not_codes"),
        (b'{"codes": [' + b"[" * 90_000 + b"]" * 90_000 + b"]}", "not_codes"),
        (b'{"codes": [[[0, 1], [2, 3]]]}', "wrong_shape"),
        (b'{"codes": [[[0, 1], [2, 3], [4]]]}', "wrong_shape"),
        (b'{"codes": [[[0, 1, 2], [2, 3, 4], [4, 5, 6]]]}', "wrong_shape"),
        (b'{"codes": [[[0, 1], [2, 3], [4, 8]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, -1]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, 1.0]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, true]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, NaN]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, null]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, "__import__(\'os\')"]]]}', "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, ' + b"9" * 4000 + b"]]]}", "bad_code"),
        (b'{"codes": [[[0, 1], [2, 3], [4, ' + b"9" * 5000 + b"]]]}", "not_codes"),
        (b" " * (MOST_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_file_of_codes_gets_one_line(data, key):
    assert refused(codes_from_json, data, 3, 2, 8).key == key


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data):
    with contextlib.suppress(Refused):
        codes_from_json(data, 3, 2, 8)
