"""The published numbers: the training command in a fresh process for each seed, and a table of mean ± std.

    python -m benchmarks.default_runs                                            # results/shapes/
    python -m benchmarks.default_runs --name shapes_background data.background=random
    python -m benchmarks.default_runs --name multi_dsprites data=multi_dsprites
    python -m benchmarks.default_runs experiment=quick --name quick --seeds 0    # settings before --seeds

Further words are settings passed on to `python -m src.train`. A seed's run leaves `seed_<n>.json` (the run's own
results.json, and the seconds from process start to exit, with those before it was stopped if it was resumed), its
pictures in `seed_<n>/`, and its weights under `checkpoints/<name>/`. Seeds that have a file are not run again, so an
interrupted series goes on where it stopped; to make a published one anew, remove its folder or choose another --name.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from src.configs.arguments import Parser
from src.configs.errors import ConfigError
from src.configs.launch import compose_config, plain
from src.training.checkpoint import FREE, differences
from src.training.results import SCORES, Row, lookup, write_json

from .pictures import shrink

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results"

# label, where in seed_<n>.json, unit factor, digits
ROWS: tuple[Row, ...] = (("process start to exit, minutes", ("wall_seconds",), 1 / 60, 1), *SCORES)

# What a series aims at, by its name and the rows' labels; all else is reported only.
BARS: dict[str, dict[str, str]] = {
    "shapes": {
        "process start to exit, minutes": "≤ 15",
        "FG-ARI of arg-max masks": "≥ 0.92",
        "reconstruction MSE": "≤ 0.0030",
        "colour read from the code vectors, %": "≥ 97",
        "shape read from the code vectors, %": "≥ 85",
        "best block's information on colour": "≥ 0.8",
        "best block's information on x": "≥ 0.8",
        "best block's information on y": "≥ 0.8",
        "codes used, least of all codebooks, %": "≥ 50",
        "well-formed generated scenes, %": "≥ 80",
    },
    "shapes_background": {"FG-ARI of arg-max masks": "≥ 0.85"},
    "quick": {"process start to exit, minutes": "≤ 10", "FG-ARI of arg-max masks": "≥ 0.8"},
    "sprites": {"FG-ARI of arg-max masks": "≥ 0.9", "… lower end of the Wilson interval of these, %": "> 76"},
    "sprites_textured": {"… lower end of the Wilson interval of these, %": "> 51"},
    "multi_dsprites": {"FG-ARI of arg-max masks": "≥ 0.85", "colour read from the code vectors, %": "≥ 95"},
}


def is_there(seed: int, folder: Path, settings: list[str]) -> bool:
    """Whether a seed has its file already.

    Raises:
        SystemExit: a setting that cannot be used, or a file that was made with other settings.
    """
    try:
        config = plain(compose_config([*settings, f"seed={seed}"]))
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from error
    path = folder / f"seed_{seed}.json"
    if not path.exists():
        return False
    made = json.loads(path.read_text(encoding="utf-8"))
    # A setting that came after that run had no other value than today's default.
    then_all = _laid_over(plain(compose_config([f"seed={seed}"])), made["config"])
    for key, (then, now) in differences(then_all, config, free=set(FREE) - {"data.num_test"}).items():
        raise SystemExit(
            f"error: {path} was made with {key}={then}, not {now}: choose another --name for these settings"
        )
    print(f"seed {seed}: {path.relative_to(PROJECT)} is there, made with commit {made['commit']}")
    return True


def _laid_over(defaults: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """`defaults` with every value that `settings` has."""
    merged = dict(defaults)
    for key, value in settings.items():
        known = merged.get(key)
        merged[key] = _laid_over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def run_seed(seed: int, folder: Path, settings: list[str]) -> None:
    """One run of the training command in a fresh process, its results and pictures copied into `folder`."""
    command = [sys.executable, "-m", "src.train", f"seed={seed}", *settings]
    command.append(f"checkpoint_dir=checkpoints/{folder.name}/seed_{seed}")
    print(" ".join(["python", *command[1:]]), flush=True)
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            print(line, end="", flush=True)
            output.append(line)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"seed {seed} ended with exit code {process.returncode}; nothing was recorded")
    written = [PROJECT / path for path in re.findall(r"^wrote (.+)$", "".join(output), re.MULTILINE)]
    [results] = [path for path in written if path.name == "results.json"]
    pictures = folder / f"seed_{seed}"
    pictures.mkdir(parents=True, exist_ok=True)
    for path in written:
        if path.suffix == ".png":
            shutil.copy(path, pictures / path.name)
    shrink(pictures.glob("*.png"))
    content = json.loads(results.read_text(encoding="utf-8"))
    wall = max(wall, content["seconds"]["total"])  # of a run that was resumed: with what came before it was stopped
    write_json(folder / f"seed_{seed}.json", {"wall_seconds": round(wall, 1), **content})


def summarize(folder: Path) -> str:
    """A Markdown table over the seeds in `folder`: every seed, then mean ± standard deviation."""
    runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("seed_*.json"))}
    made_by = ["; ".join(dict.fromkeys(str(run[key]) for run in runs.values())) for key in ("hardware", "torch")]
    lines = [
        f"Seeds: {len(runs)}. {made_by[0]}. PyTorch {made_by[1]}, "
        f"{'; '.join(dict.fromkeys(run['precision'] for run in runs.values()))}, "
        f"commit {'; '.join(dict.fromkeys(str(run['commit'])[:10] for run in runs.values()))}.",
        "",
        "| what | bar | " + " | ".join(name.replace("_", " ") for name in runs) + " | mean ± std |",
        "|---|---|" + "---|" * (len(runs) + 1),
    ]
    bars = BARS.get(folder.name, {})
    for label, path, factor, digits in ROWS:
        values = [lookup(run, path) for run in runs.values()]
        shown = ["–" if value is None else f"{value * factor:.{digits}f}" for value in values]
        known = [value * factor for value in values if value is not None]
        if not known and "obeys_rule" in path:
            continue  # data without a rule
        mean = f"{statistics.mean(known):.{digits}f}" if known else "–"
        spread = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
        lines.append(f"| {label} | {bars.get(label, '')} | " + " | ".join(shown) + f" | {mean}{spread} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = Parser(description="Train the default over several seeds and tabulate the scores.")
    parser.add_argument("--name", default="shapes", help="folder under results/ (default: shapes)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments, settings = parser.parse_known_args()
    folder = RESULTS / arguments.name
    for seed in arguments.seeds:
        if not is_there(seed, folder, settings):
            folder.mkdir(parents=True, exist_ok=True)
            run_seed(seed, folder, settings)
    summary = summarize(folder)
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    print(summary)


if __name__ == "__main__":
    main()
