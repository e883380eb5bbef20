"""Figures of what the model saw, found, coded and drew.

Every function is pure: tensors in, a :class:`matplotlib.figure.Figure` out, without pyplot or global state.
Pictures are shown pixel by pixel (each image pixel is a whole number of figure pixels), on an opaque light
ground with dark text, so that a figure reads the same on a light and on a dark page. Slot ``n`` has the same
colour in every figure, whatever the number of slots.

Legend: B batch, N slots, M blocks (= codebooks), K codes per codebook, H, W image size, F factors.
"""

from __future__ import annotations

import colorsys
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps, style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .codebook_stats import usage
from .whole_files import draft_of

GROUND = "#f6f6f4"
INK = "#1f2328"
FONT_SIZE = 9.0  # points
TITLE_SIZE = 11.0  # points
CELL = 0.85  # inches an image is wide, at least; rounded to whole figure pixels per image pixel
GAP = 0.05  # inches between images
MARGIN = 0.15  # inches around a figure
SEGMENT_OPACITY = 0.7  # of the slot colours over the grey image
MARK = "#ff8c1a"  # of boxes around objects; no object of the toys has it

AXES = {  # of what is counted
    "count": "objects in a scene",
    "x": "quarter, from the left",
    "y": "quarter, from the top",
}

Box = tuple[float, float, float]  # x, y and half the width of a square, fractions of the image, y down

# The user's own matplotlib style (a dark notebook, say) must not decide whether the text can be read.
STYLE = [
    "default",
    {
        "figure.facecolor": GROUND,
        "savefig.facecolor": GROUND,
        "font.size": FONT_SIZE,
        "axes.titlesize": FONT_SIZE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), INK),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), INK),
    },
]


# ------------------------------------------------------------------------------------------------ pictures


@style.context(STYLE)
def reconstruction_grid(
    images: Tensor,
    recons: Tensor,
    masks: Tensor | None = None,
    slot_images: Tensor | None = None,
    *,
    num_images: int = 8,
    title: str = "What the model sees, one scene a column",
    dpi: int = 150,
) -> Figure:
    """Rows: input, reconstruction, and of a model with slots segmentation and each slot's picture, masked.

    Args:
        images, recons: (B, C, H, W), C = 1 or 3; values in [0, 1] (those outside are clipped), or uint8.
        masks: (B, N, 1, H, W), each slot's share of each pixel in [0, 1].
        slot_images: (B, N, C, H, W), what each slot paints where it is seen. None, as masks, of a model without slots.
        num_images: scenes shown, at most: the first of the batch.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: a shape that does not fit, an empty batch, or NaN or infinity in a tensor.
    """
    shape = _image_shape("images", images)
    _expect("recons", recons, shape)
    shown = _count("num_images", num_images, shape[0])
    rows = [unit_pixels("images", images[:shown]), unit_pixels("recons", recons[:shown])]
    labels = ["input", "reconstruction"]
    if masks is None or slot_images is None:
        if masks is not slot_images:
            raise ValueError("one of masks and slot_images was None but expected both, for a model without slots")
        return picture_grid(rows, dpi, title, row_labels=labels)
    num_slots = _mask_slots(masks, shape)
    _expect("slot_images", slot_images, (shape[0], num_slots, *shape[1:]))
    images, masks, slot_images = (t[:shown] for t in (images, masks, slot_images))
    pictures = _unit("slot_images", slot_images) * _unit("masks", masks)  # (B, N, C, H, W)
    rows += [
        unit_pixels("masks", segmentation_overlay(images, masks)),
        *(unit_pixels("slot_images", pictures[:, slot]) for slot in range(num_slots)),
    ]
    labels += ["segmentation", *_slot_names(num_slots)]
    return picture_grid(rows, dpi, title, row_labels=labels, slot_row=3)


