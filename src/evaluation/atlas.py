"""The codebook atlas: what each code in use looks like in the data and in a decoded scene, and what it stands for.

It counts the objects of the test split that some slot holds. Legend: O objects, M blocks, K codes a block, H, W image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..utils.codebook_stats import count_codes, usage
from ..utils.visualization import edit_grid
from .code_values import bin_limits, code_values, informative_blocks
from .codes import factor_labels
from .subject import Subject

CODES = 24  # shown of a block
EXEMPLARS = 4  # of each code
SCENES = 2  # typical objects that each code of a block is put into
CROP = 0.5  # of the image: how wide the pictures around an object are
DIMMED = 0.35  # of its brightness keeps what does not belong to the object, where places are shown
_PLACES = ("x", "y")

Pixels = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class AtlasCode:
    """One code of a block.

    code: its index; uses, share: by objects; value: what most of these have of the block's factor, and purity, the
    share of them that have it (None: no factor); exemplars: such objects in the data; decoded: the block's typical
    objects with this code; tied: all values that as many of them have, if `value` is not the only one.
    """

    code: int
    uses: int
    share: float
    value: str | None
    purity: float | None
    exemplars: list[Pixels] = field(repr=False)
    decoded: list[Pixels] = field(repr=False)
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class AtlasBlock:
    """One block.

    factor: the one that it says most about (None: undefined), and `information` about every factor, see
    `block_factor_matrix`; used, perplexity: of its K codes; objects: how many are counted; codes: by value, then by
    uses; typical: the objects that `decoded` starts from, as they are decoded without an edit.
    """

    block: int
    factor: str | None
    information: dict[str, float | None]
    used: int
    perplexity: float
    objects: int
    codes: list[AtlasCode]
    typical: list[Pixels] = field(repr=False)


def codebook_atlas(subject: Subject, codes: int = CODES) -> list[AtlasBlock] | None:
    """The atlas of a model of slots and codes, block by block; None, and a note, where there are no such objects.

    Args:
        codes: shown of each block, at most: of every value the most used, then of every value the second, and so on.
    """
    model, test = subject.model, subject.test
    if not (model.has_codes and subject.has_objects) or len(test.object_codes) == 0:
        subject.notes.append("atlas: there are no codes of slots that hold objects")
        return None
    with subject.timed("atlas"):
        _, matrix, _ = informative_blocks(test.object_codes, test.factors, subject.seed)
        use = usage(count_codes(torch.from_numpy(test.object_codes)[None], model.codebook_size))
        atlas = []
        for block, row in enumerate(matrix):
            known = {name: float(v) if np.isfinite(v) else None for name, v in zip(test.factors, row, strict=True)}
            defined = {name: value for name, value in known.items() if value is not None}
            factor = max(defined, key=lambda name: defined[name]) if defined else None
            shown, typical = _codes(subject, block, factor, codes)
            used = len(np.unique(test.object_codes[:, block]))
            perplexity, objects = float(use.perplexity[block]), len(test.object_codes)
            atlas.append(AtlasBlock(block, factor, known, used, perplexity, objects, shown, typical))
    return atlas


def atlas_table(atlas: Sequence[AtlasBlock]) -> list[dict[str, Any]]:
    """The atlas without its pictures, as JSON can hold it."""
    pictures = ("exemplars", "decoded", "typical", "codes", "tied")
    return [
        {
            **{name: value for name, value in vars(block).items() if name not in pictures},
            "codes": [{n: v for n, v in vars(code).items() if n not in pictures} for code in block.codes],
        }
        for block in atlas
    ]


def code_words(code: AtlasCode) -> str:
    """What a code stands for, how purely, and how often it is used; of ties and of single uses it says so."""
    often = f"{100 * code.share:.1f} % of objects"
    if code.value is None:
        return often if code.uses > 1 else "one object only"
    if code.uses == 1:
        return f"one object only, {code.value}"
    if code.tied:
        each = "half each" if len(code.tied) == 2 and code.purity == 0.5 else "equally often"
        return f"{' or '.join(code.tied)}, {each}, {often}"
    return f"{code.value}, {100 * (code.purity or 0):.0f} % pure, {often}"


def atlas_figure(block: AtlasBlock, codes: int = 8, dpi: int = 150) -> Figure:
    """One block: a code a row, from every value one before a second is shown; its exemplars and its decoded changes."""
    values = [code.value for code in block.codes]
    turn = [values[:i].count(value) for i, value in enumerate(values)]
    shown = sorted(sorted(range(len(values)), key=lambda i: (turn[i], i))[:codes])
    rows, labels = [], []
    for code in (block.codes[i] for i in shown):
        pictures = [*code.exemplars, *code.decoded]
        blank = np.full_like(pictures[0], 255)
        gaps = EXEMPLARS - len(code.exemplars)
        rows.append([*code.exemplars, *[blank] * gaps, *code.decoded])
        words = [f"code {code.code}", f"{code.uses} uses", code.value or "", f"{100 * (code.purity or 0):.0f} % pure"]
        labels.append([*(words if code.value else [*words[:2], "", ""]), *["decoded"] * len(code.decoded)])
    pixels = torch.from_numpy(np.array(rows)).permute(0, 1, 4, 2, 3)
    about = f", which says most about {block.factor}" if block.factor else ""
    title = f"Codes of block {block.block + 1}{about}: four objects that use them, and two others given them"
    return edit_grid(pixels, labels, title=title, dpi=dpi)


def _codes(subject: Subject, block: int, factor: str | None, most: int) -> tuple[list[AtlasCode], list[Pixels]]:
    """The codes of a block that are shown, and its typical objects."""
    test, rng = subject.test, np.random.default_rng([subject.seed, block])
    of_objects = test.object_codes[:, block]
    labels = np.zeros(len(of_objects), np.int64) if factor is None else factor_labels(test.factors)[factor]
    uses, value, purity = code_values(of_objects, labels, subject.model.codebook_size)
    chosen = _chosen(uses, value, most)
    whole = factor in _PLACES or factor is None
    users = [_some(rng, np.nonzero(of_objects == code)[0], EXEMPLARS) for code in chosen]
    exemplars = _exemplars(subject, np.concatenate(users), whole)
    base = _typical(subject, rng)
    scenes = test.codes[torch.from_numpy(test.scene[base])]  # (SCENES, N, M)
    edited = scenes[None].repeat(1 + len(chosen), 1, 1, 1)
    edited[1:, torch.arange(len(base)), torch.from_numpy(test.slot[base]), block] = torch.from_numpy(chosen)[:, None]
    painted = _painted(subject, edited.flatten(0, 1))
    centres = np.tile(_centres(subject, base), (1 + len(chosen), 1))
    decoded = painted if whole else [_crop(picture, *at) for picture, at in zip(painted, centres, strict=True)]
    rows = [decoded[start : start + len(base)] for start in range(0, len(decoded), len(base))]
    names = _names(subject, factor)
    found, start = [], 0
    for code, own, change in zip(chosen.tolist(), users, rows[1:], strict=True):
        found.append(
            AtlasCode(
                code=code,
                uses=int(uses[code]),
                share=float(uses[code] / len(of_objects)),
                value=None if factor is None else names[int(value[code])],
                purity=None if factor is None else float(purity[code]),
                exemplars=exemplars[start : start + len(own)],
                decoded=change,
                tied=() if factor is None else _tied(labels[of_objects == code], names),
            )
        )
        start += len(own)
    return found, rows[0]


def _chosen(uses: NDArray[np.int64], value: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """`most` codes in use: of each value the most used, then of each the second; sorted by value, then by uses."""
    used = np.nonzero(uses)[0]
    by_value = used[np.lexsort((used, -uses[used], value[used]))]
    starts = np.searchsorted(value[by_value], value[by_value])
    rank = np.arange(len(by_value)) - starts
    return by_value[np.sort(np.lexsort((-uses[by_value], rank))[:most])]


def _tied(labels: NDArray[np.int64], names: Sequence[str]) -> tuple[str, ...]:
    """The names of the most frequent labels, if there are several."""
    counts = np.bincount(labels)
    most = np.nonzero(counts == counts.max())[0]
    return tuple(names[int(label)] for label in most) if len(most) > 1 else ()


def _names(subject: Subject, factor: str | None) -> Sequence[str]:
    """The labels of a factor in words."""
    if factor is None:
        return ()
    if factor in subject.test_ds.class_names:
        return subject.test_ds.class_names[factor]
    limits = bin_limits(factor, subject.test.factors[factor])
    inner = [f"{low:.2f}–{high:.2f}" for low, high in pairwise(limits[1:-1])]
    return [f"< {limits[1]:.2f}", *inner, f"> {limits[-2]:.2f}"]


def _exemplars(subject: Subject, objects: NDArray[np.int64], whole: bool) -> list[Pixels]:
    """Objects in the pictures of the data: cut out, or with all else dimmed (`whole`), so that their places show."""
    test, pictures = subject.test, []
    for o, centre in zip(objects, _centres(subject, objects), strict=True):
        scene = int(test.scene[o])
        picture = subject.test_ds.images[scene].permute(1, 2, 0).numpy()
        if whole:
            own = (subject.test_ds.instances[scene] == int(test.number[o]) + 1).numpy()[..., None]
            pictures.append(np.where(own, picture, DIMMED * picture).round().astype(np.uint8))
        else:
            pictures.append(_crop(picture, *centre))
    return pictures


def _centres(subject: Subject, objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Row and column (O, 2) in the middle of the objects' visible pixels."""
    test, centres = subject.test, []
    for o in objects:
        own = subject.test_ds.instances[int(test.scene[o])] == int(test.number[o]) + 1
        centres.append(own.nonzero().double().mean(dim=0).numpy())
    return np.array(centres)


