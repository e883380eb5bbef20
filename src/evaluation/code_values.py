"""What each code of a block stands for: the value of a factor that most objects with this code have.

Legend: O objects, M blocks, K codes a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codes import BINS, MOST_BINS, block_factor_matrix, factor_labels


class CodeValues(NamedTuple):
    """Of each of a block's K codes: how many objects use it, the label that most of them have (the smallest of equally
    frequent ones; -1: no object uses the code), and the share of them that have it (nan: none)."""

    uses: NDArray[np.int64]
    value: NDArray[np.int64]
    purity: NDArray[np.float64]


def code_values(codes: NDArray[np.integer], labels: NDArray[np.integer], codebook_size: int) -> CodeValues:
    """What the codes of one block, (O,) in 0..K-1, say about labels (O,) >= 0.

    Raises:
        ValueError: lengths differ, or there are no objects.
    """
    if len(codes) == 0 or codes.shape != labels.shape:
        raise ValueError(f"codes had shape {codes.shape} and labels {labels.shape} but expected (O,) twice, O > 0")
    values = int(labels.max()) + 1
    table = np.bincount(codes * values + labels, minlength=codebook_size * values).reshape(codebook_size, values)
    uses = table.sum(axis=1)
    purity = np.divide(table.max(axis=1), uses, out=np.full(codebook_size, np.nan), where=uses > 0)
    return CodeValues(uses, np.where(uses > 0, table.argmax(axis=1), -1), purity)


def informative_blocks(
    codes: NDArray[np.integer], factors: Mapping[str, NDArray], seed: int = 0
) -> tuple[dict[str, int | None], NDArray[np.float64], list[str]]:
    """The block that says most about each factor; several factors may have the same one.

    Returns:
        factor → block (None where that is undefined), the matrix (M, F) of `block_factor_matrix`, and its notes.
    """
    matrix, notes = block_factor_matrix(codes, factor_labels(factors), seed)
    columns = dict(zip(factors, matrix.T, strict=True))
    blocks = {name: int(column.argmax()) if np.isfinite(column).all() else None for name, column in columns.items()}
    return blocks, matrix, notes


def bin_limits(name: str, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The limits of the bins that `factor_labels` cuts numbers into: bin i goes from limits[i] to limits[i + 1]."""
    inner = np.unique(np.quantile(values, np.linspace(0, 1, BINS.get(name, MOST_BINS) + 1)[1:-1]))
    return np.concatenate([[-np.inf], inner, [np.inf]])
