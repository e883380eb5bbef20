"""The report on one checkpoint: its scores as JSON, and the document that shows them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..configs.schema import ReportConfig
from ..data.base import SceneDataset
from ..data.catalogue import DRAWN
from ..evaluation.comparison import Measure
from ..evaluation.subject import Subject, look_at
from ..training.build import make_split
from ..training.results import provenance, write_json, write_text
from ..utils.places import without_places
from ..utils.precision import autocast
from ..utils.randomness import own_randomness
from ..utils.whole_files import draft_of
from .checkpoints import Checkpoint
from .document import Block, Cell, Document, Part, Remarks, Table
from .folders import REPORT, files_of
from .html_page import as_html
from .markdown import as_markdown
from .sections import HEADLINE, Section, value_at
from .tables import estimate, number

DEFINITIONS = "docs/evaluation.md of the project defines every number."
DATA_WORDS = {
    "sprites": "2D Sprites",
    "clevr": "CLEVR",
    "clevr_like": "CLEVR-like scenes",
    "folder": "a folder of pictures",
    "multi_dsprites": "Multi-dSprites",
}
SMALL_PRINT = (
    "An interval says how exact a number is for this model, over the scenes or objects that were scored; what another "
    "training would give may lie outside it. Numbers without one are given as they are. A dash: not defined here, and "
    "the section says why."
)


def facts_of(
    checkpoint: Checkpoint, sections: Sequence[Section], config: ReportConfig, device: str, precision: str
) -> dict[str, Any]:
    """What is known of a report before anything is measured, as JSON has it: the model, and how it is looked at."""
    facts = {
        "name": checkpoint.label,
        "checkpoint": checkpoint.path.name,
        "path": checkpoint.place,
        "sha256": checkpoint.sha256,
        "checkpoint_commit": checkpoint.commit,
        "step": checkpoint.step,
        "seed": checkpoint.seed,
        **provenance(torch.device(device), precision),
        "split": config.split,
        "evaluation": {
            "sections": [section.name for section in sections],
            **{key: getattr(config, key) for key in _OF_EVALUATION},
        },
        "data": asdict(checkpoint.data),
        "data_place": _digest(checkpoint.data.path),
        "config": checkpoint.config,
    }
    return json.loads(json.dumps(without_places(facts)))


def _digest(path: str | None) -> str | None:
    """Tells folders of one name apart, and not where they are."""
    return None if path is None else hashlib.sha256(str(Path(path).absolute()).encode()).hexdigest()[:12]


_OF_EVALUATION = ("seed", "batch_size", "num_generated", "temperature", "top_k", "inception", "dpi")


def make_report(
    checkpoint: Checkpoint,
    train_data: SceneDataset,
    scored_data: SceneDataset,
    sections: Sequence[Section],
    config: ReportConfig,
    device: str,
    precision: str,
) -> tuple[dict[str, Any], Document]:
    """What the sections find in a model: for JSON, and to be shown. Says on stdout what it has found so far."""
    started = time.perf_counter()
    facts = facts_of(checkpoint, sections, config, device, precision)  # now: files of the code may change meanwhile
    model = checkpoint.model.to(device)
    scores: dict[str, Any] = {}
    parts: list[Part] = []
    with own_randomness(config.seed, torch.device(device)):
        subject = look_at(
            model,
            train_data,
            scored_data,
            device=device,
            autocast=autocast(precision, device),
            batch_size=config.batch_size,
            seed=config.seed,
            cache_dir=config.cache_dir,
            judged=any(section.judged for section in sections),
            trained_on=trained_on(checkpoint, train_data),
        )
        for section in sections:
            since, before = time.perf_counter(), len(subject.notes)
            found = section.scores(subject, config)
            missing = all(value is None for name, value in found.items() if name != "arrays")
            why = list(dict.fromkeys(subject.notes[before:]))
            blocks: Sequence[Block]
            if missing:
                blocks = [f"Not measured. {line}" for line in why] or ["Not measured."]
            else:
                blocks = [*section.show(subject, found, config), *([Remarks(why)] if why else [])]
            parts.append(Part(section.name, section.title, section.about, blocks))
            scores |= found
            seconds = time.perf_counter() - since
            subject.seconds[f"section {section.name}"] = round(seconds, 2)
            _say(section, found, seconds)
    checkpoint.model.to("cpu")
    scores.pop("arrays", None)
    trained = {"config": facts.pop("config")}  # the longest, so the last
    found = {
        "seconds": {**subject.seconds, "total": round(time.perf_counter() - started, 1)},
        "model": describe(subject),
        "scores": scores,
        "notes": list(dict.fromkeys(subject.notes)),
    }
    result = {**facts, **found, **trained}
    return result, document(result, parts)


def trained_on(checkpoint: Checkpoint, train_data: SceneDataset) -> SceneDataset | None:
    """All that a model was trained on: `train_data` unless settings of the report have changed it. Only of data that
    are drawn, which cost no picture before one is looked at; nothing reads the scenes of others."""
    own, shown = checkpoint.trained_on, checkpoint.data
    if own is None or own.name not in DRAWN:
        return None
    as_shown = replace(own, num_val=shown.num_val, num_test=shown.num_test) == shown
    return train_data if as_shown else make_split(own, "train")


def document(result: Mapping[str, Any], parts: Sequence[Part]) -> Document:
    """What is shown of a report beside its parts."""
    data, model = result["data"], result["model"]
    of = DATA_WORDS.get(data["name"], data["name"])
    words = f"{model['kind']}, {model['parameters']:,} parameters, on the {result['split']} split of {of}"
    return Document(
        title=f"What {result['name']} has learned",
        subtitle=f"{words} ({data['image_size']}×{data['image_size']} pixels). {DEFINITIONS}",
        headline=[headline(result["scores"], HEADLINE), SMALL_PRINT],
        parts=parts,
        notes=[note for note in result["notes"] if note not in _said(parts)],
        made=_made(result),
        settings=json.dumps(result["config"], indent=2) if result["config"] else "",
    )


def headline(scores: Mapping[str, Any], measures: Sequence[Measure]) -> Table:
    """The main numbers that there are, with intervals where they have them."""
    rows: list[list[Cell | str]] = []
    for measure in measures:
        value, owner = value_at(scores, measure.path)
        if value is None:
            continue
        cell = Cell(measure.shown(measure.of(value)))
        low, high = (None, None) if owner is None else (measure.of(owner.get(end)) for end in ("low", "high"))
        if owner is not None and low is not None and high is not None:
            track = estimate(owner, measure.path[-2]).track
            cell = Cell(cell.text, f"{measure.shown(low)}–{measure.shown(high)}", track)
        rows.append([measure.label, cell])
    return Table(("", ""), rows)


def write_report(folder: Path, result: Mapping[str, Any], page: Document, name: str = REPORT) -> list[Path]:
    """`<name>.json`, `<name>.md` with its pictures, and `<name>.html`, in the place of an earlier report's; returns the
    paths, the page last."""
    earlier = files_of(folder, name)
    pictures = []
    for picture in page.pictures:
        with draft_of(folder / f"{picture.name}.png") as draft:
            draft.write_bytes(picture.png)
        pictures.append(folder / f"{picture.name}.png")
    text = write_text(folder / f"{name}.md", as_markdown(page))
    html = write_text(folder / f"{name}.html", as_html(page))
    paths = [write_json(folder / f"{name}.json", result), text, *pictures, html]  # JSON last: all is there
    for path in earlier:
        if path not in paths:
            path.unlink()
    return paths


def describe(subject: Subject) -> dict[str, Any]:
    """Sizes of the model."""
    model = subject.model
    sizes = {"kind": model.kind, "parameters": sum(weight.numel() for weight in model.parameters())}
    for name in ("num_slots", "num_codebooks", "codebook_size"):
        sizes[name] = getattr(model, name, None)
    return {**sizes, "prior": model.prior is not None}


def _made(result: Mapping[str, Any]) -> Table:
    evaluation, data = result["evaluation"], result["data"]
    of_data = _OF_DRAWN if data["name"] in DRAWN else _OF_FILES
    rows = {
        "checkpoint": f"{result['path']}, step {result['step']:,}, seed {number(result['seed'])}",
        "its SHA-256": result["sha256"],
        "written by commit": result["checkpoint_commit"] or "not known",
        "data": ", ".join(f"{key} {value}" for key, value in data.items() if value is not None and key in of_data),
        "scored": f"the {result['split']} split, seed {evaluation['seed']}, batches of {evaluation['batch_size']}",
        "samples": f"{evaluation['num_generated']:,}, temperature {evaluation['temperature']:g}"
        + ("" if evaluation["top_k"] is None else f", top {evaluation['top_k']}"),
        "looked at by commit": result["commit"] or "not known",
        "hardware": f"{result['hardware']} ({result['device']}, {result['precision']})",
        "versions": f"Python {result['python']}, PyTorch {result['torch']}",
        "time": f"{result['seconds']['total']:.0f} seconds",
    }
    return Table(("", ""), list(rows.items()))


def _said(parts: Sequence[Part]) -> set[str]:
    """The notes that stand in a section."""
    blocks = [block for part in parts for block in part.blocks]
    lines = [line for block in blocks if isinstance(block, Remarks) for line in block.lines]
    return {*lines, *(block.removeprefix("Not measured. ") for block in blocks if isinstance(block, str))}


_OF_FILES = ("name", "image_size", "num_train", "num_val", "num_test", "path")
_OF_DRAWN = (*_OF_FILES, "max_shapes", "background", "seed")


def _say(section: Section, found: Mapping[str, Any], seconds: float) -> None:
    """One line on stdout for a section that is done."""
    known = [
        f"{measure.label} {measure.shown(measure.of(value))}"
        for measure in HEADLINE
        if (value := value_at(found, measure.path)[0]) is not None
    ]
    print(f"{section.title} ({seconds:.1f} s)" + (f": {', '.join(known)}" if known else ""), flush=True)
