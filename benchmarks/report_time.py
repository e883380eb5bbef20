"""How long the whole report on the shipped weights of Shapes takes, section by section: results/report_time.json.

    python -m benchmarks.report_time

A fresh process, all sections at their defaults, the attribute network already trained; nothing else should run on the
machine. What docs/results.md says of reports on the seeds was measured while other work ran beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from src.configs.arguments import Parser
from src.training.results import write_json

PROJECT = Path(__file__).resolve().parents[1]
OUTPUT = PROJECT / "results" / "report_time.json"


def main(words: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given, settings = parser.parse_known_args(words)
    with tempfile.TemporaryDirectory() as place:
        places = [f"output={place}/report", f"cache_dir={place}/cache"]
        start = time.perf_counter()
        command = ["-m", "src.evaluate", "checkpoint=shapes", *settings]
        done = subprocess.run([sys.executable, *command, *places], cwd=PROJECT)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.returncode)  # the command has said why
        report = json.loads((Path(place) / "report" / "report.json").read_text(encoding="utf-8"))
    result = {
        "command": " ".join(["python", *command]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        **{key: report[key] for key in ("commit", "hardware", "precision", "torch")},
        "seconds": {**report["seconds"], "process": round(seconds, 1)},
    }
    write_json(given.output, result)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