@style.context(STYLE)
def mask_grid(
    images: Tensor,
    masks: Tensor,
    *,
    num_images: int = 8,
    title: str = "Each slot's mask: white is the slot's own, black another's",
    dpi: int = 150,
) -> Figure:
    """Rows: input, segmentation, then the mask of each slot as a grey level (white = 1, black = 0).

    Args:
        images: (B, C, H, W), C = 1 or 3; values in [0, 1] (those outside are clipped), or uint8.
        masks: (B, N, 1, H, W), each slot's share of each pixel in [0, 1].
        num_images: scenes shown, at most: the first of the batch.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: a shape that does not fit, an empty batch, or NaN or infinity in a tensor.
    """
    shape = _image_shape("images", images)
    num_slots = _mask_slots(masks, shape)
    shown = _count("num_images", num_images, shape[0])
    images, masks = images[:shown], masks[:shown]
    rows = [
        unit_pixels("images", images),
        unit_pixels("masks", segmentation_overlay(images, masks)),
        *(unit_pixels("masks", masks[:, slot]) for slot in range(num_slots)),
    ]
    labels = ["input", "segmentation", *_slot_names(num_slots)]
    return picture_grid(rows, dpi, title, row_labels=labels, slot_row=2)


@style.context(STYLE)
def sample_sheet(
    images: Tensor, title: str = "Scenes drawn from the prior", *, num_samples: int = 64, dpi: int = 150
) -> Figure:
    """Generated images in reading order, as many a row as make the most square sheet.

    Args:
        images: (B, C, H, W), C = 1 or 3; values in [0, 1] (those outside are clipped), or uint8.
        num_samples: images shown, at most: the first of the batch.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: a shape that does not fit, an empty batch, or NaN or infinity in an image.
    """
    shown = _count("num_samples", num_samples, _image_shape("images", images)[0])
    pixels = unit_pixels("images", images[:shown])
    columns = math.ceil(math.sqrt(shown))
    return picture_grid([pixels[start : start + columns] for start in range(0, shown, columns)], dpi, title)


@style.context(STYLE)
def picture_rows(rows: Mapping[str, Tensor], *, title: str = "", dpi: int = 150) -> Figure:
    """Rows of images, each under its name at the left.

    Args:
        rows: name → (B, C, H, W), C = 1 or 3; values in [0, 1] (those outside are clipped), or uint8. Rows may hold
            different numbers of images, of one size.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: no rows, an empty one, images of different sizes, or NaN or infinity in one.
    """
    sizes = {_image_shape(name, images)[2:] for name, images in rows.items()}
    if len(sizes) != 1:
        raise ValueError(f"rows had images of the sizes {sorted(sizes)} but expected one size, in at least one row")
    pictures = [unit_pixels(name, images) for name, images in rows.items()]
    return picture_grid(pictures, dpi, title, row_labels=list(rows))


@style.context(STYLE)
def edit_grid(
    pictures: Tensor,
    labels: Sequence[Sequence[str]],
    boxes: Sequence[Sequence[Box | None]] = (),
    *,
    title: str = "One code of one object changed",
    dpi: int = 150,
) -> Figure:
    """One scene a row, with a label above every picture, and a box around the object that is looked at.

    Args:
        pictures: (rows, columns, C, H, W), C = 1 or 3; values in [0, 1] (those outside are clipped), or uint8.
        labels: a text for each.
        boxes: x, y and half the width of a square for each, in fractions of the image; or None.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: another number of axes, an empty axis, not one label and box for each, or NaN or infinity.
    """
    _expect("pictures", pictures, ("rows", "columns", "C", "H", "W"))
    shape = tuple(pictures.shape[:2])
    for name, given in (("labels", labels), ("boxes", boxes)):
        found = {(len(given), len(row)) for row in given}
        if found != {shape} and not (name == "boxes" and not given):
            raise ValueError(f"{name} had the shapes {sorted(found)} but expected {shape}, one for each picture")
    rows = [unit_pixels("pictures", row) for row in pictures]
    return picture_grid(rows, dpi, title, cell_labels=labels, boxes=boxes)


