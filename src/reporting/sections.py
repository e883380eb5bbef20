"""What a report looks at, section by section; docs/evaluation.md defines every score.

A section has a function of the subject that returns scores for JSON, and one that returns what is shown of them. To
add one, write both in a module of `evaluation` and append it to `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..configs.errors import ConfigError
from ..configs.schema import ReportConfig
from ..evaluation import report
from ..evaluation.comparison import Measure
from ..evaluation.subject import Subject
from ..training.autoencoder import scene_figures
from ..utils import visualization
from ..utils.randomness import own_randomness
from .document import Block, Picture
from .tables import tables_of

SCENES_SHOWN = 6  # of the test split
SAMPLES_SHOWN = 49

Scores = dict[str, Any]


def _tables(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    """What most sections show: all their numbers as tables; those of the first entry need no heading."""
    found: list[Block] = []
    for number, (name, content) in enumerate(scores.items()):
        found += tables_of(content, "" if number == 0 else name.replace("_", " "))
    return found


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: to leave it out or in, and its anchor on the page.
        about: what is measured and how to read it; may hold links: [words](#section).
        scores: (subject, config) → entries of the report's scores; what is undefined is None, and a note says why.
        show: (subject, scores, config) → the tables and pictures of those entries.
        judged: whether it asks the attribute network, which may have to be trained before.
    """

    name: str
    title: str
    about: str
    scores: Callable[[Subject, ReportConfig], Scores]
    show: Callable[[Subject, Scores, ReportConfig], Sequence[Block]] = _tables
    judged: bool = False


# ------------------------------------------------------------------------------------------------ reconstruction


def _reconstruction(subject: Subject, config: ReportConfig) -> Scores:
    return {"reconstruction": report.reconstruction_scores(subject.test)}


