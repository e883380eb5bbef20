"""What a report looks at, section by section; docs/evaluation.md defines every score.

A section has a function of the subject that returns scores for JSON, and one that returns what is shown of them. To
add one, write both in a module of `evaluation` and append it to `SECTIONS`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ..configs.errors import ConfigError
from ..configs.mistakes import choose
from ..configs.schema import ReportConfig
from ..evaluation import report
from ..evaluation.atlas import EXEMPLARS, AtlasBlock, atlas_table, code_words, codebook_atlas
from ..evaluation.comparison import Measure
from ..evaluation.downstream import downstream_figures, downstream_scores
from ..evaluation.intervals import few
from ..evaluation.interventions import intervention_figures, intervention_scores
from ..evaluation.prior_details import prior_details, prior_details_figures
from ..evaluation.samples import sample_figures, sample_scores, temperature_scores
from ..evaluation.scene_scores import reconstruction_details, segmentation_details
from ..evaluation.semantics import semantics_figures, semantics_scores
from ..evaluation.subject import Subject
from ..training.autoencoder import scene_figures
from ..utils import visualization
from ..utils.randomness import own_randomness
from .document import Block, Gallery, Picture, Small, Table
from .prior_tables import prior_tables
from .sample_tables import generation_tables
from .section_tables import (
    code_tables,
    downstream_tables,
    edit_tables,
    judge_tables,
    reconstruction_tables,
    segmentation_tables,
    semantics_tables,
)
from .tables import number, percent, tables_of

SCENES_SHOWN = 6  # of the test split
SAMPLES_SHOWN = 49

Scores = dict[str, Any]


def _tables(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    """What most sections show: all their numbers as tables; those of the first entry need no heading."""
    found: list[Block] = []
    for place, (name, content) in enumerate(scores.items()):
        found += tables_of(content, name.replace("_", " ") if place else "")
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


def _pictures(figures: Mapping[str, Figure], words: Mapping[str, str], dpi: int) -> list[Block]:
    """Figures with what stands below each; without such words a figure is described by its name.

    Charts are drawn at `dpi`; a grid of pictures has its own, at which they are pixel-exact.
    """
    for figure in figures.values():
        if figure.axes:
            figure.set_dpi(dpi)
    return [
        Picture(name, visualization.png(figure), words.get(name, name.replace("_", " ")), words.get(name, ""))
        for name, figure in figures.items()
    ]


# ------------------------------------------------------------------------------------------------ reconstruction


def _reconstruction(subject: Subject, config: ReportConfig) -> Scores:
    return {
        "reconstruction": report.reconstruction_scores(subject.test),
        "reconstruction_details": reconstruction_details(subject),
    }


def _show_reconstruction(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    pixels = subject.test_ds.images[:SCENES_SHOWN]
    with own_randomness(subject.seed, subject.device), torch.no_grad(), subject.computing():
        image = pixels.to(subject.device).float() / 255
        seen = {key: value.float().cpu() for key, value in {**subject.model(image), "image": image}.items()}
    if "recon" not in seen:
        return reconstruction_tables(scores)
    figure = scene_figures(seen, SCENES_SHOWN, config.dpi)["reconstructions"]
    alt = f"{len(pixels)} scenes of the {subject.test_ds.split} split and what the model makes of them"
    caption = f"The first scenes of the {subject.test_ds.split} split and what the model makes of them."
    if "masks" in seen:
        alt += ", their segmentation and the picture of each slot"
        caption += " Below: who owns each pixel, and what each slot paints where it is seen."
    shown = Picture("reconstructions", visualization.png(figure), alt, caption)
    return [*reconstruction_tables(scores), shown]


# -------------------------------------------------------------------------------------------------- segmentation


def _segmentation(subject: Subject, config: ReportConfig) -> Scores:
    if not subject.has_objects:
        subject.notes.append(f"segmentation: {report.why_no_objects(subject)}")
        return {"segmentation": None, "segmentation_details": None}
    scores = report.segmentation_scores(subject.test, subject.notes)
    before = list(subject.notes)
    details = segmentation_details(subject)
    subject.notes[:] = before  # it says again what was said
    subject.notes.extend(few("segmentation", len(subject.test.ari), "scenes"))
    return {"segmentation": scores, "segmentation_details": details}


def _show_segmentation(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    return segmentation_tables(scores)


# --------------------------------------------------------------------------------------------------------- codes


def _codes(subject: Subject, config: ReportConfig) -> Scores:
    names = ("readout", "blocks", "codebooks", "arrays")
    if not subject.has_objects:
        subject.notes.append(f"codes: {report.why_no_objects(subject)}")
        return dict.fromkeys(names)
    size = subject.model.codebook_size
    return report.code_scores(subject.fit, subject.test, size, subject.seed, subject.notes)


def _show_codes(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    shown, arrays = code_tables(scores), scores["arrays"] or {}
    if _any_number(arrays.get("block_factor")):
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


def _any_number(matrix: Sequence[Sequence[float | None]] | None) -> bool:
    """Whether a heat-map of it would show anything; the notes say why not."""
    return matrix is not None and any(value is not None for row in matrix for value in row)


def _or_zero(value: float) -> float:
    return value if value == value else 0.0  # NaN: a constant factor


# ----------------------------------------------------------------------------------------------------- semantics


def _semantics(subject: Subject, config: ReportConfig) -> Scores:
    return {"semantics": semantics_scores(subject)}


def _show_semantics(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    found = scores["semantics"]
    return [*semantics_tables(found), *_pictures(semantics_figures(subject, found), _SEMANTICS, config.dpi)]


_SEMANTICS = {
    "purity": "How many objects of the scored split have the value that most objects with their code have.",
    "dci_codes": "How much the trees that read a factor look at each block, from the indices of the codes.",
    "dci_vectors": "The same from the vectors that the codes stand for.",
}


# ------------------------------------------------------------------------------------------------- interventions


def _interventions(subject: Subject, config: ReportConfig) -> Scores:
    return {"interventions": intervention_scores(subject)}


def _show_interventions(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    caption = (
        "One object of each scene (marked) is given another code of one block; all else is left as it was. Moves are "
        "in per cent of the picture's width."
    )
    figures = intervention_figures(subject)
    return [*edit_tables(scores["interventions"]), *_pictures(figures, {"interventions": caption}, config.dpi)]


# --------------------------------------------------------------------------------------------------------- atlas


def _atlas(subject: Subject, config: ReportConfig) -> Scores:
    return {"atlas": codebook_atlas(subject)}


def _show_atlas(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    """A gallery of each block; what is kept in the scores loses its pictures here."""
    atlas: list[AtlasBlock] = scores["atlas"]
    scores["atlas"] = atlas_table(atlas)
    head = ["", "says most about", "share of its information", "codes in use", "of all codes", "perplexity"]
    rows = [
        [
            f"block {block.block + 1}",
            block.factor or "–",
            number(block.information[block.factor] if block.factor else None),
            f"{block.used:,}",
            percent(block.used / subject.model.codebook_size),
            number(block.perplexity),
        ]
        for block in atlas
    ]
    objects = atlas[0].objects
    said = f"Counted over all {objects:,} objects that a slot holds"
    if objects > report.OBJECTS:  # then fewer codes are in use there
        said += f"; [the codebooks' table](#codes) looks at the first {report.OBJECTS:,} of them only"
    return [Table(head, rows), f"{said}.", *(_gallery(block) for block in atlas)]


def _gallery(block: AtlasBlock) -> Gallery:
    typical = [Small(_png(pixels), "a typical object, not edited") for pixels in block.typical]
    rows: list[tuple[str, list[list[Small]]]] = [("no code given", [[], typical])]
    for code in block.codes:
        label = f"code {code.code}: {code_words(code)}"
        exemplars = [Small(_png(pixels), f"an object with code {code.code}") for pixels in code.exemplars]
        decoded = [Small(_png(pixels), f"a typical object given code {code.code}") for pixels in code.decoded]
        rows.append((label, [exemplars, decoded]))
    about = f", which says most about {block.factor}" if block.factor else ""
    heads = (f"up to {EXEMPLARS} objects with the code", f"{len(block.typical)} typical objects given it, decoded")
    return Gallery(rows, f"The codes of block {block.block + 1}{about}", folded=True, heads=heads)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", optimize=True)
    return file.getvalue()


# ---------------------------------------------------------------------------------------------------- downstream


def _downstream(subject: Subject, config: ReportConfig) -> Scores:
    return {"downstream": downstream_scores(subject)}


def _show_downstream(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    figures = downstream_figures(subject, scores["downstream"])
    caption = (
        "Right answers on examples of the kind that the head was fitted to, and on values that it never met; and the "
        "probability that a head fitted to permuted answers gives to the right one."
    )
    return [*downstream_tables(scores["downstream"]), *_pictures(figures, {"downstream": caption}, config.dpi)]


# --------------------------------------------------------------------------------------------------------- prior


def _prior(subject: Subject, config: ReportConfig) -> Scores:
    scores = report.prior_scores(subject)
    return {"prior": scores, "prior_details": None if scores is None else prior_details(subject)}


def _show_prior(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    shown = prior_tables(scores["prior"], scores["prior_details"])
    if scores["prior_details"] is None:
        return shown
    return [*shown, *_pictures(prior_details_figures(subject, scores["prior_details"]), _PRIOR, config.dpi)]


_PRIOR = {
    "reliability": "How often the likeliest code is the right one, by the probability that the prior gives to it: on "
    "the diagonal it is calibrated. The larger a dot, the more codes it stands for.",
    "completions": "Scenes of which half of the objects are kept, and what the prior writes for the rest.",
}


# ---------------------------------------------------------------------------------------------------- generation


def _generation(subject: Subject, config: ReportConfig) -> Scores:
    scores = report.generation_scores(subject, config.num_generated, config.temperature, config.top_k)
    settings = (config.temperature, config.top_k)
    more = temperatures = None
    if subject.model.has_codes:  # scenes are drawn and shown, whoever there is to judge them
        more = sample_scores(subject, config.num_generated, *settings, config.inception)
        temperatures = temperature_scores(subject, max(1, config.num_generated // 4), top_k=config.top_k)
    return {"generation": scores, "samples": more, "temperatures": temperatures}


def _show_generation(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    shown = generation_tables(scores)
    if scores["generation"] is None:
        missing = (
            f"Not judged: no attribute network knows scenes of {subject.test_ds.name}, so nothing is said of how many "
            "are well-formed, how new they are and what they show."
        )
        shown = [missing, *shown]
    _, images = subject.scenes_drawn(min(SAMPLES_SHOWN, config.num_generated), config.temperature, config.top_k)
    source = "random codes, for there is no prior" if subject.model.prior is None else "the prior"
    title = f"Scenes drawn from {source}, temperature {config.temperature:g}"
    figure = visualization.sample_sheet(images, title, num_samples=SAMPLES_SHOWN, dpi=config.dpi)
    alt = f"{len(images)} scenes drawn from {source}"
    shown.append(Picture("samples", visualization.png(figure), alt, "Drawn in one go; none was left out."))
    return [*shown, *_pictures(sample_figures(subject, scores["samples"], top_k=config.top_k), _SAMPLES, config.dpi)]


_SAMPLES = {
    "distributions": "How often each value occurs in the train scenes and in drawn ones. Apart: half the sum of the "
    "differences, 0 is the same and 1 nothing in common; in brackets that of as many test scenes.",
    "temperatures": "The same noise at several temperatures: below 1 likelier and more alike, above 1 more varied.",
}


def _judge(subject: Subject, config: ReportConfig) -> Scores:
    if subject.network_report is None:
        subject.notes.append(f"judge: no attribute network knows scenes of {subject.test_ds.name}")
    return {"attribute_network": subject.network_report}


def _show_judge(subject: Subject, scores: Scores, config: ReportConfig) -> list[Block]:
    return judge_tables(scores["attribute_network"])


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
        _show_segmentation,
    ),
    Section(
        "codes",
        "What the codes mean",
        "Of every object that a slot holds. Readout: how well a small network, fitted on train scenes, reads a factor "
        "from the slot's code vectors: the share of objects that it reads rightly, or R² for numbers. "
        "Blocks: how much of a factor's information the index of one code alone tells, 0 is chance and 1 everything. "
        "Codebooks: how many of the codes are used, and how evenly.",
        _codes,
        _show_codes,
    ),
    Section(
        "semantics",
        "Blocks and factors",
        "Whether one block stands for one factor (disentanglement), one factor for one block (completeness), and how "
        "well both are read from it (informativeness), all from 0 to 1; and, simpler, how pure the codes are: the "
        "share of objects with the value that most objects of their code have. Fitted on train scenes, counted on the "
        "scored split.",
        _semantics,
        _show_semantics,
    ),
    Section(
        "interventions",
        "Edits",
        "One code of one object is changed to one that stands for another value; the scene is decoded and "
        "[the judge](#judge) reads it again. How often is the intended value read, and how often did anything else "
        "change? Edits are compared with the same scene decoded without one, so reading errors that both have do not "
        "count; how large those are, the first table says, which compares the scene without an edit with the truth. "
        "Never compare the two tables. A random block shows what any change makes. The judge reads colour, shape, x "
        "and y; size it does not.",
        _interventions,
        _show_interventions,
        judged=True,
    ),
    Section(
        "atlas",
        "Atlas of the codes",
        "What the codes in use look like: objects of the scored split with each code, and two typical objects that "
        "were given it, decoded. Pure: the share of the objects with a code that have its most frequent value. "
        "Where a block stands for a place, whole scenes are shown, all but the object dimmed.",
        _atlas,
        _show_atlas,
    ),
    Section(
        "downstream",
        "Tasks downstream",
        "Whether a small head learns a task of the paper from these representations as they are: which object is the "
        "odd one out (2D Sprites), or whether two objects share a property (CLEVR-like scenes); on values that it was "
        "fitted to, and on values that it never met. The control must be at chance.",
        _downstream,
        _show_downstream,
    ),
    Section(
        "prior",
        "The prior",
        "What the prior pays, in bits a code, to write down scenes of the test split: less is better, and without a "
        "prior it would be the logarithm of the codebook's size. In random slot order it must be worse, because the "
        "prior learned one order. Calibration: whether codes come true as often as the prior expects. Conditions and "
        "completions: scenes drawn to hold what is asked for.",
        _prior,
        _show_prior,
        judged=True,
    ),
    Section(
        "generation",
        "Generated scenes",
        "The share of scenes drawn from the prior in which [the judge](#judge) finds as many clean objects as the data "
        "allows, and nothing malformed; how many of them are new, and how near they are to the data. How new and "
        "how near is beside the same of true scenes read by the same eyes; well-formed, beside "
        "[the judge](#judge)'s errors.",
        _generation,
        _show_generation,
        judged=True,
    ),
    Section(
        "judge",
        "The judge and its errors",
        "The attribute network that judges generated scenes learned from true scenes only, whole and spoilt. "
        "It errs where it takes true scenes for malformed, or spoilt ones for well-formed. "
        "[The share of well-formed scenes](#generation) is to be read beside these.",
        _judge,
        _show_judge,
        judged=True,
    ),
)

# The numbers that a report begins with, and that comparisons look at first. One that a report lacks is left out.
HEADLINE = (
    Measure("FG-ARI", ("segmentation_details", "decoder", "fg_ari", "mean")),
    Measure("ARI", ("segmentation_details", "decoder", "ari", "mean")),
    Measure("mIoU", ("segmentation_details", "decoder", "miou", "mean")),
    Measure("mBO", ("segmentation_details", "decoder", "mbo", "mean")),
    Measure("MSE × 1000", ("reconstruction_details", "mse", "mean"), 1000, 2, higher_is_better=False),
    Measure("PSNR, dB", ("reconstruction_details", "psnr", "mean"), digits=1),
    Measure("SSIM", ("reconstruction_details", "ssim", "mean")),
    Measure("colour read, %", ("readout", "colour", "accuracy"), 100, 1),
    Measure("shape read, %", ("readout", "shape", "accuracy"), 100, 1),
    Measure("x read, R²", ("readout", "x", "r2")),
    Measure("y read, R²", ("readout", "y", "r2")),
    Measure("best block's information on colour", ("blocks", "colour", "value")),
    Measure("best block's information on x", ("blocks", "x", "value")),
    Measure("best block's information on y", ("blocks", "y", "value")),
    Measure("codes used, least of all blocks, %", ("codebooks", "share_used_min"), 100, 1),
    Measure("disentanglement (DCI of codes)", ("semantics", "dci_codes", "disentanglement")),
    Measure("completeness (DCI of codes)", ("semantics", "dci_codes", "completeness")),
    Measure("informativeness (DCI of codes)", ("semantics", "dci_codes", "informativeness")),
    Measure("edits: intended value read, %", ("interventions", "pooled", "edit", "intended", "share"), 100, 1),
    Measure("edits: anything else changed, %", ("interventions", "pooled", "edit", "changed", "share"), 100, 1, False),
    Measure("task from code vectors, as fitted, %", ("downstream", "representations", "vectors", "in", "mean"), 100, 1),
    Measure("… on values not met before, %", ("downstream", "representations", "vectors", "out", "mean"), 100, 1),
    Measure("prior, bits a code", ("prior", "canonical"), digits=2, higher_is_better=False),
    Measure("well-formed samples, %", ("generation", "share"), 100, 1),
    Measure("… that obey the rule of the data, %", ("generation", "obeys_rule", "share"), 100, 1),
    Measure("new scenes among them (placed), %", ("samples", "novelty", "placed", "share"), 100, 1, None),
    Measure("Fréchet distance, attribute network", ("samples", "frechet_attribute", "drawn"), 1, 3, False),
)


def chosen(names: Sequence[str] | None) -> list[Section]:
    """The sections of these names, in the order of the report; all of them for None.

    Raises:
        ConfigError: a name that is not one of them, or none at all.
    """
    known = [section.name for section in SECTIONS]
    for name in names or ():
        if name not in known:
            raise ConfigError(f"sections has {name}, which is unknown; {choose(name, known)}")
    if names is not None and not names:
        raise ConfigError(f"sections=[] leaves nothing to look at; {choose('', known)}")
    return [section for section in SECTIONS if names is None or section.name in names]


def value_at(scores: Mapping[str, Any], path: Sequence[str]) -> tuple[float | None, Mapping[str, Any] | None]:
    """The number at `path` in nested scores and the estimate that it belongs to, if it is one's share or mean."""
    value: Any = scores
    parent: Any = None
    for key in path:
        parent, value = value, value.get(key) if isinstance(value, Mapping) else None
    owner = parent if path[-1] in ("share", "mean") and isinstance(parent, Mapping) else None
    return value, owner
