"""Nested scores become tables that say what they say, whatever their keys."""

from __future__ import annotations

import pytest

from src.reporting.document import Cell
from src.reporting.tables import estimate, leaves, number, out_of, percent, share_cell, tables_of

SHARE = {"share": 0.829, "count": 829, "n": 1000, "low": 0.8044, "high": 0.8511}


@pytest.mark.parametrize(
    ("value", "key", "said"),
    [
        *((0.95106, "", "0.951"), (29.467, "", "29.5"), (362.04, "", "362"), (12345.6, "", "12,346")),
        *((0.00175163, "", "0.00175"), (0.0000031, "", "3.10e-06"), (0.0, "", "0.00"), (-0.5, "", "-0.500")),
        *((12409, "", "12,409"), (True, "", "yes"), (None, "", "–"), ("bf16", "", "bf16")),
        *((0.9903, "accuracy", "99.0 %"), (0, "block", "1"), (float("nan"), "", "–")),
    ],
)
def test_a_number_as_text(value: float, key: str, said: str) -> None:
    assert number(value, key) == said


def test_estimates_keep_their_interval() -> None:
    assert estimate(SHARE) == Cell("82.9 %", "80.4–85.1", (0.829, 0.8044, 0.8511))
    assert str(estimate(SHARE)) == "82.9 % (80.4–85.1)"
    assert estimate({"share": 0.998, "n": 10}) == Cell("99.8 %")
    assert estimate({"share": None, "count": 0, "n": 0, "low": None, "high": None}) == Cell("–")
    assert estimate({"mean": 0.9312, "low": 0.9241, "high": 0.9388, "n": 50}).text == "0.931"
    assert estimate({"mean": 24.31, "low": 21.0, "high": 27.0, "n": 50}) == Cell("24.3", "21.0–27.0")  # not in 0..1
    assert estimate({"mean": 0.4, "low": None, "high": None, "n": 1}) == Cell("0.400")
    assert estimate({"mean": 4e-5, "low": 4e-5, "high": 4e-5, "n": 2}).text == "0.000040"
    assert estimate({"mean": 0.0, "low": 0.0, "high": 0.0, "n": 2}).text == "0.000"
    assert estimate({"mean": 2.0, "std": 0.5}) == Cell("2.00 ± 0.500")


def test_only_what_lies_between_0_and_1_has_a_place_there() -> None:
    error = {"mean": 0.0012, "low": 0.001, "high": 0.0014, "n": 50}
    assert estimate(error, "mse").track is None and estimate(error, "fg_ari").track == (0.0012, 0.001, 0.0014)


def test_an_interval_without_width_hides_no_number() -> None:
    assert estimate({"mean": 0.00004, "low": 0.00004, "high": 0.00004, "n": 1}).text == "0.000040"


def test_means_of_shares_are_in_per_cent() -> None:
    assert str(share_cell({"mean": 0.387, "low": 0.373, "high": 0.402, "n": 2000})) == "38.7 % (37.3–40.2)"
    assert share_cell(None) == Cell("–") and percent(None) == "–" and percent(0.25) == "25.0 %"
    assert out_of(SHARE) == "829 of 1,000" and out_of({"mean": 0.5, "n": 2000}) == "2,000" and out_of(None) == ""


def test_scores_of_one_kind_are_rows_of_one_table() -> None:
    scores = {
        "colour": {"accuracy": 0.99, "chance": 0.16},
        "x": {"r2": 0.98},
        "n": 40,
    }
    plain, readout = tables_of(scores, "readout")
    assert plain.title == "readout" and plain.rows == [("n", "40")]
    assert readout.head == ["", "accuracy", "chance", "R²"]
    assert readout.rows == [["colour", "99.0 %", "16.0 %", ""], ["x", "", "", "0.980"]]


def test_a_share_that_holds_more_besides_loses_nothing() -> None:
    scores = {**SHARE, "clean": 0.83, "objects": [3, 244, 753], "obeys_rule": SHARE}
    plain, counts = tables_of(scores)
    assert [row[0] for row in plain.rows] == ["share", "clean", "well-formed and obeys the rule"]
    assert plain.head == ("", "value", "of") and plain.rows[0][2] == "829 of 1,000"
    assert counts.head == ["", "0", "1", "2"] and counts.rows == [["scenes by number of objects", "3", "244", "753"]]


def test_keys_that_nobody_knows_are_shown_too() -> None:
    scores = {
        "new_score": 0.5,
        "by_temperature": {"0.5": {"fresh": SHARE, "kept": 1}, "1.0": {"fresh": SHARE, "kept": 2}},
        "each": [{"name": "a", "hits": 1}, {"name": "b", "hits": 2}],
        "deep": {"deeper": {"deepest": 3}},
        "flag": None,
    }
    text = [
        " / ".join([table.title, *(str(cell) for row in table.rows for cell in row)]) for table in tables_of(scores)
    ]
    assert text == [
        " / new score / 0.500 / flag / –",
        "by temperature / 0.5 / 82.9 % (80.4–85.1) / 1 / 1.0 / 82.9 % (80.4–85.1) / 2",
        "each / 1 / a / 1 / 2 / b / 2",
        "deep · deeper / deepest / 3",
    ]


def test_lists_of_one_length_share_a_table_and_long_ones_are_left_out() -> None:
    scores = {"share_used": [0.5, 1.0], "perplexity": [10.0, 20.0], "counts": list(range(500)), "matrix": [[1], [2]]}
    (table,) = tables_of(scores, "codebooks")
    assert table.head == ["", "block 1", "block 2"]
    assert table.rows == [["codes used", "50.0 %", "100.0 %"], ["perplexity", "10.0", "20.0"]]
    assert tables_of({"counts": list(range(500))}) == [] and tables_of(None) == []


def test_what_is_deeper_than_a_row_is_shown_as_far_as_it_can_be() -> None:
    (table,) = tables_of([{"a": [1, 0.5], "b": SHARE}, {"a": {"c": 1}, "b": [[1], [2]]}])
    assert [list(map(str, row)) for row in table.rows] == [["1", "1 · 0.500", "82.9 % (80.4–85.1)"], ["2", "…", "…"]]


def test_every_table_is_as_wide_as_its_head() -> None:
    scores = {
        "a": SHARE,
        "b": 1,
        "c": {"d": {**SHARE, "more": 2}, "e": {"f": 1}},
        "g": [1, 2],
        "h": [{"i": 1}, {"j": 2}],
    }
    for table in tables_of(scores):
        assert {len(row) for row in table.rows} == {len(table.head)}, table


def test_leaves_are_the_numbers_and_where_they_are() -> None:
    found = dict(leaves({"a": {"b": 1, "c": None, "d": [1, 2]}, "e": True, "f": "text", "g": 0.5}))
    assert found == {("a", "b"): 1.0, ("g",): 0.5}


def test_what_is_no_measurement_is_no_leaf() -> None:
    kid = {"mean": 0.5, "std": 0.1, "n": 9}
    edits = {"changed": SHARE, "changed_by": {"count": 3, "colour": 1}, "block": 2, "n_fit": 5}
    count = {"distance": 0.1, "p": 0.04, "n": 7}
    found = dict(leaves({"edits": edits, "kid": kid, "count": count, "temperature": 1.0, "low": 0.1, "n": 3}))
    assert {".".join(path) for path in found} == {
        *("edits.changed.share", "edits.changed_by.count", "edits.changed_by.colour", "kid.mean", "count.distance"),
    }
