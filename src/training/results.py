"""What a run leaves behind in words: results.json, and a printed table of what matters in it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..utils.whole_files import draft_of

PROJECT = Path(__file__).resolve().parents[2]

Row = tuple[str, tuple[str, ...], float, int]

# Label, where in results.json, unit factor, digits.
OF_THE_RUN: tuple[Row, ...] = (
    ("minutes in all", ("seconds", "total"), 1 / 60, 1),
    ("validation loss of the autoencoder", ("validation", "autoencoder_loss"), 1, 4),
    ("validation loss of the prior, bits a code", ("validation", "prior_bits_per_code"), 1, 3),
)
SCORES: tuple[Row, ...] = (
    ("FG-ARI of arg-max masks", ("scores", "segmentation", "fg_ari"), 1, 3),
    ("FG-ARI of slot attention", ("scores", "segmentation", "fg_ari_attention"), 1, 3),
    ("mIoU", ("scores", "segmentation", "miou"), 1, 3),
    ("reconstruction MSE", ("scores", "reconstruction", "mse"), 1, 4),
    ("PSNR, dB", ("scores", "reconstruction", "psnr"), 1, 1),
    ("colour read from the code vectors, %", ("scores", "readout", "colour", "accuracy"), 100, 1),
    ("shape read from the code vectors, %", ("scores", "readout", "shape", "accuracy"), 100, 1),
    ("size read from the code vectors, R²", ("scores", "readout", "size", "r2"), 1, 3),
    ("x read from the code vectors, R²", ("scores", "readout", "x", "r2"), 1, 3),
    ("y read from the code vectors, R²", ("scores", "readout", "y", "r2"), 1, 3),
    ("best block's information on colour", ("scores", "blocks", "colour", "value"), 1, 3),
    ("best block's information on x", ("scores", "blocks", "x", "value"), 1, 3),
    ("best block's information on y", ("scores", "blocks", "y", "value"), 1, 3),
    ("codes used, least of all codebooks, %", ("scores", "codebooks", "share_used_min"), 100, 1),
    ("prior, bits a code (canonical order)", ("scores", "prior", "canonical"), 1, 3),
    ("prior, bits a code (shuffled order)", ("scores", "prior", "shuffled"), 1, 3),
    ("well-formed generated scenes, %", ("scores", "generation", "share"), 100, 1),
    ("… lower end of the Wilson interval, %", ("scores", "generation", "low"), 100, 1),
    ("… upper end, %", ("scores", "generation", "high"), 100, 1),
    ("… that obey the rule of the data, %", ("scores", "generation", "obeys_rule", "share"), 100, 1),
    ("… lower end of the Wilson interval of these, %", ("scores", "generation", "obeys_rule", "low"), 100, 1),
    ("… upper end of these, %", ("scores", "generation", "obeys_rule", "high"), 100, 1),
    ("well-formed reconstructions, %", ("scores", "reconstruction", "well_formed", "share"), 100, 1),
)


def provenance(device: torch.device, precision: str, processes: int = 1) -> dict[str, Any]:
    """What made the numbers: commit, hardware, versions, precision."""
    return {
        "commit": commit(),
        "hardware": hardware(device),
        "device": str(device),
        "processes": processes,
        "precision": precision,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """The commit of the clone, with "-dirty" where files were changed, results apart; None outside a clone."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top) != PROJECT:  # as paths: Git writes slashes on Windows too
        return None
    name = _git("rev-parse", "HEAD")
    return f"{name}-dirty" if name and _git("status", "--porcelain", "--", ".", ":!results") else name


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def hardware(device: torch.device) -> str:
    """The processor that computes on `device`, as a person would name it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="ignore").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def lookup(results: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The number at `path` in nested results, or None where a step is missing or null."""
    value: Any = results
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes readable JSON, whole or not at all."""
    return write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Writes a text file, whole or not at all."""
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def table(results: Mapping[str, Any]) -> str:
    """Two columns: what matters of a run's results, those numbers that there are, and what each is."""
    found = [(label, lookup(results, path), factor, digits) for label, path, factor, digits in (*OF_THE_RUN, *SCORES)]
    rows = [(label, f"{value * factor:.{digits}f}") for label, value, factor, digits in found if value is not None]
    width, places = (max(len(row[column]) for row in rows) if rows else 0 for column in (0, 1))
    return "\n".join(f"{label:<{width}}  {value:>{places}}" for label, value in rows)