def segmentation_overlay(images: Tensor, masks: Tensor) -> Tensor:
    """Images (B, C, H, W) in grey under the colour of each pixel's strongest slot -> (B, 3, H, W) in [0, 1].

    ``masks`` is (B, N, 1, H, W). Raises ValueError on shapes that do not fit.
    """
    num_slots = _mask_slots(masks, _image_shape("images", images))
    owner = _unit("masks", masks).squeeze(2).argmax(dim=1)  # (B, H, W)
    colours = torch.tensor(slot_colours(num_slots))[owner].permute(0, 3, 1, 2)
    grey = _unit("images", images).mean(dim=1, keepdim=True)
    return SEGMENT_OPACITY * colours + (1 - SEGMENT_OPACITY) * grey


def slot_colours(num_slots: int) -> list[tuple[float, float, float]]:
    """One RGB colour in [0, 1] for each slot; slot n's colour does not depend on ``num_slots``."""
    pairs = [(float(red), float(green), float(blue)) for red, green, blue, _ in colormaps["tab20"](range(20))]
    named = pairs[0::2] + pairs[1::2]  # the strong ones first, then their light twins
    golden = (math.sqrt(5) - 1) / 2  # spreads any number of further hues without repeating one
    more = [colorsys.hsv_to_rgb(n * golden % 1, 0.65, 0.85) for n in range(max(0, num_slots - len(named)))]
    return [*named, *more][:num_slots]


# -------------------------------------------------------------------------------------------------- charts


@style.context(STYLE)
def codebook_use(counts: Tensor | np.ndarray, *, title: str = "How often each code is used", dpi: int = 150) -> Figure:
    """One panel a block: its codes from the most to the least used, with perplexity and share of codes used.

    Args:
        counts: (M, K), how often each code was chosen; integers or floats >= 0.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: another number of axes, an empty axis, a negative count, NaN or infinity.
    """
    _expect("counts", counts, ("M", "K"))
    table = _finite("counts", counts)
    if (table < 0).any():
        raise ValueError(f"counts held {table.min():g} but expected counts of 0 or more")
    blocks, codes = table.shape
    use = usage(torch.from_numpy(table))
    columns = min(4, blocks)
    rows = math.ceil(blocks / columns)
    width = 2.7 * columns + 0.9
    figure = chart(width, 2.1 * rows + 0.9, title, dpi)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for block, panel in enumerate(panels.flat):
        if block >= blocks:
            panel.set_axis_off()
            continue
        panel.tick_params(labelbottom=True, labelleft=True)
        total = table[block].sum()
        name = f"block {block + 1}"
        if total == 0:
            panel.set_title(f"{name}\nno code counted", loc="left")
        else:
            share = np.sort(table[block] / total)[::-1]
            perplexity, used = float(use.perplexity[block]), 100 * float(use.share[block])
            panel.set_title(f"{name}\nperplexity {perplexity:.1f}, {used:.1f} % of {codes} used", loc="left")
            panel.stairs(100 * share, np.arange(codes + 1) + 0.5, fill=True, color="#2f6f9f")
        panel.axhline(100 / codes, color="#c4501b", linewidth=1, linestyle="--", label="every code alike")
    panels.flat[0].set_xlim(0.5, codes + 0.5)  # shared by all panels, and so is the height
    panels.flat[0].set_ylim(bottom=0)
    panels.flat[0].legend(loc="upper right", frameon=False, fontsize=FONT_SIZE - 1)
    figure.supxlabel("code, from the most to the least used", fontsize=FONT_SIZE)
    figure.supylabel("share of uses in %", fontsize=FONT_SIZE)
    return figure