def _crop(picture: Pixels, row: float, column: float) -> Pixels:
    """A square about a place, moved so that it lies within the picture."""
    side = round(CROP * picture.shape[0])
    top, left = (int(np.clip(round(at - side / 2), 0, picture.shape[0] - side)) for at in (row, column))
    return picture[top : top + side, left : left + side]


def _typical(subject: Subject, rng: np.random.Generator) -> NDArray[np.int64]:
    """Objects at random to put codes into: those of the first hundred drawn that touch no other come first."""
    test, drawn = subject.test, rng.permutation(len(subject.test.object_codes))[:100]
    alone = []
    for o in drawn:
        owner, number = subject.test_ds.instances[int(test.scene[o])], int(test.number[o]) + 1
        rows, columns = (owner == number).nonzero(as_tuple=True)
        top, left = (max(int(at.min()) - 1, 0) for at in (rows, columns))
        around = owner[top : int(rows.max()) + 2, left : int(columns.max()) + 2]
        alone.append(bool(((around == 0) | (around == number)).all()))
    return drawn[np.argsort(np.logical_not(alone), kind="stable")][:SCENES]


def _painted(subject: Subject, codes: Tensor) -> list[Pixels]:
    """What scenes of `codes` (B, N, M) look like."""
    pictures = []
    for batch in codes.split(subject.batch_size):
        with torch.inference_mode(), subject.computing():
            images = subject.model.paint(batch.to(subject.device)).float().clamp(0, 1).cpu()
        pictures += list(images.mul(255).round().byte().permute(0, 2, 3, 1).numpy())
    return pictures


def _some(rng: np.random.Generator, values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the values at random, or all there are."""
    return rng.permutation(values)[:count]
