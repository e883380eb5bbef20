"""The published ablation studies: runs one, and copies its tables and figure to results/ablation/<name>/.

    python -m benchmarks.ablation                   # the parts of the model: results/ablation/
    python -m benchmarks.ablation ablation=blocks   # likewise codes, quantize_at, slot_init and decoder

Further words are settings. The runs stay in `logs/ablation/`; those that are there are not made again. With `--add`,
the seeds that were published before stay in the tables beside the new ones:

    python -m benchmarks.ablation --add ablation=blocks 'ablation.seeds=[1,2]'
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.configs.arguments import Parser
from src.configs.errors import ConfigError
from src.configs.launch import compose_config
from src.training.ablation import write_tables

from .pictures import shrink

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results" / "ablation"
FILES = ("ablation.json", "ablation.csv", "ablation.md", "ablation.png")


def publish(study: Path, results: Path) -> None:
    """Copies the tables and the figure of a finished study."""
    results.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(study / name, results / name)


def published(results: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """The numbers that are published, which `seeds` are to be added to.

    Raises:
        ValueError: there are none, or some of these seeds are among them.
    """
    path = results / "ablation.json"
    if not path.exists():
        raise ValueError(f"--add: {path} does not exist; leave --add out to publish these runs alone")
    before = json.loads(path.read_text(encoding="utf-8"))
    if twice := sorted(set(before["seeds"]) & set(seeds)):
        raise ValueError(f"{results} has seeds {twice} already; give others, or leave --add out to publish these alone")
    return before


def add(study: Path, results: Path) -> None:
    """The tables of the published seeds and of those of a finished study, in the order of the seeds.

    Raises:
        ValueError: nothing is published, or the two have a seed in common or other variants.
    """
    new = json.loads((study / "ablation.json").read_text(encoding="utf-8"))
    before = published(results, new["seeds"])
    variants = [list(next(iter(tables["values"].values()))) for tables in (before, new)]
    if variants[0] != variants[1]:
        raise ValueError(f"{results} compares {', '.join(variants[0])}; the new runs are of {', '.join(variants[1])}")
    seeds = before["seeds"] + new["seeds"]
    order = sorted(range(len(seeds)), key=seeds.__getitem__)

    def joined(label: str, variant: str) -> list[Any]:
        each = before["values"][label][variant] + new["values"][label][variant]
        return [each[place] for place in order]

    values = {label: {name: joined(label, name) for name in variants[0]} for label in before["values"]}
    made_by = {
        key: "; ".join(dict.fromkeys(f"{before[key]}; {new[key]}".split("; ")))  # each once
        for key in ("command", "commit", "hardware", "precision", "torch")
    }
    seconds = round(before["seconds"] + new["seconds"], 1)
    write_tables(results, values, {**made_by, "seconds": seconds, "seeds": [seeds[place] for place in order]})


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", action="store_true", help="beside the published seeds, not in their place")
    own, settings = parser.parse_known_args()
    settings = ["ablation.enabled=true", *settings]
    try:
        config = compose_config(settings)
        name = config.ablation.name
        results = RESULTS if name == "default" else RESULTS / name
        if own.add:
            published(results, config.ablation.seeds)  # now, not after hours
    except (ConfigError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    done = subprocess.run([sys.executable, "-m", "src.train", *settings], cwd=PROJECT)
    if done.returncode:
        raise SystemExit(done.returncode)
    study = PROJECT / config.log_dir / "ablation" / name
    try:
        (add if own.add else publish)(study, results)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    shrink(results.glob("*.png"))
    print(f"wrote {', '.join(FILES)} in {results.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
