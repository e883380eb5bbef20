"""What each block's codes say about the objects, and how much of each codebook is in use.

Legend: O objects, M blocks, K codes a block, F factors. Everything here looks at code *indices*; reading the
factors from code vectors is `probes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from ..utils.codebook_stats import count_codes, usage

BINS = {"size": 4}  # of a continuous factor; of all others:
MOST_BINS = 8
DISTINCT = ("colour", "x", "y")  # factors that are to have a block each
PERMUTATIONS = 5
_NO_INFORMATION = 1e-9  # nats


def equal_frequency_bins(
    values: NDArray[np.floating], bins: int, like: NDArray[np.floating] | None = None
) -> NDArray[np.int64]:
    """Bins (O,) int64 in 0..bins-1 of about equally many values: the edges are quantiles of `like`, or of `values`
    itself.

    Equal values share a bin, so a constant factor has one bin only.
    """
    edges = np.unique(np.quantile(values if like is None else like, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def factor_labels(
    factors: Mapping[str, NDArray], like: Mapping[str, NDArray] | None = None
) -> dict[str, NDArray[np.int64]]:
    """The factors as labels >= 0: classes (integers) as they are, size in 4 bins, other numbers in 8 (equal
    frequency in `like`, or in `factors` itself)."""
    return {
        name: np.asarray(values, np.int64)
        if np.issubdtype(values.dtype, np.integer)
        else equal_frequency_bins(values, BINS.get(name, MOST_BINS), None if like is None else like[name])
        for name, values in factors.items()
    }


def entropy(labels: NDArray[np.integer]) -> float:
    """Entropy of labels >= 0, in nats."""
    return float(stats.entropy(np.bincount(labels)))


def mutual_information(a: NDArray[np.integer], b: NDArray[np.integer]) -> float:
    """Mutual information of labels (O,) and (O,), in nats, from their joint histogram, bias included."""
    joint = np.bincount(a * (int(b.max()) + 1) + b)
    return entropy(a) + entropy(b) - float(stats.entropy(joint))


def block_factor_matrix(
    codes: NDArray[np.integer], labels: Mapping[str, NDArray[np.integer]], seed: int = 0
) -> tuple[NDArray[np.float64], list[str]]:
    """Which block carries which factor: (I − I_permuted) / (H(factor) − I_permuted) for every block and
    factor.

    I is the mutual information of the block's code index and the factor, H the factor's entropy, both in
    nats. I_permuted is the mean of I over 5 random permutations of the objects (seeded): what so many codes
    and so few objects seem to say by chance. 1: the code tells the factor; 0: it says nothing (slightly
    negative is chance).

    Args:
        codes: (O, M) integers >= 0.
        labels: labels (O,) >= 0 per factor, in the order of the columns (see `factor_labels`).

    Returns:
        the matrix (M, F), and a line for each reason why some of it is undefined and therefore NaN: factors with one
        value only, or so few objects that chance alone reaches the entropy. Lines count blocks from 1, as figures do.

    Raises:
        ValueError: no objects, or lengths differ.
    """
    found, chance, whole = _information(codes, labels, seed)
    objects, blocks = codes.shape
    matrix = np.full((blocks, len(labels)), np.nan)
    constant: list[str] = []
    too_few: list[str] = []
    for column, name in enumerate(labels):
        if whole[column] <= _NO_INFORMATION:
            constant.append(name)
            continue
        left = whole[column] - chance[:, column]
        defined = left > _NO_INFORMATION
        matrix[defined, column] = (found[defined, column] - chance[defined, column]) / left[defined]
        if not defined.all():
            numbers = ", ".join(str(block + 1) for block in np.flatnonzero(~defined))
            too_few.append(f"{name} ({f'block {numbers}' if defined.any() else 'all blocks'})")
    notes = []
    if constant:
        have = "has" if len(constant) == 1 else "have"
        names = ", ".join(constant)
        notes.append(f"block x factor: {names} {have} one value only in {objects} objects, so nothing to inform about")
    if too_few:
        notes.append(
            f"block x factor: {objects} objects are too few for {', '.join(too_few)}, as chance alone reaches the "
            "entropy; use more scenes"
        )
    return matrix, notes


def normalised_information(
    codes: NDArray[np.integer], labels: Mapping[str, NDArray[np.integer]], seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """I / H(factor) and I_permuted / H(factor), each (M, F): what `block_factor_matrix` corrects, and by how much.

    NaN in the column of a factor with one value only. Arguments and errors as there.
    """
    found, chance, whole = _information(codes, labels, seed)
    whole = np.where(whole > _NO_INFORMATION, whole, np.nan)
    return found / whole, chance / whole


def _information(
    codes: NDArray[np.integer], labels: Mapping[str, NDArray[np.integer]], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """I (M, F), I_permuted (M, F) and the factors' entropies (F,), in nats; see `block_factor_matrix`."""
    objects, blocks = codes.shape
    for name, values in labels.items():
        if objects == 0 or values.shape != (objects,):
            raise ValueError(f"codes of {objects} objects (expected at least 1) but {values.shape} labels of {name}")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(objects) for _ in range(PERMUTATIONS)]
    found, chance = np.zeros((blocks, len(labels))), np.zeros((blocks, len(labels)))
    for column, values in enumerate(labels.values()):
        for block in range(blocks):
            found[block, column] = mutual_information(codes[:, block], values)
            permuted = [mutual_information(codes[order, block], values) for order in orders]
            chance[block, column] = np.mean(permuted)
    return found, chance, np.array([entropy(values) for values in labels.values()])