@style.context(STYLE)
def block_factor_matrix(
    matrix: Tensor | np.ndarray,
    factor_names: Sequence[str],
    *,
    title: str = "Which block carries which factor",
    label: str = "share of the factor's\ninformation above chance",
    dpi: int = 150,
) -> Figure:
    """Annotated heat-map: how much of each factor's information each block's code carries.

    Args:
        matrix: (M, F); 0 = no more than chance, 1 = everything. NaN is shown as "n/a" (a constant factor).
        factor_names: F texts.
        label: what the numbers are.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: another number of axes, an empty axis, or not one name for each column.
    """
    _expect("matrix", matrix, ("M", "F"))
    values = torch.as_tensor(matrix).detach().double().cpu().numpy()
    blocks, factors = values.shape
    if len(factor_names) != factors:
        raise ValueError(
            f"factor_names had length {len(factor_names)} but expected one for each of the {factors} columns"
        )
    cell_width = max(0.75, 0.1 * max(map(len, factor_names)) + 0.15)
    cell_height = 0.38
    # M = 1 would leave the colour bar too short for its label, so the body has a least height.
    width, height = cell_width * factors + 2.1, max(cell_height * blocks, 1.9) + 1.1
    figure = chart(width, height, title, dpi)
    axes = figure.add_subplot()
    colours = colormaps["Blues"].with_extremes(bad="#d0d0d0")
    picture = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1, aspect="auto")
    for block, factor in np.ndindex(blocks, factors):
        value = values[block, factor]
        text = f"{value:.2f}".replace("-0.00", "0.00") if np.isfinite(value) else "n/a"
        ink = "white" if value > 0.65 else INK
        axes.text(factor, block, text, ha="center", va="center", color=ink)
    axes.set_xticks(range(factors), factor_names)
    axes.set_yticks(range(blocks), [f"block {block + 1}" for block in range(blocks)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes, fraction=0.08, pad=0.04, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.set_label(label)
    bar.ax.spines[:].set_visible(False)
    return figure


@style.context(STYLE)
def distribution_bars(
    values: Mapping[str, Mapping[str, Any]],
    *,
    title: str = "What drawn scenes show, beside what the data do",
    dpi: int = 150,
) -> Figure:
    """One panel a property: how often each of its values occurs in the data and in drawn scenes.

    Args:
        values: property → ``names`` of its values, ``data`` and ``drawn``, the share of each in [0, 1], and
            ``distance``, the total variation distance of the two; and, if known, ``true``, that of true
            scenes, and ``n``, of how many drawn scenes (``count``) or objects the shares are.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: no properties, or not one share for each name.
    """
    if not values:
        raise ValueError("values had no properties but expected at least one")
    longest = max(len(of_property["names"]) for of_property in values.values())
    columns = min(3, len(values))
    rows = math.ceil(len(values) / columns)
    width = max(0.28 * longest + 1.0, 3.0)
    figure = chart(width * columns, 2.6 * rows + 0.6, title, dpi)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat[len(values) :]:
        panel.set_axis_off()
    for panel, (name, of_property) in zip(panels.flat, values.items(), strict=False):
        places = np.arange(len(of_property["names"]))
        floor = "" if of_property.get("true") is None else f"\n(true scenes {of_property['true']:.3f})"
        panel.set_title(f"{name}: {of_property['distance']:.3f} apart{floor}", loc="left")
        of = f"{of_property['n']:,} {'scenes' if name == 'count' else 'objects'}" if of_property.get("n") else ""
        panel.set_xlabel(" · ".join(filter(None, (AXES.get(name, ""), of))))
        for shift, key, colour in ((-0.2, "data", "#8a8f98"), (0.2, "drawn", "#2f6f9f")):
            if len(of_property[key]) != len(places):
                raise ValueError(f"{name} had {len(of_property[key])} shares in {key} but expected {len(places)}")
            panel.bar(places + shift, 100 * np.asarray(of_property[key]), 0.4, color=colour, label=key)
        upright = max(map(len, of_property["names"])) <= 2
        panel.set_xticks(places, of_property["names"], rotation=0 if upright else 90)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2, frameon=False, fontsize=FONT_SIZE - 1)
    figure.supylabel("share in %", fontsize=FONT_SIZE)
    return figure


@style.context(STYLE)
def variant_comparison(
    values: Mapping[str, Mapping[str, Sequence[float | None]]], *, title: str = "", dpi: int = 150
) -> Figure:
    """One panel a measure, one line a variant: a dot for each seed, a bar for their mean ± standard deviation.

    Args:
        values: measure → variant → one number a seed, None where there is none. All measures have the same variants;
            the mean of the first is drawn through the panel as what the others are compared with.
        dpi: figure pixels an inch; ``save_figure`` keeps it.

    Raises:
        ValueError: no measures, or measures with different variants.
    """
    names = [list(of_measure) for of_measure in values.values()]
    if not names or not names[0] or any(other != names[0] for other in names):
        raise ValueError(f"values had the variants {names} but expected the same ones, at least one, in every measure")
    variants = names[0]
    columns = min(3, len(values))
    rows = math.ceil(len(values) / columns)
    labels = _text_width("m", FONT_SIZE) * max(map(len, variants))
    figure = chart(2.6 * columns + labels + 0.3, (0.27 * len(variants) + 0.75) * rows + 0.5, title, dpi)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for panel in panels.flat[len(values) :]:
        panel.set_axis_off()
    for panel, (measure, of_measure) in zip(panels.flat, values.items(), strict=False):
        panel.set_title(_wrap(measure, 2.5, FONT_SIZE), loc="left")
        for line, (variant, each) in enumerate(of_measure.items()):
            known = [value for value in each if value is not None]
            if not known:
                panel.text(0.5, line, "none", transform=panel.get_yaxis_transform(), ha="center", va="center")
                continue
            mean, spread = float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
            colour = "#2f6f9f" if variant == variants[0] else "#c4501b"
            panel.errorbar(mean, line, xerr=spread, color=colour, marker="|", markersize=10, capsize=3)
            panel.scatter(known, [line] * len(known), s=14, color=colour, alpha=0.6, linewidths=0)
            if line == 0:
                panel.axvline(mean, color=colour, linewidth=1, linestyle="--", alpha=0.6)
        panel.margins(x=0.1)
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.grid(axis="x", alpha=0.3)
    panels[0, 0].set_yticks(range(len(variants)), [variant.replace("_", " ") for variant in variants])
    panels[0, 0].set_ylim(len(variants) - 0.5, -0.5)
    return figure


@style.context(STYLE)
def share_bars(
    shares: Mapping[str, Mapping[str, tuple[float, float, float] | None]],
    chance: float | None = None,
    *,
    title: str = "",
    label: str = "share",
    dpi: int = 150,
) -> Figure:
    """Bars from 0 to 1 with their intervals, side by side for each group, and the value written on each.

    Args:
        shares: group → name of a bar → value, low end and high end of its interval, or None, which leaves its place
            empty. All groups have the same bars.
        chance: a dashed line here.
        label: what the shares are.

    Raises:
        ValueError: no groups, or groups with different bars.
    """
    names = [list(group) for group in shares.values()]
    if not names or not names[0] or any(other != names[0] for other in names):
        raise ValueError(f"shares had the bars {names} but expected the same ones, at least one, in every group")
    bars, colours = names[0], colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]
    width = 0.8 / len(bars)
    inches = 0.55 * len(bars) * len(shares) + 0.3 * len(shares) + 2.2
    figure = chart(max(inches, 5.0), 3.2, title, dpi)
    axes = figure.add_subplot()
    for number, bar in enumerate(bars):
        known = [place for place, group in enumerate(shares.values()) if group[bar] is not None]
        triples = np.array([group[bar] for group in shares.values() if group[bar] is not None], dtype=float)
        at = np.array(known) + (number - (len(bars) - 1) / 2) * width
        value, low, high = triples.T
        reach = np.stack([value - low, high - value]).clip(min=0)
        axes.bar(at, value, 0.9 * width, yerr=reach, capsize=3, color=colours[number], label=bar)
        for x, y, top in zip(at, value, high, strict=True):
            axes.text(x, max(y, top) + 0.02, f"{y:.3f}", ha="center", va="bottom", fontsize=7)
    if chance is not None:
        axes.axhline(chance, color=INK, linewidth=1, linestyle="--", label="chance")
    axes.set_ylim(0, 1.1)
    axes.set_xticks(range(len(shares)), list(shares))
    axes.set_ylabel(label)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT_SIZE - 1)
    return figure


