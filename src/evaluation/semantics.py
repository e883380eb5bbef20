"""What the codes mean: how blocks and factors belong together, measured on objects matched to slots.

Majorities and trees are fitted on objects of the train split and counted on those of the test split. Legend: O
objects, M blocks, K codes a block, F factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..utils import visualization
from .codes import block_factor_matrix, code_purity, codebook_use, factor_labels, normalised_information
from .disentanglement import Inputs, dci, has_trees, one_hot_inputs, vector_inputs
from .intervals import few, share_of
from .subject import Subject

Labels = dict[str, NDArray[np.int64]]


def semantics_scores(subject: Subject) -> dict[str, Any] | None:
    """Information, purity, use and DCI of the codes; None without objects that slots hold.

    Returns:
        `factors`, the names of the columns of all matrices; `n_fit`, `n`, the matched objects; `information`, `purity`,
        `use`, `dci_codes` (None without codes) and `dci_vectors`; docs/evaluation.md defines them.
    """
    fit, test, notes = subject.fit, subject.test, subject.notes
    found = min(len(fit.vectors), len(test.vectors))
    if not subject.has_objects or found < 2 or not test.factors:
        lacking = f"{len(fit.vectors)} + {len(test.vectors)} objects that slots hold are too few (2 + 2)"
        if not subject.test_ds.has_ground_truth:
            lacking = "the data has no masks and factors to compare with"
        elif not subject.has_objects:
            lacking = "the model has no slots to compare with objects"
        notes.append(f"semantics: {lacking}")
        return None
    fit_labels, test_labels = factor_labels(fit.factors), factor_labels(test.factors, like=fit.factors)
    notes.extend(few("semantics", found, "objects that slots hold, to fit or to score"))
    scores: dict[str, Any] = {"factors": list(test.factors), "n_fit": len(fit.vectors), "n": len(test.vectors)}
    scores.update(dict.fromkeys(("information", "purity", "use", "dci_codes", "dci_vectors")))
    has_codes = len(fit.object_codes) > 0 and len(test.object_codes) > 0
    if has_codes:
        scores["information"] = _information(subject)
        scores["purity"] = _purity(subject, fit_labels, test_labels)
        use = codebook_use(test.object_codes, subject.model.codebook_size)
        scores["use"] = {name: values.tolist() for name, values in use.items()}
    else:
        notes.append("semantics: the model has no codes, so only the DCI of its vectors is scored")
    if not has_trees():
        notes.append("semantics: DCI needs scikit-learn: pip install scikit-learn, or the extra metrics")
        return scores
    vectors = vector_inputs(fit.vectors, test.vectors, subject.model.num_codebooks)
    scores["dci_vectors"] = _dci(subject, vectors, fit_labels, test_labels, "vectors")
    if has_codes:
        one_hot = one_hot_inputs(fit.object_codes, test.object_codes)
        scores["dci_codes"] = _dci(subject, one_hot, fit_labels, test_labels, "codes")
    return scores


def semantics_figures(subject: Subject, scores: dict[str, Any] | None) -> dict[str, Figure]:
    """Heat-maps block x factor of what `semantics_scores` found: `purity` and the importances of the two DCI."""
    figures = {}
    split = subject.test_ds.split
    titles = {
        "purity": ("purity", "matrix", f"Objects ({split}) with the majority value of their code", "share of objects"),
        "dci_codes": ("dci_codes", "importance", "Which block tells which factor: code indices", "importance"),
        "dci_vectors": ("dci_vectors", "importance", "Which block tells which factor: code vectors", "importance"),
    }
    for name, (part, key, title, label) in titles.items():
        if scores is not None and scores[part] is not None:
            matrix = np.array(scores[part][key], dtype=float)  # None becomes NaN
            if not np.isfinite(matrix).any():
                continue
            figures[name] = visualization.block_factor_matrix(matrix, scores["factors"], title=title, label=label)
    return figures


def _information(subject: Subject) -> dict[str, Any]:
    """`matrix` (M, F) corrected for chance, `nmi` as it is and `permuted`, what chance gives; all as in
    `block_factor_matrix`, on the test objects alone."""
    codes, labels = subject.test.object_codes, factor_labels(subject.test.factors)
    matrix, notes = block_factor_matrix(codes, labels, subject.seed)
    subject.notes.extend(line for line in notes if line not in subject.notes)
    nmi, permuted = normalised_information(codes, labels, subject.seed)
    return {"matrix": _numbers(matrix), "nmi": _numbers(nmi), "permuted": _numbers(permuted)}


def _purity(subject: Subject, fit_labels: Labels, test_labels: Labels) -> dict[str, Any]:
    """`matrix` (M, F) and `permuted` (M, F), shares of the test objects; `best`: for each factor the block that is
    purest on the fit objects, its purity on the test objects and what chance gives there."""
    fit, test = subject.fit.object_codes, subject.test.object_codes
    hits, chance = code_purity(fit, fit_labels, test, test_labels, subject.seed)
    at_fit, _ = code_purity(fit, fit_labels, fit, fit_labels, subject.seed)
    best = {}
    for column, name in enumerate(test_labels):
        block = int(at_fit[:, column].argmax())
        best[name] = {
            "block": block,
            **share_of(int(hits[block, column]), len(test)),
            "permuted": float(chance[block, column] / len(test)),
        }
    return {"matrix": _numbers(hits / len(test)), "permuted": _numbers(chance / len(test)), "best": best}


def _dci(subject: Subject, inputs: Inputs, fit_labels: Labels, test_labels: Labels, of: str) -> dict[str, Any]:
    with subject.timed("dci"):
        scores, notes = dci(inputs, fit_labels, test_labels, subject.seed)
    subject.notes.extend(line.replace("DCI:", f"DCI of {of}:") for line in notes)
    return scores


def _numbers(matrix: NDArray[np.floating]) -> list[list[float | None]]:
    """Rows for JSON; None for NaN."""
    return [[float(value) if np.isfinite(value) else None for value in row] for row in matrix]
