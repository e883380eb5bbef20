"""How fast the parts are, against other implementations and against what the hardware can do.

    python -m benchmarks.speed                       # all rows → results/speed.json and results/speed.md
    python -m benchmarks.speed --only quantizer      # one row; the others stay as they are in the file
    python -m benchmarks.speed --device cuda         # on the GPU → results/speed_cuda.json and .md
    OMP_NUM_THREADS=1 python -m benchmarks.speed     # threads: those of PyTorch

Within a row everything is timed in turn, round by round (ours, the other, a matrix product, ours, …), and ratios are
taken within a round, so that they hold when the machine's speed drifts. Shown are medians and ranges over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from src.configs.arguments import Parser
from src.training.results import commit, hardware, write_json, write_text
from src.utils.memory import keep_freed_memory
from src.utils.precision import require_device

from .rows import ROWS, Row
from .timing import CPU

RESULTS = Path(__file__).resolve().parents[2] / "results"


def record(row: Row, rounds: int, device: torch.device = CPU) -> dict[str, Any]:
    """Measures a row; its figures and what made them."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None  # before this process adds to it
    started = time.perf_counter()
    measured = row.measure(rounds, device=device)
    return {
        "what": row.what,
        "against": row.against,
        "bar": row.bar if device == CPU else "",
        **asdict(measured),
        "images_per_second": measured.images_per_second,
        "rounds": rounds,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "duration_s": round(time.perf_counter() - started, 1),
        "commit": commit(),
        "made_on": hardware(device),
        "threads": torch.get_num_threads(),
        "load_at_start": load,
        "torch": torch.__version__,
    }


def table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The records as a Markdown table, under a line that says what made them."""

    def made_by(key: str) -> str:
        return "; ".join(dict.fromkeys(str(each[key])[:40] for each in records.values()))

    commits = "; ".join(dict.fromkeys(str(each["commit"])[:10] for each in records.values()))
    loads = [each["load_at_start"] for each in records.values() if each["load_at_start"] is not None]
    machine = f"{made_by('made_on')}; load {min(loads)} to {max(loads)}" if loads else made_by("made_on")
    lines = [
        f"{machine}. PyTorch {made_by('torch')}, commit {commits}. Medians (ranges) of {made_by('rounds')} rounds.",
        "",
        "| what | precision | a call | images/s | share of | peak memory | times faster than | bar |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(each)) + " |" for each in records.values()]
    return "\n".join(lines) + "\n"


def _cells(record: Mapping[str, Any]) -> list[str]:
    share, faster, memory = record["share"], record["times_faster"], record["peak_memory"]
    rate = record["images_per_second"]
    return [
        record["what"],
        record["precision"],
        f"{record['seconds']['median'] * 1000:.3g} ms",
        "" if rate is None else f"{rate:.3g}" if rate < 1000 else f"{rate:,.0f}",
        f"{record['hardware']}: {share['median']:.0%}",
        "" if memory is None else f"{memory / 1e9:.2f} GB",
        f"{record['against']}: {_spread(faster)}" if faster else "",
        record["bar"],
    ]


def _spread(value: Mapping[str, float]) -> str:
    return f"{value['median']:.3g} ({value['min']:.3g} to {value['max']:.3g})"


def parse(arguments: Sequence[str], rows: Sequence[Row] = ROWS) -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.name for row in rows]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"rows: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=15, help="of each row (default: 15)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    parser.add_argument("--output", type=Path, help="JSON file (default: in results/); the table goes beside it as .md")
    settings = parser.parse_args(arguments)
    if settings.output is None:
        settings.output = RESULTS / ("speed.json" if settings.device == "cpu" else "speed_cuda.json")
    try:
        settings.device = require_device(settings.device)
    except ValueError as error:
        parser.error(str(error))
    for row in rows:
        if row.name in (settings.only or ()) and settings.device.type not in row.devices:
            parser.error(f"argument --only: {row.name} is measured with --device {' or '.join(row.devices)} alone")
    if settings.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, got {settings.rounds}")
    if settings.output.suffix != ".json":
        parser.error(f"argument --output: must end in .json, got {settings.output}")
    return settings


def main(arguments: Sequence[str] | None = None, rows: Sequence[Row] = ROWS) -> None:
    """Measures, prints the table, and writes it and the figures behind it."""
    settings = parse(sys.argv[1:] if arguments is None else arguments, rows)
    output: Path = settings.output
    before = json.loads(output.read_text(encoding="utf-8")) if settings.only and output.exists() else {}
    keep_freed_memory()  # as training does
    records: dict[str, Any] = {}
    for row in (row for row in rows if settings.device.type in row.devices):
        if settings.only is None or row.name in settings.only:
            print(f"measuring {row.name} …", file=sys.stderr, flush=True)
            records[row.name] = record(row, settings.rounds, settings.device)
        elif row.name in before:
            records[row.name] = before[row.name]
    output.parent.mkdir(parents=True, exist_ok=True)
    print(table(records))
    for path in (write_json(output, records), write_text(output.with_suffix(".md"), table(records))):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
