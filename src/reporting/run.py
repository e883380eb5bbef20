"""`python -m src.evaluate`, from settings to files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..configs.errors import Interrupted, as_config_error
from ..configs.schema import DataConfig, ReportConfig
from ..configs.termination import signal_of
from ..data.base import SceneDataset
from ..data.toy_datasets import ToyDataset
from ..evaluation.attribute_training import is_kept, usual_minutes
from ..evaluation.inception import FeatureNetwork, require_torchmetrics
from ..training.build import make_split, prepare
from ..utils.memory import keep_freed_memory
from ..utils.precision import resolve_device, resolve_precision
from .checkpoints import open_checkpoints
from .comparison import check_comparable, compare_reports
from .document import Table
from .folders import COMPARISON, REPORT, choose_folder, clear, files_of, finished_report, require_writable
from .markdown import table
from .report import facts_of, headline, make_report, write_report
from .sections import HEADLINE, SECTIONS, Section, chosen


def evaluate(config: ReportConfig) -> list[Path]:
    """Writes a report on every checkpoint that `config` names and, of several, how they compare; returns the paths.

    One checkpoint's files are `report.json`, `report.md`, `report.html` and pictures in the output folder; those of
    several are in a folder each, beside `comparison.json`, `comparison.md` and `comparison.html`. A comparison that was
    stopped goes on with the reports that it lacks.

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
    reports = {each.label: facts_of(each, sections, config, device, precision) for each in checkpoints}
    folder, said = choose_folder(config.output, reports)
    require_writable(folder, reports)
    names = ", ".join(section.name for section in sections)
    print(f"{len(checkpoints)} checkpoint{'s' if several else ''}, {names}; device {device}, {precision}", flush=True)
    if said:
        print(said, flush=True)
    stopped = several and not (folder / f"{COMPARISON}.json").exists()
    results: list[dict[str, Any]] = []
    paths: list[Path] = []
    opened: tuple[DataConfig, SceneDataset, SceneDataset] | None = None
    try:
        for number, checkpoint in enumerate(checkpoints, start=1):
            place = folder / checkpoint.label if several else folder
            if several:
                print(f"\n── {number} of {len(checkpoints)}: {checkpoint.label} ({checkpoint.path})", flush=True)
            if stopped and (found := finished_report(reports[checkpoint.label], place)):
                print(f"its report is in {place}, of the same settings and code", flush=True)
                results.append(found)
                paths += files_of(place)
                continue
            if opened is None or asdict(opened[0]) != asdict(checkpoint.data):
                opened = None  # one data set at a time in memory
                scored = make_split(checkpoint.data, config.split)
                for line in prepare(scored):
                    print(line)
                opened = (checkpoint.data, make_split(checkpoint.data, "train"), scored)
                _announce_judge(opened[2], sections, config)
            result, page = make_report(checkpoint, *opened[1:], sections, config, device, precision)
            clear(folder, reports)
            paths += write_report(place, result, page)
            results.append(result)
    except KeyboardInterrupt as error:
        if results:
            kept = f"{len(results)} of {len(checkpoints)} reports are in {folder}; the same command goes on from there"
        else:
            kept = "no report was written; the same command starts anew"
        raise Interrupted(f"stopped; {kept}", signal_of(error)) from None
    if several:
        content, page = compare_reports(results, [f"{each.label}/{REPORT}.html" for each in checkpoints])
        paths += write_report(folder, content, page, COMPARISON)
        _print_table(page.headline[0])
    else:
        _print_table(headline(results[0]["scores"], HEADLINE))
    for line in dict.fromkeys(note for result in results for note in result["notes"]):
        print(f"note: {line}")
    print("\n".join(f"wrote {path}" for path in paths))
    return paths


def _announce_judge(data: SceneDataset, sections: Sequence[Section], config: ReportConfig) -> None:
    """One line, if a judge is to be trained first: why, for how long, and what does without."""
    judged = [section.name for section in sections if section.judged]
    if not judged or not isinstance(data, ToyDataset) or is_kept(data, config.cache_dir):
        return
    others = [section.name for section in (sections if len(judged) < len(sections) else SECTIONS) if not section.judged]
    print(
        f"no attribute network comes along for these scenes ({data.name}, up to {data.max_shapes} objects, "
        f"{data.background} background, {data.image_size}×{data.image_size}): one is trained now, which takes a "
        f"processor about {usual_minutes():.0f} minutes, and kept in {config.cache_dir}; "
        f"{', '.join(judged)} ask{'s' if len(judged) == 1 else ''} it, sections=[{','.join(others)}] do without",
        flush=True,
    )


def _print_table(content: Any) -> None:
    assert isinstance(content, Table)
    print("\n" + "\n".join(table(content)) + "\n")
