"""What the codes of a model mean, learned from some scenes of its data: names of blocks, words of codes, their order.

Legend: B scenes, O objects, N slots, M blocks, K codes a block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..evaluation.code_values import code_values, informative_blocks

SHOWN = 24  # codes of a block in its palette
INFORMATION = 0.1  # of a factor, least that a block says of it to bear its name
MIN_PURITY = 0.5  # of a code that stands for a value


@dataclass(frozen=True)
class BlockMeaning:
    """One block.

    Attributes:
        factor: what it says most about (None: nothing known).
        nth: which block of that factor, from 1.
        shown: codes of its palette, in the order of their meaning.
        words: code → the value that most objects with that code have, or where they are on average as "24 %".
    """

    factor: str | None
    nth: int
    shown: tuple[int, ...]
    words: Mapping[int, str]


def learn_meanings(
    objects: NDArray[np.int64],
    codebook: Tensor | None,
    codebook_size: int,
    labelled: NDArray[np.int64],
    factors: Mapping[str, NDArray],
    class_names: Mapping[str, Sequence[str]],
) -> list[BlockMeaning]:
    """The meaning of each of M blocks.

    Args:
        objects: codes (O, M) of objects, O > 0.
        codebook: (M, K, C), by whose main direction codes without a known meaning are ordered.
        labelled, factors, class_names: codes (O', M) of objects whose factors (O',) are known, and the names of those
            that are classes; as `Pass` and `SceneDataset` have them. Without factors nothing is known.
    """
    matrix = np.full((objects.shape[1], 0), np.nan)
    if factors and len(labelled):
        _, matrix, _ = informative_blocks(labelled, factors)
    found: list[BlockMeaning] = []
    for block, column in enumerate(_own_factors(np.nan_to_num(matrix, nan=-1.0))):
        factor = None if column is None else list(factors)[column]
        nth = 1 + sum(one.factor == factor for one in found)
        if factor is None:
            shown, words = _by_likeness(objects[:, block], None if codebook is None else codebook[block]), {}
        elif factor in class_names:
            shown, words = _by_class(labelled[:, block], factors[factor], class_names[factor], codebook_size)
        else:
            shown, words = _by_number(labelled[:, block], factors[factor])
        found.append(BlockMeaning(factor, nth, tuple(int(code) for code in shown), words))
    return found


def _own_factors(matrix: NDArray[np.float64]) -> list[int | None]:
    """The factor (column) that each block (row) is named after: each block another one, where it says at least half as
    much about it as about any; else the one that it says most about; None where that is next to nothing."""
    if matrix.shape[1] == 0:
        return [None] * len(matrix)
    given = dict(zip(*linear_sum_assignment(matrix, maximize=True), strict=True))
    names: list[int | None] = []
    for block, row in enumerate(matrix):
        own = given.get(block)
        if own is None or row[own] < row.max() / 2:
            own = row.argmax()
        names.append(int(own) if row[own] >= INFORMATION else None)
    return names


def _by_class(
    codes: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str], codebook_size: int
) -> tuple[list[int], dict[int, str]]:
    """The most used code of every value, then the second of every value, and so on; sorted by value."""
    uses, value, purity = code_values(codes, labels, codebook_size)
    stands = np.nonzero((uses > 0) & (np.nan_to_num(purity) >= MIN_PURITY))[0]
    by_value = stands[np.lexsort((stands, -uses[stands], value[stands]))]
    rank = np.arange(len(by_value)) - np.searchsorted(value[by_value], value[by_value])
    chosen = np.sort(np.lexsort((-uses[by_value], rank))[:SHOWN])
    return by_value[chosen].tolist(), {int(code): names[int(value[code])] for code in stands}


def _by_number(codes: NDArray[np.int64], values: NDArray[np.floating]) -> tuple[list[int], dict[int, str]]:
    """Codes evenly spread over the order of their objects' mean value."""
    used = np.unique(codes)
    means = np.array([values[codes == code].mean() for code in used])
    order = used[np.argsort(means, kind="stable")]
    shown = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).round().astype(int))]
    return shown.tolist(), {int(code): f"{mean:.0%}" for code, mean in zip(used, means, strict=True)}


def _by_likeness(codes: NDArray[np.int64], vectors: Tensor | None) -> list[int]:
    """The most used codes, in the order of their vectors' main direction."""
    used, uses = np.unique(codes, return_counts=True)
    chosen = np.sort(used[np.argsort(-uses, kind="stable")[:SHOWN]])
    if vectors is None or len(chosen) < 3:
        return chosen.tolist()
    points = vectors.detach().float().cpu()[torch.from_numpy(chosen)]
    points = points - points.mean(dim=0)
    along = points @ torch.linalg.svd(points, full_matrices=False).Vh[0]
    return chosen[along.numpy().argsort(kind="stable")].tolist()
