"""The tables of the prior's section, for people: bits, calibration, and scenes drawn as asked.

Blocks and slots are counted from 1 here, as in the figures; report.json counts them from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .document import Block, Cell, Table
from .tables import estimate, number, out_of, percent, share_cell, tables_of, without

Scores = Mapping[str, Any]
Row = list[Cell | str]


def prior_tables(prior: Scores, details: Scores | None) -> list[Block]:
    """Bits in all, by block and by place; calibration; scenes as asked."""
    rows: list[Row] = [["slots in the prior's order", number(prior["canonical"])]]
    if prior.get("shuffled") is not None:
        rows.append(["slots in random order", number(prior["shuffled"])])
    rows.append(["without a prior", number(prior["uniform"])])
    title = f"{number(prior['n_codes'])} codes of {number(prior['n_scenes'])} scenes"
    shown: list[Block] = [Table(("", "bits a code"), rows, title)]
    shown += tables_of(without(prior, "canonical", "shuffled", "uniform", "n_scenes", "n_codes"))
    if details is None:
        return shown
    if details.get("bits") is not None:
        shown += _block_tables(details)
    if details.get("conditions") is not None:
        shown += _condition_tables(details["conditions"])
    found = details.get("completions")
    if found is not None:
        names = {
            "codes_kept": "scenes that keep all codes given, unchanged",
            "objects_kept": "objects given that the judge sees, as they were, in their place",
            "objects_kept_unedited": "… that it sees in the scene as it was: the most that can be",
            "well_formed": "completed scenes that are well-formed",
            "obeys_rule": "… and obey the rule of the data",
        }
        rows = [[words, share_cell(found[key]), out_of(found[key])] for key, words in names.items() if found.get(key)]
        title = f"Completions of {number(found['n_scenes'])} scenes, of which half of the objects were given"
        shown.append(Table(("", "share", "of so many"), rows, title))
    return [*shown, *tables_of(without(details, "bits", "calibration", "frequencies", "conditions", "completions"))]


def _block_tables(details: Scores) -> list[Block]:
    """Bits, calibration and code frequencies by block, bits by place in the order, and the bins of the calibration."""
    bits, calibration, frequencies = (details.get(name) for name in ("bits", "calibration", "frequencies"))
    assert bits is not None
    shuffled = bits.get("shuffled")
    orders = {"bits a code": bits["canonical"], **({} if shuffled is None else {"in random slot order": shuffled})}
    head = ["", *orders]
    rows: list[Row] = [[f"block {n + 1}"] for n in range(len(bits["canonical"]["blocks"]))]
    _widen(rows, *([estimate(one) for one in each["blocks"]] for each in orders.values()))
    if calibration:
        head += ["bits it expects (entropy)", "calibration error"]
        _widen(rows, [estimate(one["entropy"]) for one in calibration], [number(one["ece"]) for one in calibration])
    if frequencies:
        head += ["drawn codes apart", "train codes apart"]
        _widen(rows, *([number(one[key]) for one in frequencies] for key in ("samples", "data")))
    said = "Bits as expected and bits paid are equal for a prior that knows what it does not know."
    if calibration:
        said += (
            " Calibration error (ECE): how far the probability of the likeliest code is from how often it comes true, "
            "on average."
        )
    if frequencies:
        scenes = number(frequencies[0]["n_scenes"])
        said += (
            f" Codes apart: the total variation (0: the same, 1: nothing in common) between the frequencies of codes "
            f"in {scenes} drawn scenes, or {scenes} train scenes (what chance makes), and those of the scored scenes."
        )
    shown: list[Block] = [Table(head, rows, "Block by block"), said]
    if bits["canonical"].get("slots"):
        places: list[Row] = [[f"slot {n + 1} in the order"] for n in range(len(bits["canonical"]["slots"]))]
        _widen(places, *([estimate(one) for one in each["slots"]] for each in orders.values() if each.get("slots")))
        shown.append(Table(["", *(name for name, each in orders.items() if each.get("slots"))], places, "Slot by slot"))
    if calibration:
        bins: list[Row] = []
        for place, cells in enumerate(zip_longest(*(one["bins"] for one in calibration))):
            count = len(calibration[0]["bins"])
            limits = f"{100 * place / count:.0f}–{100 * (place + 1) / count:.0f} %"
            bins.append([limits, *(_bin(one) for one in cells)])
        head = ["probability of the likeliest code", *(f"block {n + 1}" for n in range(len(calibration)))]
        title = "Calibration: how often the likeliest code was the right one (of so many)"
        shown.append(Table(head, bins, title, folded=True))
    return shown


def _bin(one: Mapping[str, Any] | None) -> str:
    return "" if not one or not one["n"] else f"{100 * one['right']:.0f} % ({one['n']:,})"


def _condition_tables(found: Scores) -> list[Block]:
    words = {"one": "an object of a colour and shape", "two": "two objects alike in colour and shape"}
    rows: list[Row] = []
    for key, name in words.items():
        if found.get(key) is not None:
            each = found[key]
            cells = [
                share_cell(each["fulfilled"]),
                share_cell(each["well_formed"]),
                out_of({"n": each["fulfilled"]["n"]}),
            ]
            rows.append([name, number(each["n_conditions"]), *cells])
    head = ("scenes drawn to hold", "conditions", "seen to hold it", "well-formed", "scenes")
    shown: list[Block] = [Table(head, rows, "Conditions")]
    if found.get("each"):
        rows = [
            [
                each["asked"],
                f"{each['fulfilled']} of {each['n']}",
                f"{each['well_formed']} of {each['n']}",
                percent(each["in_data"]),
                percent(None if each["log_probability"] is None else math.exp(each["log_probability"])),
                number(each["effective"]),
            ]
            for each in found["each"]
        ]
        head = (
            "asked for",
            "seen to hold it",
            "well-formed",
            "scored scenes that do",
            "probability by the prior",
            "worth so many independent scenes",
        )
        shown.append(Table(head, rows, "Each condition", folded=True))
    return shown


def _widen(rows: Sequence[Row], *columns: Sequence[Cell | str]) -> None:
    for row, *cells in zip(rows, *columns, strict=True):
        row += cells