# --------------------------------------------------------------------------------------------------- files


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write ``figure`` to ``path`` and return the path; a reader never sees half a file.

    Missing folders are made. The suffix gives the format (``.png`` where there is none). The resolution is the
    figure's own, at which its images are pixel-exact.

    Raises:
        ValueError: a suffix that matplotlib cannot write, or a path that is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the path of a file, such as {path / 'figure.png'}")
    if not path.suffix:
        path = path.with_suffix(".png")
    kind = path.suffix[1:].lower()
    known = sorted(figure.canvas.get_supported_filetypes())
    if kind not in known:
        raise ValueError(f"cannot write {path.name}: the suffix must be one of {', '.join(known)}")
    with draft_of(path) as draft, style.context(STYLE):
        figure.savefig(draft, format=kind, dpi=figure.dpi)
    return path


def png(figure: Figure) -> bytes:
    """``figure`` as the bytes of a PNG file, at its own resolution."""
    file = io.BytesIO()
    with style.context(STYLE):
        figure.savefig(file, format="png", dpi=figure.dpi)
    return file.getvalue()


# -------------------------------------------------------------------------------------------------- layout


def picture_grid(
    rows: Sequence[np.ndarray],
    dpi: int,
    title: str,
    *,
    row_labels: Sequence[str] = (),
    slot_row: int | None = None,
    cell_labels: Sequence[Sequence[str]] = (),
    boxes: Sequence[Sequence[Box | None]] = (),
) -> Figure:
    """Rows of (columns, H, W, 3) uint8 pictures; lengths here are figure pixels, so no image is resampled.

    From row ``slot_row`` on, each row is one slot's and shows the slot's colour beside its label. Each picture may have
    a label above it, and a box in it.
    """
    columns = max(len(row) for row in rows)
    height, width = rows[0].shape[1:3]
    scale = max(1, round(CELL * dpi / width))
    height, width = height * scale, width * scale
    gap, margin = max(1, round(GAP * dpi)), max(1, round(MARGIN * dpi))
    line = math.ceil(1.3 * FONT_SIZE / 72 * dpi)

    head = line if cell_labels else 0
    step = height + gap + head
    swatch = round(0.8 * line)
    label_room = math.ceil(dpi * max((_text_width(label, FONT_SIZE) for label in row_labels), default=0))
    left = margin + (label_room + 3 * gap + swatch if row_labels else 0)
    body = columns * (width + gap) - gap
    total_width = max(left + body + margin, round(2.4 * dpi))  # room for a title over a single small image
    heading = _wrap(title, (total_width - 2 * margin) / dpi, TITLE_SIZE)
    heading_height = math.ceil(1.3 * TITLE_SIZE / 72 * dpi) * len(heading.splitlines())
    top = margin + (heading_height + 2 * gap if heading else 0)
    total_height = top + len(rows) * step - gap + margin

    figure = Figure(figsize=(total_width / dpi, total_height / dpi), dpi=dpi)
    if heading:
        figure.text(margin / total_width, 1 - margin / total_height, heading, va="top", fontsize=TITLE_SIZE)
    start = left if row_labels else (total_width - body) // 2
    colours = slot_colours(len(rows))
    for r, row in enumerate(rows):
        bottom = total_height - top - r * step - head - height
        middle = (bottom + height / 2) / total_height
        if row_labels:
            right = (left - 3 * gap - swatch) / total_width
            figure.text(right, middle, row_labels[r], ha="right", va="center")
        if slot_row is not None and r >= slot_row:
            corner = ((left - 2 * gap - swatch) / total_width, middle - swatch / 2 / total_height)
            box = Rectangle(corner, swatch / total_width, swatch / total_height, color=colours[r - slot_row])
            figure.add_artist(box)
        for c, picture in enumerate(row):
            enlarged = picture.repeat(scale, axis=0).repeat(scale, axis=1)
            x = start + c * (width + gap)
            figure.figimage(enlarged, x, bottom, origin="upper")  # axes would take long
            if cell_labels:
                place = ((x + width / 2) / total_width, (bottom + height + gap) / total_height)
                figure.text(*place, cell_labels[r][c], ha="center", va="bottom", fontsize=FONT_SIZE - 1)
            box = boxes[r][c] if boxes else None
            if box is not None:
                near, far = np.array([box[0], 1 - box[1]]) - box[2], np.array([box[0], 1 - box[1]]) + box[2]
                near, far = near.clip(0.01, 0.99), far.clip(0.01, 0.99)  # so that all of it is seen
                corner = (x + near[0] * width) / total_width, (bottom + near[1] * height) / total_height
                wide, high = (far - near) * (width / total_width, height / total_height)
                figure.add_artist(Rectangle(corner, wide, high, fill=False, color=MARK, linewidth=1))
    return figure