def _show_reconstruction(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    pixels = subject.test_ds.images[:SCENES_SHOWN]
    with own_randomness(subject.seed, subject.device), torch.no_grad(), subject.computing():
        image = pixels.to(subject.device).float() / 255
        seen = {key: value.float().cpu() for key, value in {**subject.model(image), "image": image}.items()}
    if "recon" not in seen:
        return _tables(subject, scores, config)
    figure = scene_figures(seen, SCENES_SHOWN, config.dpi)["reconstructions"]
    alt = f"{len(pixels)} scenes of the {subject.test_ds.split} split and what the model makes of them"
    caption = f"The first scenes of the {subject.test_ds.split} split and what the model makes of them."
    if "masks" in seen:
        alt += ", their segmentation and the picture of each slot"
        caption += " Below: who owns each pixel, and what each slot paints where it is seen."
    shown = Picture("reconstructions", visualization.png(figure), alt, caption)
    return [*_tables(subject, scores, config), shown]


# -------------------------------------------------------------------------------------------------- segmentation


def _segmentation(subject: Subject, config: ReportConfig) -> Scores:
    if not subject.has_objects:
        subject.notes.append(f"segmentation: {report.why_no_objects(subject)}")
        return {"segmentation": None}
    return {"segmentation": report.segmentation_scores(subject.test, subject.notes)}


# --------------------------------------------------------------------------------------------------------- codes


def _codes(subject: Subject, config: ReportConfig) -> Scores:
    names = ("readout", "blocks", "codebooks", "arrays")
    if not subject.has_objects:
        subject.notes.append(f"codes: {report.why_no_objects(subject)}")
        return dict.fromkeys(names)
    size = subject.model.codebook_size
    return report.code_scores(subject.fit, subject.test, size, subject.seed, subject.notes)


def _show_codes(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    numbers = {name: value for name, value in scores.items() if name != "arrays"}
    shown, arrays = _tables(subject, numbers, config), scores["arrays"] or {}
    if arrays.get("block_factor") is not None:
        values = [[float("nan") if value is None else value for value in row] for row in arrays["block_factor"]]
        figure = visualization.block_factor_matrix(torch.tensor(values), arrays["factors"], dpi=config.dpi)
        words = "; ".join(
            f"{name}: block {max(range(len(values)), key=lambda block: _or_zero(values[block][column])) + 1}"
            for column, name in enumerate(arrays["factors"])
        )
        alt = f"Heat-map of the information that each block carries about each factor. Most informative: {words}"
        caption = (
            "The share of a factor's information that a block's code alone carries, above what a permutation of the "
            "objects seems to carry. One dark field in a column and one in a row: the block stands for that factor."
        )
        shown.append(Picture("block_factor", visualization.png(figure), alt, caption))
    if arrays.get("code_counts") is not None:
        title = f"How often the objects of the {subject.test_ds.split} split use each code"
        figure = visualization.codebook_use(torch.tensor(arrays["code_counts"]), title=title, dpi=config.dpi)
        alt = "For each block, the share of objects that use each of its codes, from the most to the least used"
        shown.append(Picture("codebook_use", visualization.png(figure), alt))
    return shown


def _or_zero(value: float) -> float:
    return value if value == value else 0.0  # NaN: a constant factor


# --------------------------------------------------------------------------------------------------------- prior


def _prior(subject: Subject, config: ReportConfig) -> Scores:
    return {"prior": report.prior_scores(subject)}


# ---------------------------------------------------------------------------------------------------- generation


def _generation(subject: Subject, config: ReportConfig) -> Scores:
    scores = report.generation_scores(subject, config.num_generated, config.temperature, config.top_k)
    return {"generation": scores}


def _show_generation(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    shown = _tables(subject, scores, config)
    if not subject.model.has_codes:
        return shown
    _, images = subject.scenes_drawn(min(SAMPLES_SHOWN, config.num_generated), config.temperature, config.top_k)
    source = "random codes, for there is no prior" if subject.model.prior is None else "the prior"
    title = f"Scenes drawn from {source}, temperature {config.temperature:g}"
    figure = visualization.sample_sheet(images, title, num_samples=SAMPLES_SHOWN, dpi=config.dpi)
    alt = f"{len(images)} scenes drawn from {source}"
    return [*shown, Picture("samples", visualization.png(figure), alt, "Drawn in one go; none was left out.")]


def _judge(subject: Subject, config: ReportConfig) -> Scores:
    return {"attribute_network": subject.network_report}


SECTIONS = (
    Section(
        "reconstruction",
        "Reconstruction",
        "How far the picture that is painted from the codes is from the one that was seen. MSE: mean squared error of "
        "pixels in [0, 1], lower is better; PSNR: the same in decibels, higher is better; well-formed: the share that "
        "[the judge](#judge) takes for clean scenes.",
        _reconstruction,
        _show_reconstruction,
        judged=True,
    ),
    Section(
        "segmentation",
        "Segmentation",
        "Whether each slot owns one object. FG-ARI compares true objects and slots on the pixels of objects: 1 is the "
        "same partition, 0 is chance. mIoU is the overlap of each object with the slot matched to it, background "
        "included, so a slot that also paints some background loses here only.",
        _segmentation,
    ),
    Section(
        "codes",
        "What the codes mean",
        "Of every object that a slot holds. Readout: how well a small network, fitted on train scenes, reads a factor "
        "from the slot's code vectors (accuracy beside that of always guessing the most frequent class, or R²). "
        "Blocks: how much of a factor's information the index of one code alone tells, 0 is chance and 1 everything. "
        "Codebooks: how many of the codes are used.",
        _codes,
        _show_codes,
    ),
    Section(
        "prior",
        "The prior",
        "What the prior pays, in bits a code, to write down scenes of the test split: less is better, and without a "
        "prior it would be the logarithm of the codebook's size. In random slot order it must be worse, because the "
        "prior learned one order.",
        _prior,
    ),
    Section(
        "generation",
        "Generated scenes",
        "The share of scenes drawn from the prior in which [the judge](#judge) finds as many clean objects as the data "
        "allows, and nothing malformed.",
        _generation,
        _show_generation,
        judged=True,
    ),
    Section(
        "judge",
        "The judge and its errors",
        "The attribute network that judges generated scenes learned from true scenes only, whole and spoilt. "
        "false reject: true scenes that it takes for malformed; false accept: spoilt scenes that it takes for "
        "well-formed. [The share of well-formed scenes](#generation) is to be read beside these.",
        _judge,
        judged=True,
    ),
)

# The numbers that a report begins with, and that comparisons look at first. One that a report lacks is left out.
HEADLINE = (
    Measure("FG-ARI", ("segmentation", "fg_ari")),
    Measure("mIoU", ("segmentation", "miou")),
    Measure("MSE × 1000", ("reconstruction", "mse"), 1000, 2, higher_is_better=False),
    Measure("PSNR, dB", ("reconstruction", "psnr"), digits=1),
    Measure("colour read, %", ("readout", "colour", "accuracy"), 100, 1),
    Measure("shape read, %", ("readout", "shape", "accuracy"), 100, 1),
    Measure("x read, R²", ("readout", "x", "r2")),
    Measure("y read, R²", ("readout", "y", "r2")),
    Measure("best block's information on colour", ("blocks", "colour", "value")),
    Measure("best block's information on x", ("blocks", "x", "value")),
    Measure("best block's information on y", ("blocks", "y", "value")),
    Measure("codes used, least of all blocks, %", ("codebooks", "share_used_min"), 100, 1),
    Measure("prior, bits a code", ("prior", "canonical"), digits=2, higher_is_better=False),
    Measure("well-formed samples, %", ("generation", "share"), 100, 1),
    Measure("… that obey the rule of the data, %", ("generation", "obeys_rule", "share"), 100, 1),
)


def chosen(names: Sequence[str] | None) -> list[Section]:
    """The sections of these names, in the order of the report; all of them for None.

    Raises:
        ConfigError: a name that is not one of them, or none at all.
    """
    known = [section.name for section in SECTIONS]
    for name in names or ():
        if name not in known:
            raise ConfigError(f"sections has {name}, which is unknown; choose from: {', '.join(known)}")
    if names is not None and not names:
        raise ConfigError(f"sections=[] leaves nothing to look at; choose from: {', '.join(known)}")
    return [section for section in SECTIONS if names is None or section.name in names]


def value_at(scores: Mapping[str, Any], path: Sequence[str]) -> tuple[float | None, Mapping[str, Any] | None]:
    """The number at `path` in nested scores and the estimate that it belongs to, if it is one's share or mean."""
    value: Any = scores
    parent: Any = None
    for key in path:
        parent, value = value, value.get(key) if isinstance(value, Mapping) else None
    owner = parent if path[-1] in ("share", "mean") and isinstance(parent, Mapping) else None
    return value, owner
