"""`python -m src.evaluate`, from settings to files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..configs.errors import ConfigError, Interrupted, as_config_error
from ..configs.schema import DataConfig, ReportConfig
from ..configs.termination import signal_of
from ..data.base import SceneDataset
from ..evaluation.inception import FeatureNetwork, require_torchmetrics
from ..training.build import make_split, prepare
from ..utils.memory import keep_freed_memory
from ..utils.precision import resolve_device, resolve_precision
from .checkpoints import open_checkpoints
from .comparison import check_comparable, compare_reports
from .document import Table
from .markdown import table
from .report import headline, make_report, write_report
from .sections import HEADLINE, chosen

DEFAULT_FOLDER = "evaluation"


def evaluate(config: ReportConfig) -> list[Path]:
    """Writes a report on every checkpoint that `config` names and, of several, how they compare; returns the paths.

    One checkpoint's files are `report.json`, `report.md`, `report.html` and pictures in the output folder; those of
    several are in a folder each, beside `comparison.json`, `comparison.md` and `comparison.html`.

    Raises:
        ConfigError: a setting, a checkpoint or data that cannot be used, or checkpoints that do not compare.
        Interrupted: a signal asked for it.
    """
    with as_config_error():
        device = resolve_device(config.device)
        precision = resolve_precision(config.precision, device)
        if config.inception is not None:  # now, not after minutes
            require_torchmetrics()
            FeatureNetwork(config.inception)
    if device == "cpu":
        keep_freed_memory()
    sections = chosen(config.sections)
    checkpoints = open_checkpoints(config)
    several = len(checkpoints) > 1
    if several:
        check_comparable(checkpoints, config.split)
    folder = _output(config, "comparison" if several else checkpoints[0].label)
    names = ", ".join(section.name for section in sections)
    print(f"{len(checkpoints)} checkpoint{'s' if several else ''}, {names}; device {device}, {precision}", flush=True)
    results: list[dict[str, Any]] = []
    paths: list[Path] = []
    opened: tuple[DataConfig, SceneDataset, SceneDataset] | None = None
    try:
        for number, checkpoint in enumerate(checkpoints, start=1):
            if several:
                print(f"\n── {number} of {len(checkpoints)}: {checkpoint.label} ({checkpoint.path})", flush=True)
            if opened is None or asdict(opened[0]) != asdict(checkpoint.data):
                opened = None  # one data set at a time in memory
                scored = make_split(checkpoint.data, config.split)
                for line in prepare(scored):
                    print(line)
                opened = (checkpoint.data, make_split(checkpoint.data, "train"), scored)
            result, page = make_report(checkpoint, *opened[1:], sections, config, device, precision)
            place = folder / checkpoint.label if several else folder
            paths += write_report(place, result, page)
            results.append(result)
    except KeyboardInterrupt as error:
        kept = f"{len(results)} of {len(checkpoints)} reports are in {folder}" if results else "no report was written"
        raise Interrupted(f"stopped; {kept}; the same command starts anew", signal_of(error)) from None
    if several:
        content, page = compare_reports(results)
        paths += write_report(folder, content, page, "comparison")
        _print_table(page.headline[0])
    else:
        _print_table(headline(results[0]["scores"], HEADLINE))
    for line in dict.fromkeys(note for result in results for note in result["notes"]):
        print(f"note: {line}")
    print("\n".join(f"wrote {path}" for path in paths))
    return paths


def _output(config: ReportConfig, name: str) -> Path:
    """The folder of the report, made now and not after the minutes that it takes."""
    folder = Path(DEFAULT_FOLDER) / name if config.output is None else Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder} is a file; give a folder for report.json, report.md and report.html")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _print_table(content: Any) -> None:
    assert isinstance(content, Table)
    print("\n" + "\n".join(table(content)) + "\n")
