"""Objects asked for in words."""

from __future__ import annotations

import pytest

from src.evaluation.words import in_words, parse

NAMES = {
    "shape": ("circle", "square", "half disc", "cross", "bow tie"),
    "colour": ("red", "blue", "gray"),
    "across": ("left", "right"),
    "down": ("top", "bottom"),
}
RED_CIRCLE = {"shape": 0, "colour": 0}


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("a red circle", [RED_CIRCLE]),
        ("two red circles and a blue square", [RED_CIRCLE, RED_CIRCLE, {"shape": 1, "colour": 1}]),
        ("Red circle, 2 crosses", [RED_CIRCLE, {"shape": 3}, {"shape": 3}]),
        ("a grey half disc at the top left", [{"colour": 2, "shape": 2, "down": 0, "across": 0}]),
        ("three objects", [{}, {}, {}]),
        ("an object on the right side and half discs", [{"across": 1}, {"shape": 2}]),
        ("two bow ties in the bottom right corner,", [{"shape": 4, "down": 1, "across": 1}] * 2),
        ("a red red circle", [RED_CIRCLE]),
    ],
)
def test_what_is_said_is_understood(text, objects) -> None:
    assert parse(text, NAMES, 4) == objects


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a pink circle", "'pink' is not known here; known are numbers .* colour: red, blue, gray"),
        ("zero circles", "'zero' is not known"),
        ("0 circles", "'0' is not known"),
        ("a half", "'half' is not known"),
        ("a red blue circle", "asks for one object of colour red and blue"),
        ("two and a circle", "'two' names no object"),
        ("", "no object is asked for"),
        (" , and", "no object is asked for"),
        ("two circles and three squares", "asks for 5 objects, but scenes of this data have 4 at most; ask for fewer"),
        ("99999999999999999999 circles", "asks for 99999999999999999999 objects"),
    ],
)
def test_what_is_not_is_one_line(text, said) -> None:
    with pytest.raises(ValueError, match=said) as error:
        parse(text, NAMES, 4)
    assert "\n" not in str(error.value)


def test_words_for_a_description_read_as_it() -> None:
    for description in (RED_CIRCLE, {"across": 1}, {"down": 0, "across": 0, "shape": 2, "colour": 2}, {}):
        assert parse(in_words(description, NAMES), NAMES, 4) == [description]
    assert in_words({"shape": 0, "down": 0, "across": 1, "colour": 0}, NAMES) == "red circle at the top right"
