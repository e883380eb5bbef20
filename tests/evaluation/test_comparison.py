"""Settings compared over the seeds that they share, by hand."""

from __future__ import annotations

import pytest

from src.evaluation.comparison import Measure, as_markdown, compare, difference, mean_and_std

MSE = Measure("MSE × 1000", ("reconstruction", "mse"), 1000, 2, higher_is_better=False)


def test_comparing_uses_the_seeds_that_both_have() -> None:
    found = compare([1.0, None, 4.0], [0.5, 2.0, 3.0])
    assert found["mean"] == 2.5 and found["difference"]["n"] == 2 and found["difference"]["mean"] == 0.75
    assert compare([None], [1.0]) == {"mean": None, "std": None, "difference": None}


def test_two_settings_of_two_seeds_by_hand() -> None:
    first, second = [MSE.of(0.002), MSE.of(0.004)], [MSE.of(0.001), MSE.of(0.002)]
    row = compare(second, first)
    assert mean_and_std(MSE, row) == "1.50 ± 0.71"  # of 1 and 2
    # -1 and -2: mean -1.5, std 0.7071, and every mean of resamples lies between the two
    assert difference(MSE, row) == "-1.50 [-2.00, -1.00], d = -2.1"
    assert row["difference"]["p"] is None  # two pairs cannot reach it


def test_what_is_not_known_is_a_dash() -> None:
    row = compare([None, None], [1.0, 2.0])
    assert mean_and_std(MSE, row) == difference(MSE, row) == "–"
    assert mean_and_std(MSE, compare([3.0], [3.0])) == "3.00" and difference(MSE, compare([3.0], [3.0])) == "+0.00"


@pytest.mark.parametrize(("better", "said"), [(True, " (higher is better)"), (False, " (lower is better)"), (None, "")])
def test_a_heading_says_which_way_is_better(better: bool | None, said: str) -> None:
    assert Measure("objects", ("objects",), higher_is_better=better).heading == f"objects{said}"


def test_tables_have_a_column_for_each_setting() -> None:
    values = {MSE.label: {"full": [2.0, 4.0], "small": [1.0, 2.0]}}
    compared = {MSE.label: {name: compare(each, [2.0, 4.0]) for name, each in values[MSE.label].items()}}
    lines = as_markdown(values, compared, [MSE], 2).splitlines()
    assert lines[0] == "|  | full | small |" and lines[2] == "| MSE × 1000 | 3.00 ± 1.41 | 1.50 ± 0.71 |"
    assert "| MSE × 1000 | -1.50 [-2.00, -1.00], d = -2.1 |" in lines
