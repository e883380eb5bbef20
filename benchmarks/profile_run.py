"""Where the time of a run goes: the training command's parts, timed, with only a share of the steps.

    python -m benchmarks.profile_run                             # results/profile_run.json
    python -m benchmarks.profile_run --budget 0.1 precision=float32

Steps cost the same from first to last, so a share of them is run and counted for all; everything else happens as often
and at the size of a full run. Further words are settings, as for `python -m src.train`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from src.configs.arguments import Parser
from src.configs.errors import CommandError
from src.configs.launch import Invocation, compose_config
from src.configs.variants import with_budget
from src.training import autoencoder, finish, prior, run
from src.training.results import commit, hardware, write_json
from src.training.session import Session

RESULTS = Path(__file__).resolve().parents[1] / "results" / "profile_run.json"
AUTOENCODER, PRIOR = "autoencoder steps", "prior steps"

# label → the functions whose time it is; what they call and what is listed here too counts for the inner one
PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "rendering": ((run, "prepare"), (finish, "prepare")),
    AUTOENCODER: ((run, "train_autoencoder"),),
    PRIOR: ((run, "train_prior"),),
    "validation": ((autoencoder, "validation_metrics"), (prior, "validation_nll")),
    "pictures": (
        *((autoencoder, "show_reconstructions"), (prior, "show_samples")),
        *((finish, "save_pictures"), (finish, "save_score_pictures")),
    ),
    "codes of the data": ((prior, "cache_codes"), (finish, "cache_codes")),
    "checkpoints": ((Session, "save_last"), (Session, "save_best")),
    "scores": ((finish, "evaluate_model"),),
}


class Stopwatch:
    """Seconds of each part, those of the parts inside it taken out."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._inside = [0.0]  # seconds of the parts within each one that runs

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which from now on counts for `label`."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                self.seconds[label] += took - self._inside.pop()
                self._inside[-1] += took

        return wrapper


def profile(settings: list[str], budget: float) -> dict[str, float]:
    """Seconds of each part of a full run with these settings; "else" is what belongs to no part."""
    config = compose_config(settings)
    config = replace(config, ablation=replace(config.ablation, budget=budget))
    stopwatch = Stopwatch()
    with ExitStack() as stack:
        for label, functions in PARTS.items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, stopwatch.timed(label, getattr(owner, name))))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        started = time.perf_counter()
        run.train(with_budget(config), Invocation(Path(folder), own_checkpoints=True))
        total = time.perf_counter() - started
    seconds = {**stopwatch.seconds, "else": total - sum(stopwatch.seconds.values())}
    return {label: each / (budget if label in (AUTOENCODER, PRIOR) else 1) for label, each in seconds.items()}


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=0.05, help="share of the steps that are run (default: 0.05)")
    arguments, settings = parser.parse_known_args()
    if not 0 < arguments.budget < math.inf:
        parser.error(f"argument --budget: must be a finite number above 0, got {arguments.budget}")
    try:
        seconds = profile(settings, arguments.budget)
    except CommandError as error:
        raise SystemExit(f"error: {error}") from error
    total = sum(seconds.values())
    for label, each in sorted(seconds.items(), key=lambda part: -part[1]):
        print(f"{label:20} {each:7.1f} s {each / total:6.1%}")
    made_by = {"commit": commit(), "hardware": hardware(torch.device("cpu")), "settings": settings}
    rounded = {label: round(each, 1) for label, each in seconds.items()}
    write_json(RESULTS, {**made_by, "budget": arguments.budget, "seconds": rounded, "total": round(total, 1)})


if __name__ == "__main__":
    main()
