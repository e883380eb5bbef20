"""The tables of each section, for people: what `scores` of report.json hold, in words that are explained where they
stand. What is None is left out; what a section has besides comes last, as `tables_of` shows it. Those of the prior are
in prior_tables.py, those of generated scenes in sample_tables.py.

Blocks and slots are counted from 1 here, as in the figures; report.json counts them from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluation.downstream import REPRESENTATIONS
from .document import Block, Cell, Table
from .tables import estimate, label, number, out_of, percent, share_cell, tables_of, without

Scores = Mapping[str, Any]
Row = list[Cell | str]

TASKS = {
    "odd_one_out": ("Odd one out: whose shape or colour does no other object have?", "scenes"),
    "property_comparison": ("Property comparison: do two marked objects share a property?", "pairs of objects"),
}
EDITS = {
    "edit": "one code, any of the value",
    "nearest": "one code, the nearest of the value",
    "random": "a code of a random other block",
    "swap": "swapped with another object",
}


def reconstruction_tables(scores: Scores) -> list[Block]:
    """MSE, PSNR, SSIM and well-formed reconstructions in one table."""
    plain, details = scores["reconstruction"] or {}, scores.get("reconstruction_details") or {}
    rows: list[Row] = []
    for key in ("mse", "psnr", "ssim"):
        value = details.get(key) if details.get(key) is not None else plain.get(key)
        if value is not None:
            cell, of = (estimate(value, key), value) if isinstance(value, Mapping) else (number(value), plain)
            rows.append([label(key), cell, out_of({"n": of.get("n")})])
    if plain.get("well_formed") is not None:
        rows.append(["well-formed", share_cell(plain["well_formed"]), out_of(plain["well_formed"])])
    more = without(plain, "mse", "psnr", "n", "well_formed") | without(details, "mse", "psnr", "ssim")
    return [*([Table(("", "value", "of so many scenes"), rows)] if rows else []), *tables_of(more)]


def segmentation_tables(scores: Scores) -> list[Block]:
    """A row for the decoder's masks and one for slot attention's."""
    plain, details = scores["segmentation"] or {}, scores.get("segmentation_details")
    if not details:
        return list(tables_of(plain))
    names = {"decoder": "masks of the decoder", "attention": "attention of the slots"}
    keys = ("fg_ari", "ari", "miou", "mbo")
    rows: list[Row] = [
        [names.get(source, label(source)), *(estimate(each[key], key) for key in keys)]
        for source, each in details.items()
        if each is not None
    ]
    said = [
        f"FG-ARI is over the {plain['n_fg_ari']:,} scenes with two objects or more, mIoU and mBO over the "
        f"{plain['n_miou']:,} with an object."
    ]
    held = plain.get("matched")
    if held is not None and held["share"] is not None:
        said.append(f"A slot holds {share_cell(held).text} of the {held['n']:,} objects.")
    more = without(plain, "fg_ari", "fg_ari_attention", "n_fg_ari", "miou", "n_miou", "matched")
    return [Table(["", *map(label, keys)], rows), " ".join(said), *tables_of(more)]


def code_tables(scores: Scores) -> list[Block]:
    """Readout, the best distinct blocks, and the use of the codebooks."""
    shown: list[Block] = []
    readout, blocks, books = (scores.get(name) for name in ("readout", "blocks", "codebooks"))
    if readout is not None:
        factors = {name: each for name, each in readout.items() if isinstance(each, Mapping)}
        rows: list[Row] = []
        for name, each in factors.items():
            if each.get("accuracy") is not None:
                rows.append([name, _share_cell(each, "accuracy"), percent(each.get("chance")), ""])
            elif each.get("r2") is not None:
                rows.append([name, "", "", _mean_cell(each, "r2")])
            else:
                rows.append([name, "–", "–", "–"])
        title = f"Readout of {number(readout['n'])} objects, fitted to {number(readout['n_fit'])}"
        shown.append(
            Table(("", "read rightly", "always the most frequent class", "R² (0: always the mean)"), rows, title)
        )
    if blocks is not None:
        rows = [
            [name, f"block {each['block'] + 1}", _mean_cell(each, "value")]
            for name, each in blocks.items()
            if isinstance(each, Mapping) and each.get("block") is not None
        ]
        if rows:
            title = "Blocks: another one for each of these factors (all factors: in the picture)"
            shown.append(Table(("", "told best by", "share of its information"), rows, title))
    if books is not None:
        rows = [
            [f"block {place + 1}", percent(used), number(perplexity)]
            for place, (used, perplexity) in enumerate(zip(books["share_used"], books["perplexity"], strict=True))
        ]
        title = f"Codebooks, as {number(books['n'])} objects use them"
        shown.append(Table(("", "codes used", "perplexity (as if so many were used alike)"), rows, title))
    return [*shown, *tables_of(without(scores, "readout", "blocks", "codebooks", "arrays"))]


def semantics_tables(found: Scores) -> list[Block]:
    """DCI, what its trees read, purity, and information before it is corrected for chance."""
    shown: list[Block] = []
    dci = {of: found[key] for of, key in (("code indices", "dci_codes"), ("code vectors", "dci_vectors")) if found[key]}
    names = ("disentanglement", "completeness", "informativeness")
    if dci:
        rows: list[Row] = [[of, *(number(each[name]) for name in names)] for of, each in dci.items()]
        shown.append(Table(["DCI, by trees that see", *names], rows))
        factors = list(dict.fromkeys(name for each in dci.values() for name in each["accuracy"]))
        rows = []
        for name in factors:
            each = [one["accuracy"].get(name) for one in dci.values()]
            chance = next((one["chance"] for one in each if one is not None), None)
            rows.append([name, *("–" if one is None else share_cell(one) for one in each), percent(chance)])
        head = ["read rightly by trees from", *dci, "always the most frequent value"]
        shown.append(Table(head, rows, f"What trees read of {number(found['n'])} objects"))
    if found["purity"] is not None:
        rows = [
            [name, f"block {each['block'] + 1}", share_cell(each), percent(each["permuted"])]
            for name, each in found["purity"]["best"].items()
        ]
        head = ("", "purest block", "objects with the majority value of their code", "the same of permuted objects")
        shown.append(Table(head, rows, "Purity"))
    information = found.get("information")
    if information is not None:
        rows = [
            [f"block {place + 1}", *(_with_chance(one, other) for one, other in zip(*pair, strict=True))]
            for place, pair in enumerate(zip(information["nmi"], information["permuted"], strict=True))
        ]
        title = "Normalised mutual information as counted, and in brackets that of permuted objects (chance)"
        shown.append(Table(["", *found["factors"]], rows, title, folded=True))
    return shown


def edit_tables(found: Scores) -> list[Block]:
    """What the judge misreads without any edit, against the truth; and edits, against the unedited decode."""
    pooled, shown = found["pooled"], []
    none = pooled.get("none")
    if not none or not none["intended"]["n"]:
        return [f"No object of the {number(found['scenes'])} scenes looked at could be edited."]
    shown = [
        Table(
            ("against the truth", "objects", "the factor is misread", "anything else is misread", "well-formed"),
            [["no edit", number(none["intended"]["n"]), _rest_of(none["intended"]), *_shares(none)]],
            "Before any edit: the decoded scene against the true one",
        ),
        f"So much is due to the judge and to the decoder. Pixels away from the object differ from those of the data by "
        f"{number(none['outside']['mean'])} of their range on average.",
    ]
    head = (
        "against the unedited decode",
        "edits",
        "intended value read",
        "anything else changed",
        "well-formed",
        "pixels changed outside",
    )

    def row(name: str, counts: Mapping[str, Any]) -> Row:
        edits = number(counts["intended"]["n"])
        return [name, edits, share_cell(counts["intended"]), *_shares(counts), estimate(counts["outside"])]

    kinds = {words: pooled[kind] for kind, words in EDITS.items() if kind in pooled}
    done = {words: counts for words, counts in kinds.items() if counts["intended"]["n"]}
    shown.append(Table(head, [row(words, counts) for words, counts in done.items()], "After an edit"))
    said = "Pixels changed outside: mean absolute change away from the object, of a range from 0 to 1."
    if EDITS["swap"] in done:
        said += " Of swaps it is not looked at."
    if len(done) < len(kinds):
        said += f" Not possible in these scenes: {', '.join(words for words in kinds if words not in done)}."
    shown.append(said)
    edited = {
        name: each for name, each in found["factors"].items() if each is not None and each["edit"]["intended"]["n"]
    }
    if edited:
        rows = [row(f"{name} (block {each['block'] + 1})", each["edit"]) for name, each in edited.items()]
        shown.append(Table(head, rows, "One code edited, any of the value, by the factor that it should change"))
    return shown


def downstream_tables(found: Scores) -> list[Block]:
    """One table a task: representation × in and out of distribution, with the control."""
    title, examples = TASKS.get(found["task"], (label(found["task"]), "examples"))
    sizes = next(({test: each[test]["n"] for test in ("in", "out")} for each in found["representations"].values()), {})
    rows: list[Row] = []
    for name, each in found["representations"].items():
        cells = [
            share_cell(each["in"]),
            share_cell(each["out"]),
            *(share_cell(each["permuted"][t]) for t in ("in", "out")),
        ]
        rows.append([REPRESENTATIONS.get(name, label(name)), *cells])
    read = found.get("readout")
    if read is not None:
        rows.append(["shape and colour, read by probes", share_cell(read["in"]), share_cell(read["out"]), "", ""])
    rows.append(["chance", *[percent(found["chance"])] * 2, "", ""])
    head = ("right answers from", "values as fitted", "values not met before", "control, as fitted", "control, not met")
    said = (
        f"Fitted to {number(found['n_fit'])} {examples} of the train split; asked about {number(sizes.get('in'))} with "
        f"values as fitted (in distribution) and {number(sizes.get('out'))} with values that the head never met (out "
        "of distribution). Control: the probability that a head fitted to permuted answers gives to the right one; it "
        "is chance where nothing leaks."
    )
    if found.get("properties"):
        said += f" The properties asked about: {', '.join(found['properties'])}."
    shown: list[Block] = [Table(head, rows, title), said]
    seeds: list[Row] = [
        [
            REPRESENTATIONS.get(name, label(name)),
            *(" · ".join(share_cell(one).text for one in each["seeds"][t]) for t in sizes),
        ]
        for name, each in found["representations"].items()
    ]
    shown.append(Table(("", "values as fitted", "values not met before"), seeds, "Each head by itself", folded=True))
    if read is not None:
        rows = [
            [name, share_cell(each["in"]), share_cell(each["out"])]
            for name, each in read.items()
            if isinstance(each, Mapping) and "in" in each
        ]
        head = ("objects read rightly", "values as fitted", "values not met before")
        shown.append(Table(head, rows, "What probes, which know all values, read", folded=True))
    return [*shown, *tables_of(without(found, "task", "chance", "n_fit", "representations", "readout", "properties"))]


def judge_tables(found: Scores) -> list[Block]:
    """The judge's errors, and what it lets pass."""
    names = {
        "false_reject": "true scenes taken for malformed",
        "false_reject_degraded": "… of true scenes blurred or faded a little",
        "false_accept": "spoilt scenes taken for well-formed",
        "rule_missed": "true scenes not seen to obey the rule",
        "rule_imagined": "near misses seen to obey the rule",
        "count_accuracy": "scenes with the right number of objects seen",
        "detected": "objects found",
        "shape_accuracy": "… with the right shape",
        "colour_accuracy": "… with the right colour",
    }
    rows: list[Row] = [
        [words, share_cell(found[key]), out_of(found[key])] for key, words in names.items() if found.get(key)
    ]
    shown: list[Block] = [Table(("", "share", "of so many"), rows)]
    said = [f"Position error: {number(found['position_error'])} image widths."] if found.get("position_error") else []
    if found.get("steps"):
        said.append(f"It was trained for {number(found['steps'])} steps ({number(found.get('seconds'))} seconds).")
    shown += [" ".join(said)] if said else []
    kinds = found.get("false_accept_by_kind")
    if kinds:
        rows = [[kind, share_cell(each), out_of(each)] for kind, each in kinds.items()]
        shown.append(
            Table(("", "taken for well-formed", "of so many"), rows, "Spoilt scenes by what is wrong with them")
        )
    known = ("position_error", "steps", "seconds", "false_accept_by_kind")
    return [*shown, *tables_of(without(found, *names, *known))]


# ------------------------------------------------------------------------------------------------------- parts


def _shares(counts: Mapping[str, Any]) -> Row:
    return [share_cell(counts["changed"]), share_cell(counts["well_formed"])]


def _rest_of(share: Mapping[str, Any]) -> Cell:
    """The share of the others."""
    rest = {"share": 1 - share["share"]}
    if share.get("low") is not None and share.get("high") is not None:
        rest |= {"low": 1 - share["high"], "high": 1 - share["low"]}
    return share_cell(rest)


def _share_cell(each: Mapping[str, Any], key: str) -> Cell:
    return share_cell({"share": each[key], "low": each.get("low"), "high": each.get("high")})


def _mean_cell(each: Mapping[str, Any], key: str) -> Cell:
    return estimate({"mean": each[key], "low": each.get("low"), "high": each.get("high")})


def _with_chance(value: float | None, chance: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" + ("" if chance is None else f" ({chance:.3f})")
