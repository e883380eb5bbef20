"""The published ablation studies: runs one, and copies its tables and figure to results/ablation/<name>/.

    python -m benchmarks.ablation                   # the parts of the model: results/ablation/
    python -m benchmarks.ablation ablation=blocks   # likewise codes, quantize_at, slot_init and decoder

Further words are settings. The runs stay in `logs/ablation/`; those that are there are not made again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from src.configs.arguments import Parser
from src.configs.errors import ConfigError
from src.configs.launch import compose_config

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results" / "ablation"
FILES = ("ablation.json", "ablation.csv", "ablation.md", "ablation.png")


def publish(study: Path, results: Path) -> None:
    """Copies the tables and the figure of a finished study."""
    results.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(study / name, results / name)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _, settings = parser.parse_known_args()
    settings = ["ablation.enabled=true", *settings]
    try:
        config = compose_config(settings)
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from error
    done = subprocess.run([sys.executable, "-m", "src.train", *settings], cwd=PROJECT)
    if done.returncode:
        raise SystemExit(done.returncode)
    name = config.ablation.name
    results = RESULTS if name == "default" else RESULTS / name
    publish(PROJECT / config.log_dir / "ablation" / name, results)
    print(f"wrote {', '.join(FILES)} in {results.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
