"""What a run leaves behind in words: results.json and one printed table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..utils.whole_files import draft_of

PROJECT = Path(__file__).resolve().parents[2]


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
    """The commit of the clone, with "-dirty" where files were changed; None outside a clone."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top) != PROJECT:  # as paths: Git writes slashes on Windows too
        return None
    name = _git("rev-parse", "HEAD")
    return f"{name}-dirty" if name and _git("status", "--porcelain") else name


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


def table(scores: Mapping[str, Any]) -> str:
    """Two columns: the dotted name of every number in nested `scores`, and the number."""
    rows = list(_rows(scores))
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in scores.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _rows(value, f"{name}.")
        elif isinstance(value, bool) or value is None:
            yield name, {True: "yes", False: "no", None: "-"}[value]
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        elif isinstance(value, (int, str)):
            yield name, str(value)
        elif isinstance(value, (list, tuple)) and _is_short(value):
            yield name, " ".join(f"{item:.3g}" for item in value)


def _is_short(values: list[Any] | tuple[Any, ...]) -> bool:
    return len(values) <= 16 and all(isinstance(item, (int, float)) for item in values)
