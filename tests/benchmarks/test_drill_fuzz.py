"""The drill's fuzzing: it finds what it should, and nothing in the system now."""

from __future__ import annotations

import pytest

pytest.importorskip("hypothesis")
from hypothesis import strategies as st

from benchmarks.drill import fuzz
from benchmarks.drill.case import Settings
from benchmarks.drill.things import bomb, png

FEW = {"CONFIGS": 8, "PICTURES": 150, "CHECKPOINTS": 15, "CODES": 100}


@pytest.mark.slow
def test_a_few_examples_of_everything(tmp_path, monkeypatch):
    for name, count in FEW.items():
        monkeypatch.setattr(fuzz, name, count)
    cases = list(fuzz.fuzz(tmp_path, Settings()))
    assert [case.name for case in cases if not case.passed] == [], cases
    numbers = {case.name: case.numbers for case in cases}
    assert numbers["pictures"]["decoded"] and numbers["pictures"]["refused"]
    assert numbers["codes"]["read"] and numbers["codes"]["refused"]
    assert all(case.numbers["examples"] >= 8 for case in cases[:-1])


def test_the_same_seed_makes_the_same_examples():
    def examples(seed: int) -> list[int]:
        seen: list[int] = []

        def look(number: int) -> str:
            seen.append(number)
            return "seen"

        assert fuzz._tried("", "", st.integers(), look, 20, Settings(seed)).passed
        return seen

    assert examples(1) == examples(1) != examples(2)


def test_a_fault_is_found_and_named():
    def breaks(number: int) -> str:
        return {3: "found"}[number] if number > 100 else "well"

    case = fuzz._tried("numbers", "", st.integers(), breaks, 200, Settings())
    assert not case.passed and "KeyError: 101" in case.happened


@pytest.mark.parametrize("message", ["", "two\nlines", "x" * 10_000])
def test_a_message_that_is_no_line_is_a_fault(message):
    with pytest.raises(AssertionError, match="no line to be read"):
        fuzz.refused(ValueError(message))
    assert fuzz.refused(ValueError("one line")) == "refused"


def test_what_takes_too_long_is_a_fault():
    with pytest.raises(TimeoutError, match="took more than 0 s"), fuzz.at_most(0.05):
        while True:
            pass


def test_whole_files_are_opened(tmp_path):
    assert {fuzz.decode(data) for data in [png(), *fuzz.whole_pictures()]} == {"decoded"}
    assert fuzz.decode(bomb()) == "refused"
    files = fuzz.Files(tmp_path)
    assert files.open_bytes(files.bytes) == "opened" and fuzz.opened(files.folder) == "opened"
    assert files.open_content([]) == "opened"
    assert files.open_content([(("model_config", "prior", "embed_dim"), 10**9)]) == "refused"