def code_purity(
    fit_codes: NDArray[np.integer],
    fit_labels: Mapping[str, NDArray[np.integer]],
    test_codes: NDArray[np.integer],
    test_labels: Mapping[str, NDArray[np.integer]],
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many test objects have the value of a factor that most fit objects of their code have.

    Of equally frequent values the smallest counts as the majority; a code that no fit object has stands for the value
    that most fit objects have.

    Args:
        fit_codes, test_codes: (O, M) integers >= 0 of different objects.
        fit_labels, test_labels: labels (O,) >= 0 per factor, the same factors in both.

    Returns:
        hits (M, F), of the test objects; and what chance hits, (M, F): the mean over 5 seeded permutations of the fit
        objects' codes.

    Raises:
        ValueError: no objects, or lengths differ.
    """
    for codes, labels in ((fit_codes, fit_labels), (test_codes, test_labels)):
        for name, values in labels.items():
            if len(codes) == 0 or len(values) != len(codes):
                raise ValueError(f"codes of {len(codes)} objects (expected at least 1) but {len(values)} of {name}")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(fit_codes)) for _ in range(PERMUTATIONS)]
    size = 1 + int(max(fit_codes.max(initial=0), test_codes.max(initial=0)))
    hits = np.zeros((fit_codes.shape[1], len(fit_labels)), np.int64)
    chance = np.zeros(hits.shape)
    for column, (name, values) in enumerate(fit_labels.items()):
        for block in range(len(hits)):
            tested = test_codes[:, block]
            hits[block, column] = (_majority(fit_codes[:, block], values, size)[tested] == test_labels[name]).sum()
            permuted = [_majority(fit_codes[order, block], values, size)[tested] for order in orders]
            chance[block, column] = np.mean([(majority == test_labels[name]).sum() for majority in permuted])
    return hits, chance


def _majority(codes: NDArray[np.integer], labels: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """The most frequent label of each of `size` codes (size,); of all objects for a code that does not occur."""
    values = int(labels.max()) + 1
    table = np.bincount(codes * values + labels, minlength=size * values).reshape(size, values)
    return np.where(table.any(axis=1), table.argmax(axis=1), table.sum(axis=0).argmax())


def best_distinct_blocks(
    matrix: NDArray[np.floating],
    factors: Sequence[str],
    wanted: Sequence[str] = DISTINCT,
) -> dict[str, dict[str, float | int | None]]:
    """Gives each wanted factor a block of its own so that the sum of their values is largest (Hungarian).

    Args:
        matrix: (M, F) from `block_factor_matrix`, columns named by `factors`.
        wanted: those that `factors` lacks are left out.

    Returns:
        `{factor: {"block": index, "value": float}}`; both None where the column is undefined (NaN) or, with
        fewer blocks than factors, no block is left.
    """
    wanted = [name for name in wanted if name in factors]
    columns = [name for name in wanted if np.isfinite(matrix[:, list(factors).index(name)]).all()]
    best: dict[str, dict[str, float | int | None]] = {name: {"block": None, "value": None} for name in wanted}
    if columns:
        values = matrix[:, [list(factors).index(name) for name in columns]]
        for block, column in zip(*linear_sum_assignment(values, maximize=True), strict=True):
            best[columns[column]] = {"block": int(block), "value": float(values[block, column])}
    return best


def codebook_use(codes: NDArray[np.integer], codebook_size: int) -> dict[str, NDArray]:
    """How the codes (O, M) use the M codebooks of K codes.

    Returns:
        `counts` (M, K) int64; `share_used` (M,) share of codes used at least once, in [0, 1]; `perplexity`
        (M,) exp of the entropy of the use, in [1, K].
    """
    if codes.size == 0 or codes.min() < 0 or codes.max() >= codebook_size:
        found = f"{codes.min()}..{codes.max()}" if codes.size else "none"
        raise ValueError(f"expected codes in 0..{codebook_size - 1} of at least one object, found {found}")
    counts = count_codes(torch.from_numpy(codes).unsqueeze(0), codebook_size)
    return {
        "counts": counts.numpy(),
        "share_used": usage(counts).share.numpy(),
        # `usage` adds up in another order: its perplexity may differ in the last digit from those published.
        "perplexity": np.exp(stats.entropy(counts.numpy(), axis=1)),
    }
