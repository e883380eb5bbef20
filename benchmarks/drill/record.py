"""Sections of the drill → results/drill.json and the table drill.md beside it."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from src.training.results import PROJECT, hardware, write_json, write_text

from .case import Case, Section, Settings

LONGEST = 300  # characters of a cell


def record(
    section: Section,
    work: Path,
    settings: Settings,
    command: str,
    code: str,
    show: Callable[[Case], None] = lambda _: None,
) -> dict[str, Any]:
    """Runs a section in the empty folder `work`; its cases and what made them: the `command`, and the commit of the
    `code`. `show` sees each case when it is over.

    An error of the section itself is a case that failed, and its last.
    """
    started, cases = time.perf_counter(), list[Case]()
    made_by = {
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": code,
        "hardware": hardware(torch.device("cpu")),
        "torch": torch.__version__,
        "seed": settings.seed,
    }
    for found in _all_of(section, work, settings):
        case = replace(found, done=_short(found.done, work), happened=_short(found.happened, work))
        show(case)
        cases.append(case)
    return {
        **made_by,
        "duration_s": round(time.perf_counter() - started, 1),
        "cases": len(cases),
        "passed": sum(case.passed for case in cases),
        "each": [asdict(case) for case in cases],
    }


def _all_of(section: Section, work: Path, settings: Settings) -> Iterable[Case]:
    try:
        yield from section(work, settings)
    except Exception as error:
        traceback.print_exc()
        happened = f"{type(error).__name__}: {error}"
        yield Case("the section itself", "ran it to its end", "no error of its own", happened, passed=False)


def _short(text: str, work: Path) -> str:
    """`text` without the folders that say nothing of the case."""
    return text.replace(str(work), "...").replace(str(PROJECT), ".")


def read(path: Path) -> dict[str, Any]:
    """The sections of an earlier drill; none if there was none."""
    return json.loads(path.read_text(encoding="utf-8"))["sections"] if path.exists() else {}


def write(path: Path, sections: Mapping[str, Any]) -> list[Path]:
    """Writes the sections as JSON and, beside it, as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return [write_json(path, {"sections": sections}), write_text(path.with_suffix(".md"), page(sections))]


def page(sections: Mapping[str, Any]) -> str:
    """A table of the sections, and one of the cases of each, as Markdown."""
    lines = [
        "# The drill",
        "",
        "| section | passed | seconds | seed | commit | on | command |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, made in sections.items():
        passed, (number, dash, dirty) = f"{made['passed']} of {made['cases']}", str(made["commit"]).partition("-")
        made_by = f"{number[:10]}{dash}{dirty}", made["hardware"]
        cells = [name, passed, f"{made['duration_s']:.0f}", made["seed"], *made_by]
        lines.append(_row([*cells, f"`{made['command']}`"]))
    for name, made in sections.items():
        lines += ["", f"## {name}", "", "| case | done | expected | happened | passed |", "|---|---|---|---|---|"]
        for case in made["each"]:
            keys = ("name", "done", "expected", "happened")
            lines.append(_row([*(case[key] for key in keys), "yes" if case["passed"] else "**no**"]))
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value: Any) -> str:
    """`value` on one line, without what Markdown or HTML would take for its own."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    return text.replace("|", "\\|").replace("<", "&lt;")
