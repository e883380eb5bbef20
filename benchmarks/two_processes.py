"""How far training in two processes is from training in one, on the same batches, step by step.

    python -m benchmarks.two_processes

For each way to quantize, `python -m src.train` trains the default model for 50 steps of each phase twice, in one
process and in two (`training.devices=2`), in float32 and with everything else alike. Compared are all curves of
TensorBoard, with every step's losses in them, and the codebooks after the last step of the first phase.

The measure for it is a control: the one process again, made to use AVX2 instructions where it had used AVX-512, which
round differently. The learning rate is 1e-4 (add training.learning_rate=0.001 for the default's peak).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from src.configs.arguments import Parser
from src.configs.errors import ConfigError
from src.configs.launch import compose_config
from src.training.results import commit, hardware, write_json

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "results" / "two_processes.json"
STEPS = 50
# name → settings of the second run, and its environment
RUNS: dict[str, tuple[list[str], dict[str, str]]] = {
    "two processes": (["training.devices=2"], {}),
    "control": ([], {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
}
SETTINGS = (
    *("precision=float32", "device=cpu", "evaluation.enabled=false", "data.num_train=128", "data.num_val=32"),
    *(f"training.steps={STEPS}", f"training.eval_every={STEPS}", "training.log_every=1", "training.warmup_steps=10"),
    *("training.learning_rate=0.0001", "training.prior.learning_rate=0.0001"),
    *("training.quantize_from=10", "training.quantize_by=30", "training.sketch_steps=20"),
    *(f"training.prior.steps={STEPS}", "training.prior.warmup_steps=10"),
)


def train(folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
    """One run of the command, everything it writes in `folder`."""
    places = [f"hydra.run.dir={folder / 'run'}", f"checkpoint_dir={folder / 'checkpoints'}"]
    # each process with one thread, so that both runs add in the same order within a process
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    line = [sys.executable, "-m", "src.train", *SETTINGS, *words, *places]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr.strip().splitlines()[-1]}")


def curves(folder: Path) -> dict[str, Tensor]:
    """What TensorBoard shows of the run in `folder`: tag → values (steps,) float64."""
    events = EventAccumulator(str(folder / "run"))
    events.Reload()
    return {
        tag: torch.tensor([entry.value for entry in events.Scalars(tag)], dtype=torch.float64)
        for tag in events.Tags()["scalars"]
    }


def codebooks(folder: Path) -> Tensor:
    """The codebooks (M, K, C) of the best, which is here the last, autoencoder."""
    path = folder / "checkpoints" / "best_model.pth"
    return torch.load(path, weights_only=True)["model_state_dict"]["quantizer.codebook"].double()


def compare(one: Path, two: Path) -> dict[str, Any]:
    """Largest differences between the runs in two folders; those of curves are relative to the largest value."""
    expected, found = curves(one), curves(two)
    if expected.keys() != found.keys():
        raise RuntimeError(f"the runs show different curves: {sorted(expected.keys() ^ found.keys())}")
    relative = {
        tag: ((found[tag] - values).abs().max() / values.abs().max().clamp(min=1e-12)).item()
        for tag, values in expected.items()
        if "/block_" not in tag
    }
    books, others = codebooks(one), codebooks(two)
    distance = (books - others).norm(dim=-1)
    return {
        "curves_relative": relative,
        "codebook_absolute": (books - others).abs().max().item(),
        "codebook_scale": books.abs().mean().item(),
        "codes": distance.numel(),
        "codes_further_than_1e-4": int((distance > 1e-4).sum()),
    }


def main(arguments: list[str]) -> None:
    parser = Parser(prog="python -m benchmarks.two_processes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quantize-at", nargs="+", default=["last", "every"], choices=["last", "every"])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("overrides", nargs="*", help="settings of src.train, for both runs")
    options = parser.parse_args(arguments)
    try:
        compose_config([*SETTINGS, *options.overrides])
    except ConfigError as error:
        raise SystemExit(f"error: {error}") from error
    started, results = time.perf_counter(), {}
    for quantize_at in options.quantize_at:
        words = [f"model.quantize_at={quantize_at}", *options.overrides]
        with tempfile.TemporaryDirectory() as work:
            one = Path(work) / "one"
            train(one, words, {})
            results[quantize_at] = {}
            for name, (more, environment) in RUNS.items():
                folder = Path(work) / name.replace(" ", "_")
                train(folder, [*words, *more], environment)
                found = results[quantize_at][name] = compare(one, folder)
                tag, worst = max(found["curves_relative"].items(), key=lambda item: item[1])
                print(
                    f"quantize_at={quantize_at}, {name}: losses differ by at most {worst:.1e} of their largest value "
                    f"({tag}), codebooks by {found['codebook_absolute']:.1e} (mean size {found['codebook_scale']:.2g})"
                )
    content = {
        "command": " ".join(["python -m benchmarks.two_processes", *arguments]),
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")),
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "duration_s": round(time.perf_counter() - started, 1),
        "settings": [*SETTINGS, *options.overrides],
        "results": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    print(f"wrote {write_json(options.output, content)}")


if __name__ == "__main__":
    main(sys.argv[1:])
