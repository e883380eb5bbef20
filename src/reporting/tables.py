"""Nested scores as tables that a person can read: shares in per cent with their interval, lists side by side.

What the tables know of a number is its key; a key that they have no words for is shown as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .document import Cell, Table

# What a key means, with its unit; all other keys are shown with spaces for underscores.
LABELS = {
    "mse": "MSE",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "well_formed": "well-formed",
    "fg_ari": "FG-ARI",
    "fg_ari_attention": "FG-ARI of slot attention",
    "n_fg_ari": "scenes with two objects or more",
    "ari": "ARI",
    "miou": "mIoU",
    "n_miou": "scenes with an object",
    "mbo": "mBO",
    "matched": "objects that a slot holds",
    "r2": "R²",
    "value": "information",
    "share_used": "codes used",
    "share_used_min": "codes used, least of all blocks",
    "perplexity": "perplexity",
    "canonical": "bits a code, slots in order",
    "shuffled": "bits a code, slots in random order",
    "uniform": "bits a code without a prior",
    "n_scenes": "scenes",
    "n_codes": "codes",
    "n_true": "true ones",
    "p_read": "p, as read in true scenes",
    "objects": "scenes by number of objects",
    "obeys_rule": "well-formed and obeys the rule",
    "fid": "FID",
    "kid": "KID",
    "position_error": "position error, image widths",
    "seconds": "training, seconds",
    "steps": "training, steps",
}
PER_CENT = {"accuracy", "chance", "share_used", "share_used_min", "clean", "permuted"}  # shares without an interval
BOUNDED = {
    "fg_ari",
    "ari",
    "miou",
    "mbo",
    "ssim",
    "in",
    "out",
}  # means that could be anywhere between 0 and 1, and 1 is best
BLOCK_LISTS = {"share_used", "perplexity"}  # lists with one number a block
LONGEST_LIST = 32
WIDEST = 9  # columns of a table whose rows are dictionaries
_SHARE = {"share", "count", "n", "low", "high"}
_MEAN = {"mean", "std", "low", "high", "n"}
_NOT_MEASURED = {"n", "low", "high", "p", "block", "scenes", "features", "temperature", "top_k", "seconds", "steps"}


def label(key: str) -> str:
    """The words for a key of the scores."""
    return LABELS.get(key, key.replace("_", " "))


def number(value: Any, key: str = "") -> str:
    """A number as text: three significant digits, integers in full, what is unknown as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if key in PER_CENT:
        return f"{100 * value:.1f} %"
    if isinstance(value, int):
        return f"{value + 1 if key == 'block' else value:,}"  # figures count blocks from 1
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 1e-4:
        return f"{value:.2e}"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def is_estimate(value: Any) -> bool:
    """Whether it is a share or a mean with the numbers behind it; it may hold more besides."""
    return isinstance(value, Mapping) and (
        "share" in value or ("mean" in value and not isinstance(value["mean"], Mapping))
    )


def estimate(value: Mapping[str, Any], key: str = "") -> Cell:
    """A share or a mean, its 95 % interval (or standard deviation) in smaller print; shares, and means whose `key` is
    one of BOUNDED, with their place between 0 and 1."""
    if "share" in value:
        share, low, high = value["share"], value.get("low"), value.get("high")
        if share is None:
            return Cell("–")
        if low is None or high is None:
            return Cell(f"{100 * share:.1f} %")
        return Cell(f"{100 * share:.1f} %", f"{100 * low:.1f}–{100 * high:.1f}", (share, low, high))
    mean, low, high = value["mean"], value.get("low"), value.get("high")
    if mean is None:
        return Cell("–")
    if low is not None and high is not None:
        track = (mean, low, high) if key in BOUNDED and 0 <= low <= high <= 1 else None
        digits = _digits_of(high - low, mean)
        return Cell(f"{mean:.{digits}f}", f"{low:.{digits}f}–{high:.{digits}f}", track)
    if value.get("std") is not None:
        return Cell(f"{number(mean)} ± {number(value['std'])}")
    return Cell(number(mean))


def share_cell(value: Mapping[str, Any] | None) -> Cell:
    """A share, or a mean of shares, in per cent, with its interval where it has one."""
    if value is None:
        return Cell("–")
    return estimate(value if "share" in value else {**value, "share": value["mean"]})


