"""Disentanglement, completeness and informativeness of blocks (DCI; Eastwood & Williams 2018).

Gradient-boosted trees read each factor; how much of what they gain comes from which block is the block's importance.
scikit-learn is needed. Legend: O objects, M blocks, F factors, D slot width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from .intervals import share_of

# scikit-learn's numbers of trees and their depth. The rates were set by the accuracy on validation objects, not by D.
TREES = 100
DEPTH = 3
LEARNING_RATE = 0.1  # scikit-learn's; at 0.3, boosting on vectors diverges after some 40 rounds
ONE_HOT_LEARNING_RATE = 0.3  # a split tells one code from all others, so at 0.1 so few trees underfit


class Inputs(NamedTuple):
    """What trees look at: columns of the fit and of the test objects, (O, columns) each; the block of each column;
    and whether a tree looks at a sample of objects and columns only, as many dense columns take too long otherwise."""

    fit: Any
    test: Any
    block: NDArray[np.int64]
    sampled: bool


def has_trees() -> bool:
    """Whether scikit-learn is there."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return False
    return True


def one_hot_inputs(fit_codes: NDArray[np.integer], test_codes: NDArray[np.integer]) -> Inputs:
    """Code indices (O, M) as one column for each code that occurs in `fit_codes`; of any other, a row has none."""
    size, blocks = 1 + int(max(fit_codes.max(), test_codes.max())), np.arange(fit_codes.shape[1])
    known = np.unique(fit_codes + size * blocks)
    matrices = []
    for codes in (fit_codes, test_codes):
        wanted = codes + size * blocks
        column = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        row, block = np.nonzero(known[column] == wanted)
        entries = (np.ones(len(row), np.float32), (row, column[row, block]))
        matrices.append(sparse.csr_matrix(entries, shape=(len(codes), len(known))))
    return Inputs(*matrices, block=known // size, sampled=False)


def vector_inputs(fit_vectors: NDArray[np.floating], test_vectors: NDArray[np.floating], blocks: int) -> Inputs:
    """Code vectors (O, D), each block D / M columns one after the other."""
    block = np.repeat(np.arange(blocks), fit_vectors.shape[1] // blocks)
    return Inputs(fit_vectors, test_vectors, block, sampled=True)


def dci(
    inputs: Inputs,
    fit_labels: Mapping[str, NDArray[np.integer]],
    test_labels: Mapping[str, NDArray[np.integer]],
    seed: int = 0,
) -> tuple[dict[str, Any], list[str]]:
    """Disentanglement, completeness and informativeness of blocks; see docs/evaluation.md.

    Args:
        inputs: see `one_hot_inputs` and `vector_inputs`.
        fit_labels, test_labels: labels (O,) >= 0 per factor, the same factors in both (see `factor_labels`).

    Returns:
        `disentanglement`, `completeness`, `informativeness`, in [0, 1]; `accuracy`, per factor the share of test
        objects that the trees read rightly, with its interval and `chance`, the share of the fit objects' most
        frequent value; `importance` (M, F), each column of sum 1; `block_disentanglement` (M,), `block_weight` (M,),
        `factor_completeness` (F,). None is what is undefined, and there is one line for each reason.
    """
    blocks, names = int(inputs.block.max()) + 1, list(fit_labels)
    importance = np.full((blocks, len(names)), np.nan)
    accuracy: dict[str, dict[str, Any] | None] = dict.fromkeys(names)
    notes = []
    for column, name in enumerate(names):
        fit_y, test_y = fit_labels[name], test_labels[name]
        if min(np.unique(fit_y).size, np.unique(test_y).size) < 2:
            notes.append(f"DCI: {name} has one value only in {len(fit_y)} + {len(test_y)} objects, nothing to read")
            continue
        importance[:, column], right = _read(inputs, fit_y, test_y, seed)
        chance = float((test_y == np.bincount(fit_y).argmax()).mean())
        accuracy[name] = {**share_of(int(right.sum()), len(right)), "chance": chance}
        if np.isnan(importance[:, column]).any():
            notes.append(f"DCI: no split of the trees tells {name}, so no block is important for it")
    scores, lines = _scores(importance)
    read = [found["share"] for found in accuracy.values() if found is not None]
    return {
        **scores,
        "informativeness": float(np.mean(read)) if read else None,
        "accuracy": accuracy,
    }, [*notes, *lines]


def _read(
    inputs: Inputs, fit_y: NDArray[np.integer], test_y: NDArray[np.integer], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Importance of the blocks (M,) for a factor, NaN where the trees found nothing; which test objects (O,) they read
    rightly."""
    from sklearn.ensemble import GradientBoostingClassifier

    trees = GradientBoostingClassifier(
        n_estimators=TREES,
        max_depth=DEPTH,
        learning_rate=LEARNING_RATE if inputs.sampled else ONE_HOT_LEARNING_RATE,
        max_features="sqrt" if inputs.sampled else None,
        subsample=0.5 if inputs.sampled else 1.0,
        random_state=seed,
    ).fit(inputs.fit, fit_y)
    gain = np.bincount(inputs.block, trees.feature_importances_)
    whole = gain.sum()
    return gain / (whole if whole > 0 else np.nan), trees.predict(inputs.test) == test_y


def _scores(importance: NDArray[np.float64]) -> tuple[dict[str, Any], list[str]]:
    """D and C of importances (M, F) whose columns are NaN or sum to 1, and why one of them is undefined."""
    notes = []
    blocks, factors = importance.shape
    known = importance[:, np.isfinite(importance).all(axis=0)]
    disentanglement: list[float | None] = [None] * blocks
    completeness: list[float | None] = [None] * factors
    scores: dict[str, Any] = {"disentanglement": None, "completeness": None}
    count = known.shape[1]
    weight = known.sum(axis=1) / max(count, 1)
    if count > 1:
        of_block = np.full(blocks, np.nan)
        of_block[weight > 0] = 1 - stats.entropy(known[weight > 0], axis=1) / np.log(count)
        disentanglement = [float(value) if np.isfinite(value) else None for value in of_block]
        scores["disentanglement"] = float(np.nansum(weight * of_block))
    else:
        notes.append(f"DCI: disentanglement needs two factors that are read, found {count}")
    if count and blocks > 1:
        of_factor = 1 - stats.entropy(importance, axis=0) / np.log(blocks)
        completeness = [float(value) if np.isfinite(value) else None for value in of_factor]
        scores["completeness"] = float(np.nanmean(of_factor))
    elif blocks == 1:
        notes.append("DCI: completeness needs two blocks, found 1")
    return {
        **scores,
        "block_disentanglement": disentanglement,
        "block_weight": weight.tolist() if count else [None] * blocks,
        "factor_completeness": completeness,
        "importance": [[float(value) if np.isfinite(value) else None for value in row] for row in importance],
    }, notes
