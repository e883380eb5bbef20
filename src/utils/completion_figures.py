"""Figures of the prior: completed scenes, and whether its probabilities are what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure
from torch import Tensor

from .visualization import FONT_SIZE, STYLE, chart, picture_grid, unit_pixels


@style.context(STYLE)
def slot_sheet(picture: Tensor, parts: Tensor, title: str = "What each slot holds", *, dpi: int = 150) -> Figure:
    """A picture (C, H, W) and under it each of its N slots' parts (N, C, H, W) with its number, from 0 as `keep` takes
    it; in [0, 1]."""
    rows = unit_pixels("parts", parts)
    labels = ["picture", *(f"slot {n}" for n in range(len(rows)))]
    pictures = [unit_pixels("picture", picture[None]), *(row[None] for row in rows)]
    return picture_grid(pictures, dpi, title, row_labels=labels)


@style.context(STYLE)
def completions_grid(
    scenes: Tensor, given: Tensor, completed: Tensor, title: str = "Scenes completed by the prior", *, dpi: int = 150
) -> Figure:
    """One column a scene. Rows: the scene (B, C, H, W), what is given of it (B, C, H, W), its completions
    (B, A, C, H, W)."""
    rows = [unit_pixels("scenes", scenes), unit_pixels("given", given)]
    rows += [unit_pixels("completed", completed[:, number]) for number in range(completed.shape[1])]
    labels = ["scene", "given", *(f"completion {number + 1}" for number in range(completed.shape[1]))]
    return picture_grid(rows, dpi, title, row_labels=labels)


@style.context(STYLE)
def reliability(
    blocks: Sequence[Mapping[str, Any]],
    title: str = "How often the likeliest code is the right one",
    *,
    dpi: int = 150,
) -> Figure:
    """One panel a block: share of right codes against their predicted probability, with the number behind each bin.

    Args:
        blocks: of each block, `bins` (a list of {"predicted", "right", "n"}, both None where n is 0) and `ece`.

    Raises:
        ValueError: no blocks.
    """
    if not blocks:
        raise ValueError("blocks was empty but expected at least one block")
    columns = min(4, len(blocks))
    rows = -(-len(blocks) // columns)
    figure = chart(2.4 * columns + 0.4, 2.4 * rows + 0.8, title, dpi)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat[len(blocks) :]:
        panel.set_axis_off()
    for number, (panel, block) in enumerate(zip(panels.flat, blocks, strict=False)):
        used = [one for one in block["bins"] if one["n"]]
        total = sum(one["n"] for one in used)
        panel.plot([0, 1], [0, 1], color="#c4501b", linewidth=1, linestyle="--", label="as it says")
        predicted, right = ([one[key] for one in used] for key in ("predicted", "right"))
        panel.plot(predicted, right, color="#2f6f9f", linewidth=1)
        sizes = [4 + 200 * one["n"] / total for one in used]
        panel.scatter(predicted, right, s=sizes, color="#2f6f9f", alpha=0.7, clip_on=False, zorder=3)
        panel.set_title(f"block {number + 1}\ncalibration error (ECE) {block['ece']:.3f}", loc="left")
        panel.tick_params(labelbottom=True, labelleft=True)
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1)
    panels.flat[0].legend(loc="upper left", frameon=False, fontsize=FONT_SIZE - 1)
    figure.supxlabel("predicted probability of the likeliest code", fontsize=FONT_SIZE)
    figure.supylabel("share that are right", fontsize=FONT_SIZE)
    return figure