def percent(value: float | None) -> str:
    """A plain share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def out_of(value: Mapping[str, Any] | None) -> str:
    """How many a share or a mean is of: "829 of 1,000", "1,000"."""
    if value is None or value.get("n") is None:
        return ""
    return f"{value['count']:,} of {value['n']:,}" if value.get("count") is not None else f"{value['n']:,}"


def tables_of(scores: Any, title: str = "") -> list[Table]:
    """Tables of nested scores, whatever their keys; `title` is that of the first one.

    A dictionary becomes a table of its numbers; dictionaries of the same kind inside it become the rows of one table,
    lists of the same length its columns, and everything deeper tables of their own. Lists of more than 32 entries,
    and those of other lists, are left out.
    """
    if isinstance(scores, (list, tuple)):
        return [_rows_of_dicts([(str(n + 1), row) for n, row in enumerate(scores)], title)] if _dicts(scores) else []
    if not isinstance(scores, Mapping):
        return [] if scores is None else [Table(("", ""), [(title or "value", number(scores))])]
    numbers, lists, inner = _sorted_out(scores)
    found = [_plain_table(numbers, title)] if numbers else []
    found += _lists_table(lists, title if not found else "")
    flat = [(key, value) for key, value in inner if _is_flat(value)]
    if len(flat) >= 2 and 1 <= len(_columns(flat)) <= WIDEST:
        found.append(_rows_of_dicts([(label(key), value) for key, value in flat], title if not found else ""))
        inner = [(key, value) for key, value in inner if not _is_flat(value)]
    for key, value in inner:
        found += tables_of(value, " · ".join(filter(None, (title, label(key)))))
    return found


def without(scores: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """All entries but those of these names, and those that are None: a note says why they are."""
    return {name: value for name, value in scores.items() if name not in names and value is not None}


def leaves(scores: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every measurement in nested dictionaries and the path to it. Those in lists are left out, and what only says of
    what it is or how sure: sizes, settings, numbers of blocks, ends of intervals, p-values."""
    if isinstance(scores, Mapping):
        beside = (_SHARE | _MEAN) - {"share", "mean"} if is_estimate(scores) else _NOT_MEASURED
        for key, value in scores.items():
            if isinstance(value, Mapping) or not (key in beside | _NOT_MEASURED or str(key).startswith("n_")):
                yield from leaves(value, (*path, str(key)))
    elif isinstance(scores, (int, float)) and not isinstance(scores, bool):
        yield path, float(scores)


# ------------------------------------------------------------------------------------------------------- parts


def _sorted_out(
    scores: Mapping[str, Any],
) -> tuple[list[tuple[str, Any]], list[tuple[str, Sequence[Any]]], list[tuple[str, Any]]]:
    """Numbers and estimates; short lists of numbers; what is deeper."""
    numbers: list[tuple[str, Any]] = []
    lists: list[tuple[str, Sequence[Any]]] = []
    inner: list[tuple[str, Any]] = []
    for key, value in _unfolded(scores).items():
        if is_estimate(value) and set(value) <= _SHARE | _MEAN:
            numbers.append((key, value))
        elif isinstance(value, Mapping) or _dicts(value):
            inner.append((key, value))
        elif isinstance(value, (list, tuple)):
            if 0 < len(value) <= LONGEST_LIST and not any(isinstance(item, (list, tuple)) for item in value):
                lists.append((key, value))
        else:
            numbers.append((key, value))
    return numbers, lists, inner


def _unfolded(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """A share or a mean that holds more besides: itself as one of its entries."""
    if not is_estimate(scores):
        return scores
    name, known = ("share", _SHARE) if "share" in scores else ("mean", _MEAN)
    own = {key: value for key, value in scores.items() if key in known}
    return {name: own, **{key: value for key, value in scores.items() if key not in known}}


def _plain_table(numbers: Sequence[tuple[str, Any]], title: str) -> Table:
    rows = [
        (label(key), _cell(value, key), out_of(value) if isinstance(value, Mapping) else "") for key, value in numbers
    ]
    if any(of for _, _, of in rows):
        return Table(("", "value", "of"), rows, title)
    return Table(("", ""), [row[:2] for row in rows], title)


def _lists_table(lists: Sequence[tuple[str, Sequence[Any]]], title: str) -> list[Table]:
    """Lists of the same length as rows of one table."""
    found = []
    for length in dict.fromkeys(len(value) for _, value in lists):
        same = [(key, value) for key, value in lists if len(value) == length]
        blocks = any(key in BLOCK_LISTS for key, _ in same)
        first = 0 if [key for key, _ in same] == ["objects"] else 1  # scenes with 0, 1, 2, ... objects
        head = ["", *(f"block {n}" if blocks else str(n) for n in range(first, first + length))]
        found.append(Table(head, [[label(key), *(number(item, key) for item in value)] for key, value in same], title))
        title = ""
    return found


def _rows_of_dicts(rows: Sequence[tuple[str, Mapping[str, Any]]], title: str) -> Table:
    rows = [(name, _unfolded(row)) for name, row in rows]
    columns = _columns(rows)
    cells = [[name, *(_cell(row[key], key) if key in row else "" for key in columns)] for name, row in rows]
    return Table(["", *map(label, columns)], cells, title)


def _columns(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    return list(dict.fromkeys(key for _, row in rows for key in _unfolded(row)))


def _is_flat(value: Any) -> bool:
    """Whether a dictionary holds numbers and estimates only."""
    return isinstance(value, Mapping) and all(
        not _is_deeper(item) or (is_estimate(item) and set(item) <= _SHARE | _MEAN) for item in value.values()
    )


def _is_deeper(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _dicts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(item, Mapping) for item in value)


def _cell(value: Any, key: str) -> Cell | str:
    if is_estimate(value):
        return estimate(value, key)
    if not _is_deeper(value):
        return number(value, key)
    if isinstance(value, (list, tuple)) and len(value) <= LONGEST_LIST and not any(map(_is_deeper, value)):
        return " · ".join(number(item, key) for item in value)
    return "…"  # in the JSON file only


def _digits_of(width: float, value: float) -> int:
    """So many that the interval has two significant digits, three at most behind a number's own."""
    if width <= 0:
        return 3 if value == 0 else min(6, max(3, 2 - math.floor(math.log10(abs(value)))))
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if abs(value) < 1000 else 0
