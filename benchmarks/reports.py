"""The published reports: `python -m src.evaluate` on every seed of a series, and how they agree.

    python -m benchmarks.reports                       # checkpoints/shapes/seed_* → results/shapes/report/
    python -m benchmarks.reports --name sprites
    python -m benchmarks.reports num_generated=2000    # further words are settings of src.evaluate

A seed's report leaves `seed_<n>/report.json`, `report.md` and its pictures; the page, which is larger, stays in
`evaluation/<name>/`. Seeds that have a report are not looked at again; `summary.md` has the main numbers of all, which
docs/results.md shows (`python -m benchmarks.readme`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.configs.arguments import Parser
from src.reporting.comparison import compare_reports
from src.reporting.document import Table
from src.reporting.markdown import table
from src.reporting.report import write_report
from src.training.checkpoint import BEST

from .pictures import shrink

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results"
DPI = 80  # of the pictures that are kept
MINUTES = "time of the report, minutes"

# What a series aims at, by its name and the rows' labels; all else is reported only.
BARS: dict[str, dict[str, str]] = {
    "shapes": {
        "disentanglement (DCI of codes)": "≥ 0.8",
        "completeness (DCI of codes)": "≥ 0.65",
        "informativeness (DCI of codes)": "≥ 0.93",
        "edits: intended value read, %": "≥ 90",
        "edits: anything else changed, %": "≤ 10",
        MINUTES: "≤ 5",
    },
    "sprites": {"… on values not met before, %": "≥ 99.1"},
}


def report_on(checkpoint: Path, folder: Path, page: Path, settings: Sequence[str]) -> None:
    """The report of one checkpoint in a fresh process: its numbers and pictures in `folder`, its page in `page`."""
    command = [sys.executable, "-m", "src.evaluate", f"checkpoint={checkpoint.relative_to(PROJECT)}", f"dpi={DPI}"]
    command += [*settings, f"output={page.relative_to(PROJECT)}"]
    print(" ".join(["python", *command[1:]]), flush=True)
    done = subprocess.run(command, cwd=PROJECT)
    if done.returncode:
        raise SystemExit(f"{checkpoint}: the report ended with exit code {done.returncode}; nothing was recorded")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*page.glob("*.png"), page / "report.md", page / "report.json"):  # the last one says that all is there
        shutil.copy(path, folder / path.name)
    shrink(folder.glob("*.png"))


def summarize(folder: Path, name: str) -> str:
    """The main numbers of all reports in `folder`, of the series `name`, as a Markdown table: what is aimed at, every
    seed, mean ± std, interval of the mean."""
    results: list[dict[str, Any]] = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("seed_*/report.json"))
    ]
    if not results:
        raise SystemExit(f"error: there is no report in {folder}")
    content, page = compare_reports(results)
    write_report(folder, content, page, "comparison")
    (folder / "comparison.html").unlink()
    shrink(folder.glob("*.png"))
    made_by = [
        "; ".join(dict.fromkeys(str(result[key]) for result in results)) for key in ("hardware", "torch", "precision")
    ]
    commits = "; ".join(dict.fromkeys(str(result["commit"])[:10] for result in results))
    minutes = [result["seconds"]["total"] / 60 for result in results]
    head = (
        f"Seeds: {len(results)}. {made_by[0]}. PyTorch {made_by[1]}, {made_by[2]}, commit {commits}. "
        f"The longest report took {max(minutes):.1f} minutes."
    )
    headline = page.headline[0]
    assert isinstance(headline, Table)
    bars = BARS.get(name, {})
    rows = [(label, bars.get(str(label), ""), *rest) for label, *rest in headline.rows]
    if len(content["groups"]) == 1:  # a column for each seed
        spread = f" ± {statistics.stdev(minutes):.1f}" if len(minutes) > 1 else ""
        each = [f"{one:.1f}" for one in minutes]
        rows.append((MINUTES, bars.get(MINUTES, ""), *each, f"{statistics.mean(minutes):.1f}{spread}", "–"))
    with_bars = replace(headline, head=(headline.head[0], "bar", *headline.head[1:]), rows=rows)
    return "\n".join([head, "", *table(with_bars)]) + "\n"


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="shapes", help="the series: checkpoints/<name>/ (default: shapes)")
    arguments, settings = parser.parse_known_args()
    checkpoints = sorted((PROJECT / "checkpoints" / arguments.name).glob(f"seed_*/{BEST}"))
    if not checkpoints:
        raise SystemExit(
            f"error: checkpoints/{arguments.name}/ has no seed_*/{BEST}; "
            f"train them with python -m benchmarks.default_runs --name {arguments.name}"
        )
    folder = RESULTS / arguments.name / "report"
    for checkpoint in checkpoints:
        seed = checkpoint.parent.name
        if (folder / seed / "report.json").exists():
            print(f"{seed}: its report is there")
        else:
            report_on(checkpoint, folder / seed, PROJECT / "evaluation" / arguments.name / seed, settings)
    summary = summarize(folder, arguments.name)
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    print(summary)


if __name__ == "__main__":
    main()
