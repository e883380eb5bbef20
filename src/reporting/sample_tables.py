"""The tables of generated scenes, for people: beside what true scenes show that the same judge reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .document import Block, Cell, Table
from .tables import estimate, number, out_of, percent, share_cell, tables_of, without

Scores = Mapping[str, Any]
Row = list[Cell | str]

PROPERTIES = {
    "count": "number of objects",
    "x": "x, in quarters of the width from the left",
    "y": "y, in quarters of the height from the top",
}


def generation_tables(scores: Scores) -> list[Block]:
    """What drawn scenes show beside what true ones do, read by the same judge."""
    formed, samples, temperatures = scores.get("generation"), scores.get("samples"), scores.get("temperatures")
    shown: list[Block] = []
    if samples is not None and samples["n"]:
        top = "" if samples.get("top_k") is None else f", of the {samples['top_k']} likeliest codes"
        shown.append(f"{number(samples['n'])} scenes, drawn at temperature {samples['temperature']:g}{top}.")
    if formed is not None:
        rows: list[Row] = [["well-formed", share_cell(formed), out_of(formed)]]
        if formed.get("obeys_rule") is not None:
            rows.append(
                ["… and obey the rule of the data", share_cell(formed["obeys_rule"]), out_of(formed["obeys_rule"])]
            )
        rows.append(["nothing malformed, whatever the number of objects", percent(formed["clean"]), ""])
        shown.append(Table(("drawn scenes", "share", "of so many"), rows))
        counts = [f"{n:,}" for n in formed["objects"]]
        head = ["objects found", *(str(n) for n in range(len(counts) - 1)), f"{len(counts) - 1} or more"]
        shown.append(Table(head, [["drawn scenes", *counts]]))
    if samples is not None:
        shown += _new_and_varied(samples) + _distributions(samples.get("distributions")) + _distances(samples)
    if temperatures:
        columns = {  # of which those that nobody could judge are left out
            "well-formed": [each.get("accuracy") for each in temperatures],
            "new, with places": [(each.get("novelty") or {}).get("placed") for each in temperatures],
            "new, without places": [(each.get("novelty") or {}).get("unplaced") for each in temperatures],
        }
        columns = {words: column for words, column in columns.items() if any(one is not None for one in column)}
        rows = [
            [f"{each['temperature']:g}", *map(share_cell, judged), number(each["bits_per_code"])]
            for each, *judged in zip(temperatures, *columns.values(), strict=True)
        ]
        head = ("temperature", *columns, "bits a code")
        shown.append(Table(head, rows, f"Temperatures, {number(temperatures[0]['n'])} scenes each"))
    known = ("n", "temperature", "top_k", "accuracy", "novelty", "distinct", "coverage", "distributions")
    more = without(samples or {}, *known, "frechet_attribute", "fid", "kid")
    return [*shown, *tables_of(more)]


def _new_and_varied(samples: Scores) -> list[Block]:
    """Novelty, distinctness and coverage of drawn, true and train scenes."""
    novelty, distinct, coverage = (samples.get(name) for name in ("novelty", "distinct", "coverage"))
    rows: list[Row] = []
    ways = {"placed": "with places", "unplaced": "without places"}
    for way, words in ways.items() if novelty is not None else ():
        assert novelty is not None
        true, train = ((novelty.get(of) or {}).get(way) for of in ("true", "train"))
        rows.append([f"new, {words}", share_cell(novelty[way]), share_cell(true), share_cell(train)])
        if novelty.get("obeying") is not None:
            rows.append([f"… of those that obey the rule, {words}", share_cell(novelty["obeying"][way]), "", ""])
    if distinct is not None:
        for way, words in ways.items():
            both = (share_cell(distinct[way]), share_cell(distinct["true"][way]))
            rows.append([f"unlike each other, {words}", *both, ""])
    if coverage is not None:
        names = {
            "pairs": "pairs of shape and colour",
            "shape": "shapes",
            "colour": "colours",
            "cell": "places (of 4 × 4)",
        }
        for key, words in names.items():
            both = (out_of(coverage[key]), out_of(coverage["true"][key]))
            rows.append([f"{words} that occur, of those in training", *both, ""])
    if not rows:
        return []
    title = "New and varied: well-formed scenes, described by their objects"
    table = Table(("well-formed scenes", "drawn", "test scenes", "train scenes"), rows, title)
    if novelty is None:
        return [table]
    said = (
        f"New: described as none of {number(novelty['n_train'])} train scenes is, by shape and colour of each object, "
        "with or without its place in a grid of 4 × 4; of "
        f"{number(novelty['placed']['n'])} well-formed scenes of each kind. Test scenes show how new the data "
        "themselves are, train scenes how often a misreading makes an old scene look new."
    )
    return [table, said]


def _distributions(found: Mapping[str, Mapping[str, Any]] | None) -> list[Block]:
    """How far drawn scenes are from the data, and the shares that this is the sum of."""
    if not found:
        return []
    rows: list[Row] = []
    test = next((key for key in ("p_read", "p") if any(key in each for each in found.values())), None)
    for name, each in found.items():
        rows.append([PROPERTIES.get(name, name), number(each["distance"]), number(each["true"])])
        if test is not None:
            rows[-1].append(number(each[test]) if test in each else "")
    head = ["from train scenes", "drawn scenes", "test scenes", *([] if test is None else ["p"])]
    said = (
        "Apart: half the sum of the differences of all shares, 0 is the same and 1 nothing in common. As many test "
        "scenes, read by the same judge, are apart by chance and by misreading."
    )
    if test is not None:
        other = "test scenes, read by the same judge," if test == "p_read" else "train scenes, which nobody misreads,"
        said += f" p: how often chance alone would make drawn scenes and {other} differ so much or more."
    shown: list[Block] = [Table(head, rows, "How far apart the scenes' contents are"), said]
    for name, each in found.items():
        rows = [
            ["train scenes", *map(percent, each["data"])],
            ["drawn scenes", *map(percent, each["drawn"])],
        ]
        shown.append(Table(["", *each["names"]], rows, f"Shares: {PROPERTIES.get(name, name)}", folded=True))
    return shown


def _distances(samples: Scores) -> list[Block]:
    """Fréchet, FID and KID: of drawn scenes, other test scenes and reconstructions."""
    names = {"frechet_attribute": "Fréchet, by the judge's features", "fid": "FID", "kid": "KID"}
    columns = {"drawn": "drawn scenes", "true": "other test scenes", "reconstructed": "reconstructions"}
    found = {words: samples[key] for key, words in names.items() if samples.get(key) is not None}
    rows: list[Row] = [
        [words, *(_any(each.get(column)) for column in columns), number(each.get("n"))] for words, each in found.items()
    ]
    if not rows:
        return []
    return [
        Table(("distance from test scenes", *columns.values(), "scenes each"), rows, "Distances, smaller is nearer")
    ]


def _any(value: Any) -> Cell | str:
    return estimate(value) if isinstance(value, Mapping) else number(value)
