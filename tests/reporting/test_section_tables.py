"""The tables of a report say what they are of, in words, and lose no number; looked at in published reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from src.reporting.document import Block, Table
from src.reporting.prior_tables import prior_tables
from src.reporting.sample_tables import generation_tables
from src.reporting.section_tables import (
    code_tables,
    downstream_tables,
    edit_tables,
    judge_tables,
    reconstruction_tables,
    segmentation_tables,
    semantics_tables,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"


def scores_of(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name / "report" / "seed_0" / "report.json").read_text(encoding="utf-8"))["scores"]


@pytest.fixture(scope="module")
def sprites() -> dict[str, Any]:
    return scores_of("sprites")


def tables(blocks: list[Block]) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


def rows(table: Table) -> list[list[str]]:
    return [list(map(str, row)) for row in table.rows]


def everything(scores: dict[str, Any]) -> list[Block]:
    codes = {name: scores[name] for name in ("readout", "blocks", "codebooks")}
    shown = [*reconstruction_tables(scores), *segmentation_tables(scores), *code_tables(codes)]
    shown += semantics_tables(scores["semantics"])
    for name, show in (
        ("interventions", edit_tables),
        ("downstream", downstream_tables),
        ("attribute_network", judge_tables),
    ):
        shown += show(scores[name]) if scores.get(name) is not None else []
    if scores.get("prior") is not None:
        shown += [*prior_tables(scores["prior"], scores["prior_details"]), *generation_tables(scores)]
    return shown


@pytest.mark.parametrize("name", ["shapes", "sprites", "clevr_like_hard", "clevr_like_hard_sysbinder"])
def test_tables_are_whole_and_in_words(name: str) -> None:
    shown = everything(scores_of(name))
    for table in tables(shown):
        assert {len(row) for row in table.rows} == {len(table.head)}, table
        for text in (table.title, *table.head, *(cell for row in rows(table) for cell in row)):
            assert "…" not in text.lstrip("… ") and not re.search(r"[a-z]_[a-z]|\b(n|ece|nmi)\b", text), (table, text)
    assert len(shown) == len({json.dumps(rows(t)) for t in tables(shown)}) + sum(isinstance(b, str) for b in shown)


def test_no_edit_and_edits_are_held_against_what_they_say(sprites: dict[str, Any]) -> None:
    before, after, by_factor = tables(edit_tables(sprites["interventions"]))
    assert before.head[0] == "against the truth" and [row[0] for row in rows(before)] == ["no edit"]
    assert after.head[0] == by_factor.head[0] == "against the unedited decode"
    assert "no edit" not in [row[0] for row in rows(after)] and len(after.rows) == 4
    none = sprites["interventions"]["pooled"]["none"]
    assert rows(before)[0][2].startswith(f"{100 * (1 - none['intended']['share']):.1f} %")
    assert rows(by_factor)[0][0] == f"colour (block {sprites['interventions']['factors']['colour']['block'] + 1})"


def test_where_nothing_can_be_edited_there_is_a_sentence_and_no_table_of_dashes(sprites: dict[str, Any]) -> None:
    nothing = {"share": None, "count": 0, "n": 0, "low": None, "high": None}
    counts = {**dict.fromkeys(("intended", "changed", "well_formed"), nothing), "outside": {"mean": None, "n": 0}}
    found = {"scenes": 3, "factors": {"colour": None}, "pooled": dict.fromkeys(("none", "edit", "swap"), counts)}
    assert edit_tables(found) == ["No object of the 3 scenes looked at could be edited."]
    some = sprites["interventions"]
    shown = edit_tables({**some, "pooled": {**some["pooled"], "swap": counts}})
    assert "swapped with another object" not in [row[0] for row in rows(tables(shown)[1])]
    assert any("Not possible in these scenes: swapped with another object." in b for b in shown if isinstance(b, str))


def test_a_task_is_one_table(sprites: dict[str, Any]) -> None:
    task, heads, probes = tables(downstream_tables(sprites["downstream"]))
    assert "odd one out" in task.title.lower() and not task.folded and heads.folded and probes.folded
    assert [row[0] for row in rows(task)] == [
        *("code vectors", "code indices", "before quantization", "shape and colour, read by probes", "chance"),
    ]
    each = sprites["downstream"]["representations"]["indices"]
    cells = [each["in"], each["out"], each["permuted"]["in"], each["permuted"]["out"]]
    assert [cell.split()[0] for cell in rows(task)[1][1:]] == [f"{100 * cell['mean']:.1f}" for cell in cells]
    said = " ".join(block for block in downstream_tables(sprites["downstream"]) if isinstance(block, str))
    assert "10,000 scenes of the train split" in said
    said = " ".join(b for b in downstream_tables(scores_of("clevr_like_hard")["downstream"]) if isinstance(b, str))
    assert "pairs of objects of the train split" in said and "tone, hue, shape, material, size" in said


def test_information_is_shown_as_counted_and_as_chance_gives_it(sprites: dict[str, Any]) -> None:
    found = sprites["semantics"]
    (raw,) = [table for table in tables(semantics_tables(found)) if "as counted" in table.title]
    assert raw.head == ["", *found["factors"]] and raw.rows[0][0] == "block 1"
    assert raw.rows[1][1] == f"{found['information']['nmi'][1][0]:.3f} ({found['information']['permuted'][1][0]:.3f})"


def test_numbers_have_no_accuracy_and_classes_no_r2(sprites: dict[str, Any]) -> None:
    readout = tables(code_tables({name: sprites[name] for name in ("readout", "blocks", "codebooks")}))[0]
    of = {row[0]: row[1:] for row in rows(readout)}
    assert of["x"][:2] == ["", ""] and float(of["x"][2]) > 0.9 and of["colour"][2] == "" and "%" in of["colour"][1]


def test_calibration_has_its_bins_and_blocks_are_counted_from_one(sprites: dict[str, Any]) -> None:
    shown = tables(prior_tables(sprites["prior"], sprites["prior_details"]))
    (bins,) = [table for table in shown if table.title.startswith("Calibration")]
    assert list(bins.head[1:]) == [f"block {n}" for n in range(1, 6)] and len(bins.rows) == 10
    for row, one in zip(rows(bins), sprites["prior_details"]["calibration"][0]["bins"], strict=True):
        assert row[1] == ("" if not one["n"] else f"{100 * one['right']:.0f} % ({one['n']:,})")
    (by_block,) = [table for table in shown if table.title == "Block by block"]
    assert rows(by_block)[0][0] == "block 1" and "calibration error" in by_block.head


def test_drawn_scenes_stand_beside_true_ones_and_temperatures_have_their_novelty(sprites: dict[str, Any]) -> None:
    shown = tables(generation_tables(sprites))
    (new,) = [table for table in shown if table.title.startswith("New and varied")]
    assert list(new.head[1:]) == ["drawn", "test scenes", "train scenes"]
    (warm,) = [table for table in shown if table.title.startswith("Temperatures")]
    first = sprites["temperatures"][0]
    assert rows(warm)[0][3].startswith(f"{100 * first['novelty']['unplaced']['share']:.1f} %")


def test_scenes_that_nobody_judges_have_their_bits(sprites: dict[str, Any]) -> None:
    temperatures = [{**each, "accuracy": None, "novelty": None} for each in sprites["temperatures"]]
    samples = {key: None for key in sprites["samples"]} | {"n": 5, "temperature": 1.0}
    shown = generation_tables({"generation": None, "samples": samples, "temperatures": temperatures})
    assert shown[0] == "5 scenes, drawn at temperature 1."
    assert list(tables(shown)[0].head) == ["temperature", "bits a code"]  # and no columns of dashes


def test_counts_are_tested_against_what_the_same_judge_reads(sprites: dict[str, Any]) -> None:
    samples = sprites["samples"]
    count = {**samples["distributions"]["count"], "p_read": 0.25, "n": 1000, "n_true": 1000}
    for found, p in ((samples["distributions"]["count"], samples["distributions"]["count"]["p"]), (count, 0.25)):
        shown = generation_tables({"samples": {**samples, "distributions": {"count": found}}})
        (apart,) = [table for table in tables(shown) if table.title.startswith("How far apart")]
        assert apart.head[-1] == "p" and float(rows(apart)[0][-1]) == pytest.approx(p)


def test_scores_that_nobody_knows_are_shown_as_well(sprites: dict[str, Any]) -> None:
    shown = everything({**sprites, "prior": {**sprites["prior"], "new_score": 0.125}})
    assert ["new score", "0.125"] in [row for table in tables(shown) for row in rows(table)]
