"""The ablation study: the full model and variants of it, each trained with the same seeds, and what differs.

    python -m src.train ablation.enabled=true

Everything is kept in `<log_dir>/ablation/<ablation.name>/`: a folder for each run, `ablation.csv`, `ablation.md`,
`ablation.png` and `ablation.json`. A run that is there is not made again, and one that was cut goes on, so that the
same command finishes an interrupted study.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..configs.errors import ConfigError
from ..configs.launch import Invocation, plain
from ..configs.schema import MAX_SEED, TrainConfig, check
from ..configs.variants import FULL, make_variants, variant_files
from ..evaluation.comparison import Measure, Values, as_csv, as_markdown, compare
from ..utils import visualization
from .build import check_sizes
from .checkpoint import FREE, LAST, differences, unfinished
from .results import lookup, write_json, write_text
from .run import train

MEASURES = (
    Measure("FG-ARI", ("segmentation", "fg_ari")),
    Measure("mIoU", ("segmentation", "miou")),
    Measure("MSE × 1000", ("reconstruction", "mse"), 1000, 2, higher_is_better=False),
    Measure("colour read, %", ("readout", "colour", "accuracy"), 100, 1),
    Measure("shape read, %", ("readout", "shape", "accuracy"), 100, 1),
    Measure("information on colour", ("blocks", "colour", "value")),
    Measure("information on x", ("blocks", "x", "value")),
    Measure("information on y", ("blocks", "y", "value")),
    Measure("well-formed samples, %", ("generation", "share"), 100, 1),
)

SCORED = {"evaluation", "data.num_test"}  # free when a run goes on, but not where its scores are compared


def ablate(config: TrainConfig, call: Invocation) -> Path:
    """Makes the runs that are missing and writes the comparison; returns the folder of the study.

    Raises:
        ConfigError: settings that cannot be used, or a folder with runs of other settings.
    """
    started = time.perf_counter()
    seeds = config.ablation.seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"ablation.seeds={seeds} cannot be used; give at least one seed, and each of them once")
    if outside := [seed for seed in seeds if not 0 <= seed <= MAX_SEED]:
        raise ConfigError(f"ablation.seeds has {outside[0]}, which is out of range; seeds are from 0 to {MAX_SEED}")
    if call.own_checkpoints:
        raise ConfigError("an ablation study makes its runs one after the other by itself; leave -m out")
    if config.training.devices * config.training.num_nodes > 1:
        raise ConfigError("an ablation study makes its runs in one process; leave training.devices and num_nodes at 1")
    if not config.evaluation.enabled:
        raise ConfigError("evaluation.enabled=false leaves nothing to compare; an ablation study needs the scores")
    variants = make_variants(config)
    for name, variant in variants.items():
        try:
            check_sizes(variant)
        except ConfigError as error:
            raise ConfigError(f"{variant_files(config.ablation.folder).get(name, FULL)}: {error}") from error
    folder = Path(config.log_dir) / "ablation" / config.ablation.name
    runs = {
        (name, seed): replace(variant, seed=seed)
        for seed in seeds  # seed by seed: an unfinished study has compared all variants with those it has
        for name, variant in variants.items()
    }
    for settings in runs.values():
        check(settings)
    missing = [run for run, settings in runs.items() if not _is_made(folder, *run, settings)]
    print(f"{len(variants)} variants × {len(seeds)} seeds: {len(runs)} runs in {folder}, {len(missing)} to be made")
    for done, (name, seed) in enumerate(missing):
        print(f"\n── run {done + 1} of {len(missing)}: {name}, seed {seed}{_time_left(started, done, len(missing))}")
        place = Invocation(folder_of_run(folder, name, seed), own_checkpoints=True, command=call.command)
        place.run_dir.mkdir(parents=True, exist_ok=True)
        settings = runs[name, seed]
        resume = "auto" if (place.checkpoints / LAST).exists() else None
        train(replace(settings, training=replace(settings.training, resume=resume)), place)
    results = {run: read_results(folder, *run, settings) or {} for run, settings in runs.items()}
    seconds = sum(result["seconds"]["total"] for result in results.values())
    write_study(folder, list(variants), seeds, results, {"command": call.command, "seconds": round(seconds, 1)})
    return folder


def folder_of_run(folder: Path, variant: str, seed: int) -> Path:
    """Where a run of the study in `folder` is kept."""
    return folder / variant / f"seed_{seed}"


def read_results(folder: Path, variant: str, seed: int, settings: TrainConfig) -> dict[str, Any] | None:
    """The results of a finished run, None if there are none yet.

    Raises:
        ConfigError: they are those of other settings.
    """
    path = folder_of_run(folder, variant, seed) / "results.json"
    if not path.exists():
        return None
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        differing = differences(results["config"], plain(settings), free=set(FREE) - SCORED)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); remove it, and the run is made again") from error
    if differing:
        key, (then, now) = next(iter(differing.items()))
        raise ConfigError(
            f"{path} was made with {key}={then} but the study now has {key}={now}: "
            f"choose another ablation.name for it, or remove {folder}"
        )
    return results


def _is_made(folder: Path, variant: str, seed: int, settings: TrainConfig) -> bool:
    """Whether a run is scored and its pictures are drawn."""
    scored = read_results(folder, variant, seed, settings) is not None
    return scored and unfinished(Invocation(folder_of_run(folder, variant, seed)).checkpoints) is None


def write_study(
    folder: Path,
    variants: Sequence[str],
    seeds: Sequence[int],
    results: Mapping[tuple[str, int], Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> None:
    """ablation.json, .csv, .md and .png of finished runs; `variants` begins with the full model."""
    values: dict[str, Values] = {
        measure.label: {
            name: [measure.of(lookup(results[name, seed]["scores"], measure.path)) for seed in seeds]
            for name in variants
        }
        for measure in MEASURES
    }
    made_by = {
        key: "; ".join(dict.fromkeys(str(result[key]) for result in results.values()))
        for key in ("commit", "hardware", "precision", "torch")
    }
    text = write_tables(folder, values, {**provenance, **made_by, "seeds": list(seeds)})
    print(f"\n{text}\nwrote ablation.md, .csv, .json and .png in {folder}")


def write_tables(folder: Path, values: Mapping[str, Values], made_by: Mapping[str, Any]) -> str:
    """The four files of a study, from the numbers of its runs.

    Args:
        folder: where to write them.
        values: for each measure's label, the numbers of every variant, the full model first; one for each seed.
        made_by: what is kept beside them: `seeds`, and the command, hardware … of the runs.

    Returns:
        The text of ablation.md.
    """
    compared = {
        label: {name: compare(of_measure[name], of_measure[FULL]) for name in of_measure}
        for label, of_measure in values.items()
    }
    write_json(folder / "ablation.json", {**made_by, "values": values, "compared": compared})
    write_text(folder / "ablation.csv", as_csv(values, compared))
    seeds = len(made_by["seeds"])
    text = as_markdown(values, compared, MEASURES, seeds)
    write_text(folder / "ablation.md", text)
    shown = {measure.heading: values[measure.label] for measure in MEASURES}
    figure = visualization.variant_comparison(
        shown, title=f"What each part is for: {seeds} seed{'s' if seeds > 1 else ''} a variant"
    )
    visualization.save_figure(figure, folder / "ablation.png")
    return text


def _time_left(started: float, done: int, total: int) -> str:
    if not done:
        return ""
    seconds = (time.perf_counter() - started) / done * (total - done)
    return f"; about {timedelta(seconds=round(seconds))} left in all"
