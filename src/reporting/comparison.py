"""Several reports beside each other: runs that differ in their seed only are one group; groups are compared by pairs of
runs with the same seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

from scipy import stats

from ..configs.errors import ConfigError
from ..evaluation.comparison import HOW_TO_READ, Measure, compare, difference, mean_and_std
from ..evaluation.paired import SEEDS_FOR_P
from ..training.checkpoint import FREE, differences
from ..utils import visualization
from .checkpoints import Checkpoint
from .document import Block, Document, Part, Picture, Table
from .report import DEFINITIONS
from .sections import HEADLINE, value_at
from .tables import label, leaves, number

_ANY_SEED = (*FREE, "seed")
_PLACES = ("num_workers", "cache_dir", "skip_bad")  # of the data, but not what is seen
_NOT_COMPARED = ("attribute_network",)  # the judge is the same for all
LONGEST_NAME = 40

Results = Mapping[str, Any]  # what report.json holds


def check_comparable(checkpoints: Sequence[Checkpoint], split: str) -> None:
    """Refuses what does not compare, before anything is measured.

    Raises:
        ConfigError: scores would be of different pictures, or two checkpoints are of the same run.
    """
    first = checkpoints[0]
    for other in checkpoints[1:]:
        for key, value in _scored(other, split).items():
            if _scored(first, split)[key] != value:
                raise ConfigError(
                    f"{first.path} has data.{key}={_scored(first, split)[key]} and {other.path} has {value}: scores of "
                    f"different pictures do not compare; give data.{key} for all of them, or evaluate them apart"
                )
    for runs in grouped([checkpoint.config for checkpoint in checkpoints]):
        seen: dict[Any, Checkpoint] = {}
        for run in (checkpoints[index] for index in runs):
            if run.seed in seen:
                raise ConfigError(
                    f"{seen[run.seed].path} and {run.path} are of the same settings and the same seed, {run.seed}: "
                    "give only one of them"
                )
            seen[run.seed] = run


def grouped(configs: Sequence[Results]) -> list[list[int]]:
    """The numbers of the runs of each group, in the order given. Runs without settings are groups of their own."""
    groups: list[list[int]] = []
    for index, config in enumerate(configs):
        for group in groups:
            other = configs[group[0]]
            if "seed" in config and "seed" in other and not differences(other, config, _ANY_SEED):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def group_names(results: Sequence[Results], groups: Sequence[Sequence[int]]) -> list[str]:
    """What to call each group: what its runs' names have in common, or else the settings that are its own."""
    names = [_common([results[index]["name"] for index in group]) for group in groups]
    if all(names) and len(set(names)) == len(names):
        return names
    first = results[groups[0][0]]["config"]
    found = []
    for position, group in enumerate(groups):
        own = differences(first, results[group[0]]["config"], _ANY_SEED)
        words = ", ".join(f"{key.rpartition('.')[2]}={now}" for key, (_, now) in own.items())
        name = "as given" if position == 0 else words[:LONGEST_NAME] or results[group[0]]["name"]
        found.append(name if name not in found else f"{name} ({position + 1})")
    return found


def compare_reports(results: Sequence[Results], pages: Sequence[str] | None = None) -> tuple[dict[str, Any], Document]:
    """Mean ± std of every measurement of each group, and its paired difference from the first group's.

    Args:
        results: what each report.json holds, on the same data.
        pages: where each report's page lies, seen from the comparison's: <folder>/report.html. None: there are none.

    Returns:
        for JSON: `groups`, with the runs of each; `headline` and `numbers`, for each measure the values of each group's
        seeds, mean, std, the 95 % interval of the mean (Student's t) and the difference; and the document.
    """
    groups = grouped([result["config"] for result in results])
    names = group_names(results, groups)
    runs = {
        name: {_seed(results[index], position): results[index] for position, index in enumerate(group)}
        for name, group in zip(names, groups, strict=True)
    }
    headline = [measure for measure in HEADLINE if _known(runs, measure)]
    content: dict[str, Any] = {
        "groups": {
            name: [{key: run.get(key) for key in _OF_RUN} for run in of_group.values()]
            for name, of_group in runs.items()
        },
        "split": results[0]["split"],
        "data": results[0]["data"],
        "headline": {measure.label: _compared(runs, measure) for measure in headline},
        "numbers": {
            ".".join(path): _compared(runs, Measure(".".join(path), path))
            for path in dict.fromkeys(path for run in results for path, _ in leaves(run["scores"]))
            if path[0] not in _NOT_COMPARED
        },
    }
    return content, _document(content, headline, results, pages or [])


_OF_RUN = ("name", "seed", "path", "sha256", "checkpoint_commit", "commit")


