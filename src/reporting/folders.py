"""Where reports go: to a folder without one of other settings, that can be written, and that keeps no stale files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..configs.errors import ConfigError
from ..configs.launch import FULL
from ..training.checkpoint import differences

REPORT, COMPARISON = "report", "comparison"
DEFAULT_FOLDER = "evaluation"
ENDS = ("json", "md", "html")
PACKAGE = Path(__file__).resolve().parents[1]
MOST_NAMED = 4  # settings that differ, in one line
_HELD = ("data", "evaluation")
_ELSEWHERE = ("data.cache_dir", "data.num_workers")  # may differ: they decide no number

Facts = Mapping[str, Any]  # what report.json holds, or as much of it as is known before anything is measured


def choose_folder(output: str | None, reports: Mapping[str, Facts]) -> tuple[Path, str]:
    """The folder for a report, or for a comparison and the reports in it, and a line that says what becomes of an
    earlier one; empty where there is none.

    Without `output` it is evaluation/<name>, or the first of <name>_2, <name>_3, ... that is free or holds the same
    settings.

    Args:
        reports: by the name of each checkpoint, what its report will say of how it is made.
    """
    if output is not None:
        folder = Path(output)
        if any(changed(facts, folder / name) for name, facts in _inside(reports)):
            return folder, f"output={output} holds reports of other settings, which are replaced"
        kind = COMPARISON if (folder / f"{COMPARISON}.json").exists() else REPORT
        return folder, f"output={output} holds an earlier {kind}, which is replaced" if _is_there(folder) else ""
    first = Path(DEFAULT_FOLDER) / (COMPARISON if len(reports) > 1 else next(iter(reports)))
    folder, number, said = first, 1, ""
    while (other := _other_settings(folder, reports)) is not None:
        if not said:
            said = f"{first} {other}; this one goes to "
        number += 1
        folder = first.with_name(f"{first.name}_{number}")
    if said:
        return folder, f"{said}{folder}"
    return folder, f"{folder} holds a report of the same settings, which is replaced" if _is_there(folder) else ""


def require_writable(folder: Path, reports: Mapping[str, Facts]) -> None:
    """Makes the folder, and tries to write the files: now, and not after the minutes that it takes to fill them.

    Raises:
        ConfigError: it cannot be made or written, or a folder lies where a file is to go.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder} is a file; give a folder for report.json, report.md and report.html")
    several = len(reports) > 1
    folders = {folder: COMPARISON if several else REPORT}
    folders |= {folder / name: REPORT for name, _ in _inside(reports) if (folder / name).exists()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, name in folders.items():
            for path in (*(place / f"{name}.{end}" for end in ENDS), *place.glob("*.png")):
                if path.is_dir():
                    raise ConfigError(
                        f"output={folder} cannot be used: {path} is a folder, where a file of the report goes; move it "
                        "away, or give another output"
                    )
            draft = place / f".{name}.json.{os.getpid()}.tmp"
            try:
                draft.write_bytes(b"{}")
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ConfigError(
            f"output={folder} cannot be used ({error.strerror}: {error.filename}); give one that can be written"
        ) from error


def changed(facts: Facts, folder: Path) -> list[str]:
    """The settings in which the report in `folder` differs from one of `facts`; none where there is no report."""
    path = folder / f"{REPORT}.json"
    return list(differences(_settings(_read(path)), _settings(facts), _ELSEWHERE)) if path.exists() else []


def finished_report(facts: Facts, folder: Path) -> dict[str, Any] | None:
    """The report in `folder`, if it is whole, of these settings and of this code."""
    path = folder / f"{REPORT}.json"
    if not path.is_file() or changed(facts, folder):
        return None
    report, written = _read(path), path.stat().st_mtime
    same = all(report.get(key) == facts[key] for key in ("name", "commit", "torch"))
    return report if same and all(file.stat().st_mtime < written for file in PACKAGE.rglob("*.py")) else None


def files_of(folder: Path, name: str = REPORT) -> list[Path]:
    """The files of the report in `folder`: those called `name`, and the pictures that its Markdown shows."""
    text = folder / f"{name}.md"
    shown = re.findall(r"\]\(([\w-]+\.png)\)", text.read_text("utf-8", "replace")) if text.is_file() else []
    files = [folder / each for each in (*(f"{name}.{end}" for end in ENDS), *shown)]
    return [path for path in files if path.is_file()]


def clear(folder: Path, reports: Mapping[str, Facts]) -> None:
    """Removes an earlier comparison with its reports, and the single report where a comparison goes; no other files."""
    gone = files_of(folder, COMPARISON)
    several = len(reports) > 1
    for name in _compared(folder):
        if not (several and name in reports):
            gone += files_of(folder / name)
    if several:
        gone += files_of(folder)
    for path in gone:
        path.unlink(missing_ok=True)
    for place in {path.parent for path in gone} - {folder}:
        if not any(place.iterdir()):
            place.rmdir()


# ------------------------------------------------------------------------------------------------------- parts


def _other_settings(folder: Path, reports: Mapping[str, Facts]) -> str | None:
    """What keeps `folder` from being used, in words; None: it is free, or holds the same settings."""
    if folder.exists() and not folder.is_dir():
        return "is a file"
    several = len(reports) > 1
    if (folder / f"{REPORT if several else COMPARISON}.json").exists():
        return f"holds a {REPORT if several else COMPARISON}"
    if not several:
        other = changed(next(iter(reports.values())), folder)
        return f"holds a report of other settings ({_named(other)})" if other else None
    held = {path.parent.name for path in folder.glob(f"*/{REPORT}.json")}
    if held - reports.keys() or (_is_there(folder) and held != reports.keys()):
        return "holds a comparison of other checkpoints"
    other = dict.fromkeys(key for name in sorted(held) for key in changed(reports[name], folder / name))
    return f"holds a comparison of other settings ({_named(list(other))})" if other else None


def _is_there(folder: Path) -> bool:
    return any((folder / f"{name}.json").exists() for name in (REPORT, COMPARISON))


def _inside(reports: Mapping[str, Facts]) -> Iterator[tuple[str, Facts]]:
    """Those that get a folder of their own."""
    return iter(reports.items() if len(reports) > 1 else ())


def _settings(facts: Facts) -> dict[str, Any]:
    """What decides a report's numbers and pictures, by the names of the command's settings."""
    given = {key: facts.get(key) for key in ("split", "device", "precision")}
    data = {**facts.get("data", {})}
    data["path"] = [data.get("path"), facts.get("data_place")]
    return {"checkpoint": facts.get("sha256"), **given, "data": data, **facts.get("evaluation", {})}


def _read(path: Path) -> dict[str, Any]:
    """What report.json holds; nothing where it is damaged or of something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) and all(isinstance(content.get(key), dict) for key in _HELD) else {}


def _compared(folder: Path) -> list[str]:
    """The names of the reports that the comparison in `folder` is of."""
    try:
        groups = json.loads((folder / f"{COMPARISON}.json").read_text(encoding="utf-8"))["groups"]
        names = [run["name"] for runs in groups.values() for run in runs]
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return []
    return [name for name in names if isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name]


def _named(keys: list[str]) -> str:
    return ", ".join(keys[:MOST_NAMED]) + (f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else "")