def chart(width: float, height: float, title: str, dpi: int) -> Figure:
    """An empty titled figure of ``width`` x ``height`` inches that gives its axes and labels their room."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
    if title:
        figure.suptitle(_wrap(title, width - 2 * MARGIN, TITLE_SIZE), fontsize=TITLE_SIZE)
    return figure


def _text_width(text: str, size: float) -> float:
    """Inches that ``text`` takes at most, but for all-capitals: 0.62 em a character."""
    return 0.62 * size / 72 * len(text)


def _wrap(text: str, width: float, size: float) -> str:
    """``text`` broken into lines that fit ``width`` inches."""
    characters = max(1, int(width / _text_width("m", size)))
    return "\n".join(part for given in text.splitlines() for part in textwrap.wrap(given, characters))


def _slot_names(num_slots: int) -> list[str]:
    return [f"slot {slot + 1}" for slot in range(num_slots)]


# -------------------------------------------------------------------------------------------------- checks


def _expect(name: str, tensor: Tensor | np.ndarray, expected: Sequence[int | str]) -> None:
    """``expected`` holds sizes, and letters for sizes that are free but for zero."""
    shape = tuple(tensor.shape)
    pairs = zip(shape, expected, strict=False)
    fits = [size > 0 if isinstance(want, str) else size == want for size, want in pairs]
    if len(shape) != len(expected) or not all(fits):
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"{name} had shape {shape} but expected ({wanted}), no size of it zero")


def _image_shape(name: str, images: Tensor) -> tuple[int, int, int, int]:
    _expect(name, images, ("B", "C", "H", "W"))
    batch, channels, height, width = images.shape
    if channels not in (1, 3):
        raise ValueError(f"{name} had shape {tuple(images.shape)} but expected (B, 1 or 3, H, W)")
    return batch, channels, height, width


def _mask_slots(masks: Tensor, image_shape: tuple[int, int, int, int]) -> int:
    batch, _, height, width = image_shape
    _expect("masks", masks, (batch, "N", 1, height, width))
    return masks.shape[1]


def _count(name: str, wanted: int, available: int) -> int:
    if wanted < 1:
        raise ValueError(f"{name} was {wanted} but expected at least 1")
    return min(wanted, available)


def _finite(name: str, tensor: Tensor | np.ndarray) -> np.ndarray:
    values = torch.as_tensor(tensor).detach().cpu().double()
    if not values.isfinite().all():
        raise ValueError(f"{name} held NaN or infinity but expected finite values")
    return values.numpy()


def _unit(name: str, tensor: Tensor) -> Tensor:
    """Float32 on the CPU, clipped to [0, 1]; uint8 is 0 to 255, bool is 0 or 1."""
    values = tensor.detach().cpu()
    values = values / 255 if values.dtype == torch.uint8 else values.float()
    if not values.isfinite().all():
        raise ValueError(f"{name} held NaN or infinity but expected values in [0, 1]")
    return values.clamp(0, 1)


def unit_pixels(name: str, images: Tensor) -> np.ndarray:
    """(B, C, H, W) -> (B, H, W, 3) uint8."""
    values = _unit(name, images).expand(-1, 3, -1, -1)
    return values.mul(255).round().byte().permute(0, 2, 3, 1).numpy()