def _document(
    content: Mapping[str, Any], headline: Sequence[Measure], results: Sequence[Results], pages: Sequence[str]
) -> Document:
    names = list(content["groups"])
    first, *others = names
    every = sum(map(len, content["groups"].values()))
    runs = [*_figure(content, headline), *(_intervals(content, headline) if others else [])]
    parts = [Part("measures", "The main numbers, run by run", _HOW_RUNS, runs)]
    if others:
        differences = [_differences(content, headline), *_about_pairs(content, headline)]
        parts.append(Part("differences", f"Differences from {first}", f"{HOW_TO_READ}.", differences))
    listed = zip(results, pages, strict=False)
    links = ", ".join(f"[{result['name']}]({page})" for result, page in listed)
    parts += [
        Part(
            "everything", "All numbers", "Mean ± standard deviation of every measurement in the reports.", _all(content)
        ),
        Part("runs", "The runs", f"The reports: {links}." if links else "", [_runs(content, results)]),
    ]
    data = content["data"]
    return Document(
        title="How they compare: " + ", ".join(names) if others else f"{first}, {every} seeds",
        subtitle=f"{every} runs in {len(names)} group{'s' if others else ''} on the {content['split']} split of "
        f"{data['name']}. {DEFINITIONS}",
        headline=[_headline(content, headline)],
        parts=parts,
        notes=[f"{result['name']}: {note}" for result in results for note in result["notes"]],
    )


_HOW_RUNS = "A dot for each seed, a bar for mean ± standard deviation; the dashed line is the mean of the first group."


def _headline(content: Mapping[str, Any], measures: Sequence[Measure]) -> Table:
    """A column for each group; of a single one, a column for each seed and the interval of the mean."""
    names = list(content["groups"])
    found = content["headline"]
    if len(names) > 1:
        rows = [[row.label, *(mean_and_std(row, found[row.label][name]) for name in names)] for row in measures]
        return Table(["mean ± std", *names], rows)
    seeds = [f"seed {number(run['seed'])}" for run in content["groups"][names[0]]]
    rows = []
    for row in measures:
        own = found[row.label][names[0]]
        each = own["values"].values()
        rows.append([row.label, *(row.shown(value) for value in each), mean_and_std(row, own), _interval(row, own)])
    return Table(["", *seeds, "mean ± std", "95 % interval of the mean"], rows)


def _differences(content: Mapping[str, Any], measures: Sequence[Measure]) -> Table:
    """A column for each group but the first; a cell says of how many pairs it is where a run lacks the number."""
    _, *others = content["groups"]
    pairs = {name: _pairs(content, name) for name in others}
    rows = []
    for row in measures:
        cells = []
        for name in others:
            found = content["headline"][row.label][name]
            fewer = found["difference"] is not None and found["difference"]["n"] < pairs[name]
            cells.append(difference(row, found) + (f" ({_of_pairs(found['difference']['n'])})" if fewer else ""))
        rows.append([row.label, *cells])
    return Table(["", *(f"{name}, {_of_pairs(count)}" for name, count in pairs.items())], rows)


def _of_pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"


def _pairs(content: Mapping[str, Any], name: str) -> int:
    """How many runs of a group have a run of the first group beside them."""
    return len(set(_seeds(content, name)) & set(_seeds(content, next(iter(content["groups"])))))


def _seeds(content: Mapping[str, Any], name: str) -> list[str]:
    return [str(_seed(run, position)) for position, run in enumerate(content["groups"][name])]


def _about_pairs(content: Mapping[str, Any], measures: Sequence[Measure]) -> list[Block]:
    """Why a difference is missing, or says little."""
    first, *others = content["groups"]
    said: list[Block] = []
    for name in others:
        count = _pairs(content, name)
        if count == 0:
            own, other = (", ".join(_seeds(content, each)) for each in (name, first))
            said.append(
                f"{name} has no seed in common with {first} ({own} against {other}), so there are no pairs to take "
                "differences of: train both with the same seeds."
            )
        elif count == 1:
            said.append(
                f"{name} makes one pair with {first}: how far its differences are chance cannot be told. That takes "
                "several seeds of each; the reports' own intervals are over scenes, of the model that each is about."
            )
        elif any(content["headline"][row.label][name]["difference"] is None for row in measures):
            said.append(f"{name}: – stands where one run of every pair lacks the number.")
    if any(1 < _pairs(content, name) < SEEDS_FOR_P for name in others):
        said.append(_FEW_PAIRS)
    return said


_FEW_PAIRS = (
    f"Of fewer than {SEEDS_FOR_P} pairs the bootstrap interval is too narrow: of three it reaches from the smallest "
    "difference to the largest, which holds the true one in about three cases of four, of two in one of two."
)


