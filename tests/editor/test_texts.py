"""Every text is there in every language, with the same values to fill in."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from src import editor
from src.configs import schema
from src.data.catalogue import DRAWN, open_split
from src.editor.texts import KOREAN, LANGUAGES, TEXTS, word


@pytest.mark.parametrize("key", TEXTS)
def test_all_languages_say_the_same(key):
    assert tuple(TEXTS[key]) == LANGUAGES
    fields = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in TEXTS[key].values()]
    assert fields[0] == fields[1]
    assert all(text.strip() and "\n" not in text for text in TEXTS[key].values())


def test_languages_are_those_of_the_setting():
    assert ("auto", *LANGUAGES) == schema.LANGUAGES


def test_every_text_is_used():
    """By its name, in quotes; what Gradio is told is one of these, too."""
    files = [path for path in Path(editor.__file__).parent.glob("*.py") if path.name != "texts.py"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert [key for key in TEXTS if not re.search(rf"""["']{key}["']""", source)] == []


def test_what_the_drawn_data_are_made_of_has_a_korean_name():
    for name in DRAWN:
        data = open_split(name, "train", num_images=1)
        words = {*data.scored_factors, *data.class_names["colour"]}
        assert words - set(KOREAN) == set()
    assert word("en", "red") == "red" and word("ko", "red") == "빨강"
    assert word("ko", "never heard of") == "never heard of"