def _intervals(content: Mapping[str, Any], measures: Sequence[Measure]) -> list[Block]:
    """Where the means of groups of several runs lie."""
    names = list(content["groups"])
    rows = [[row.label, *(_interval(row, content["headline"][row.label][name]) for name in names)] for row in measures]
    known = any(cell != "–" for _, *cells in rows for cell in cells)
    return [Table(["", *names], rows, "95 % interval of the mean over seeds (Student's t)")] if known else []


def _interval(measure: Measure, found: Mapping[str, Any]) -> str:
    return "–" if found["low"] is None else f"{measure.shown(found['low'])}–{measure.shown(found['high'])}"


def _figure(content: Mapping[str, Any], measures: Sequence[Measure]) -> list[Block]:
    values = {
        row.heading: {name: list(own["values"].values()) for name, own in content["headline"][row.label].items()}
        for row in measures
    }
    if not values:
        return []
    names = list(content["groups"])
    figure = visualization.variant_comparison(values, dpi=120)
    alt = f"For each measure, the runs of {', '.join(names)} as dots on one line; the numbers are in the table above"
    return [Picture("comparison", visualization.png(figure), alt)]


def _all(content: Mapping[str, Any]) -> list[Block]:
    """A table for each entry of the scores."""
    names = list(content["groups"])
    tables: dict[str, list[list[str]]] = {}
    for path, found in content["numbers"].items():
        topic, *rest = path.split(".")
        cells = []
        for name in names:
            mean, std = found[name]["mean"], found[name]["std"]
            cells.append(number(mean) + ("" if std is None else f" ± {number(std)}"))
        words = [label(key) for key in rest if key not in ("mean", "share")]  # the only number of its entry
        tables.setdefault(topic, []).append([" · ".join(words) or label(topic), *cells])
    return [Table(["", *names], rows, label(topic)) for topic, rows in tables.items()]


def _runs(content: Mapping[str, Any], results: Sequence[Results]) -> Table:
    of = {run["name"]: name for name, runs in content["groups"].items() for run in runs}
    rows = [
        [
            result["name"],
            of[result["name"]],
            number(result["seed"]),
            result.get("path", result["checkpoint"]),
            *(str(result.get(key) or "–")[:10] for key in ("sha256", "checkpoint_commit", "commit")),
            f"{result['seconds']['total']:.0f} s",
        ]
        for result in results
    ]
    return Table(["", "group", "seed", "file", "SHA-256", "written by commit", "looked at by commit", "time"], rows)


def _compared(runs: Mapping[str, Mapping[Any, Results]], measure: Measure) -> dict[str, Any]:
    """Of one measure: group → values by seed, mean, std, interval, difference from the first group."""
    values = {
        name: {seed: measure.of(value_at(run["scores"], measure.path)[0]) for seed, run in of_group.items()}
        for name, of_group in runs.items()
    }
    first = next(iter(values.values()))
    found = {}
    for name, own in values.items():
        compared = compare(list(own.values()), [first.get(seed) for seed in own])
        low, high = interval_of_mean([value for value in own.values() if value is not None], measure.limits)
        found[name] = {
            "values": {str(seed): value for seed, value in own.items()},
            "mean": compared["mean"],
            "std": compared["std"],
            "low": low,
            "high": high,
            "difference": None if own is first else compared["difference"],
        }
    return found


def interval_of_mean(
    values: Sequence[float], limits: tuple[float, float] = (-inf, inf)
) -> tuple[float | None, float | None]:
    """95 % interval of the mean over seeds, by Student's t, cut at the `limits` of what is measured; None for fewer
    than two."""
    if len(values) < 2:
        return None, None
    mean, error = statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return max(mean - reach, limits[0]), min(mean + reach, limits[1])


def _known(runs: Mapping[str, Mapping[Any, Results]], measure: Measure) -> bool:
    return any(
        value_at(run["scores"], measure.path)[0] is not None for of_group in runs.values() for run in of_group.values()
    )


def _seed(result: Results, position: int) -> Any:
    return f"run {position + 1}" if result["seed"] is None else result["seed"]


def _scored(checkpoint: Checkpoint, split: str) -> dict[str, Any]:
    """What decides which pictures are scored."""
    other_splits = tuple(f"num_{name}" for name in ("train", "val", "test") if name != split)
    return {key: value for key, value in asdict(checkpoint.data).items() if key not in (*_PLACES, *other_splits)}


def _common(names: Sequence[str]) -> str:
    """What all names begin with, without the seed at the end."""
    name = names[0]
    for other in names[1:]:
        while not other.startswith(name):
            name = name[:-1]
    return name.rpartition("seed_")[0].rstrip("_-. ") if "seed_" in name else name.rstrip("_-. ")
