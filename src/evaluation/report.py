"""All scores of a trained model in one nested dictionary; docs/evaluation.md defines every entry."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.base import SceneDataset
from ..models.code_model import CodeModel
from ..utils.randomness import own_randomness
from .codes import best_distinct_blocks, block_factor_matrix, codebook_use, factor_labels
from .generation import well_formedness
from .intervals import share
from .passes import Pass
from .prior import prior_bits_per_code
from .probes import read_factors
from .subject import Subject, look_at

OBJECTS = 10_000  # that probes, information and codebook use ask for; codebook use looks at exactly so many
_OF_OBJECTS = ("readout", "blocks", "codebooks")  # what `code_scores` gives


def evaluate_model(
    model: CodeModel,
    train_ds: SceneDataset,
    test_ds: SceneDataset,
    *,
    device: torch.device | str = "cpu",
    autocast: AbstractContextManager | None = None,
    batch_size: int = 256,
    num_generated: int = 1000,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores a model on the test split.

    Args:
        model: on `device`; put into eval mode for this and back after.
        train_ds: the data it was trained on; the probes are fitted on its first 5,000 scenes.
        test_ds: all of it is scored; 5,000 scenes of the toys have more than 10,000 objects. What its kind of data has
            no ground truth or no attribute network for is None.
        autocast: the context to compute in, reusable, such as `utils.precision.autocast("bf16", "cpu")`.
        num_generated, temperature, top_k: of the scenes drawn from the prior.
        seed: of sampling, permutations and probes. The caller's random numbers are left as they were.
        cache_dir: where the attribute network of the data set is kept (see `attribute_network`).

    Returns:
        a dictionary of dictionaries that JSON can hold (floats, ints, None where a score is undefined):
        `reconstruction`, `segmentation`, `readout`, `blocks`, `codebooks`, `prior`, `generation`,
        `attribute_network`, `seconds`; `notes`, one line for everything that was skipped or is undefined; and
        `arrays` for figures: `block_factor` (M, F) with the names `factors`, `code_counts` (M, K).
    """
    was_training = model.training
    model.eval()
    try:
        with own_randomness(seed, torch.device(device)):
            subject = look_at(
                model,
                train_ds,
                test_ds,
                device=device,
                autocast=autocast,
                batch_size=batch_size,
                seed=seed,
                cache_dir=cache_dir,
                progress=progress,
                trained_on=train_ds,
            )
            scores = score(subject, num_generated, temperature, top_k)
    finally:
        model.train(was_training)
    return scores


def score(subject: Subject, num_generated: int, temperature: float = 1.0, top_k: int | None = None) -> dict[str, Any]:
    """What `evaluate_model` returns, of a subject."""
    model, test, notes = subject.model, subject.test, subject.notes
    scores: dict[str, Any] = {"reconstruction": reconstruction_scores(test)}
    if subject.has_objects:
        scores["segmentation"] = segmentation_scores(test, notes)
        with subject.timed("codes"):
            scores.update(code_scores(subject.fit, test, model.codebook_size, subject.seed, notes))
    else:
        scores.update(dict.fromkeys(("segmentation", *_OF_OBJECTS)), arrays=_no_arrays(test))
        notes.append(f"segmentation, readout, blocks, codebooks: {why_no_objects(subject)}")
    arrays = scores.pop("arrays")
    scores["prior"] = prior_scores(subject)
    scores["generation"] = generation_scores(subject, num_generated, temperature, top_k)
    scores["attribute_network"] = subject.network_report
    return {**scores, "seconds": subject.seconds, "notes": notes, "arrays": arrays}


def why_no_objects(subject: Subject) -> str:
    """What is missing where a subject has no objects to look at."""
    name = subject.test_ds.name
    if not subject.test_ds.has_ground_truth:
        return f"{name} has no masks and factors to compare with"
    return f"the model has no slots to compare with the objects of {name}"


def prior_scores(subject: Subject) -> dict[str, Any] | None:
    """Bits a code of the test scenes; None without a prior."""
    model = subject.model
    if model.prior is None:
        reason = "has none (it was trained without one); scenes are those of random codes"
        subject.notes.append(f"prior: the model {reason if model.has_codes else 'has no codes to learn one of'}")
        return None
    with subject.timed("prior"):
        parts = subject.test.codes.split(subject.batch_size)
        codes = torch.cat([model.in_order(some.to(subject.device)).cpu() for some in parts])
        scores = prior_bits_per_code(
            model.prior, codes, subject.seed, subject.batch_size, subject.autocast, shuffle=model.has_slots
        )
    if not model.has_slots:
        subject.notes.append("prior: patches have one order only, so no shuffled one is scored")
    return scores


def generation_scores(
    subject: Subject, num_generated: int, temperature: float = 1.0, top_k: int | None = None
) -> dict[str, Any] | None:
    """How many of the scenes drawn are well-formed; None without codes, or without a judge."""
    name = subject.test_ds.name
    if not subject.model.has_codes:
        subject.notes.append("generation: the model has no codes to draw scenes from")
        return None
    if subject.network is None:
        subject.notes.append(f"generation: no attribute network judges whether scenes of {name} are well formed")
        return None
    with subject.timed("generation"):
        _, images = subject.scenes_drawn(num_generated, temperature, top_k)
        return well_formedness(images, subject.network, subject.batch_size, subject.test_ds.rule)


def reconstruction_scores(test: Pass) -> dict[str, Any]:
    """Means over scenes of MSE ([0, 1] pixels, not clamped) and PSNR (dB); well-formed reconstructions."""
    scores: dict[str, Any] = {
        "mse": float(test.mse.mean()),
        "psnr": float(test.psnr.mean()),
        "n": len(test.mse),
    }
    if test.judged is not None:
        scores["well_formed"] = share(test.judged)
    return scores


def segmentation_scores(test: Pass, notes: list[str]) -> dict[str, Any]:
    """FG-ARI of decoder masks and of slot attention, mIoU, and the share of objects that some slot holds."""
    several = int((~test.ari.isnan()).sum())
    if several == 0:
        notes.append(f"segmentation: none of {len(test.ari)} scenes shows two objects, so FG-ARI is undefined")
    if test.objects == 0:
        notes.append(f"segmentation: none of {len(test.ari)} scenes shows an object, so mIoU is undefined")
    return {
        "fg_ari": _number(test.ari.nanmean()),
        "fg_ari_attention": _number(test.ari_attention.nanmean()),
        "n_fg_ari": several,
        "miou": _number(test.iou.nanmean()),
        "n_miou": int((~test.iou.isnan()).sum()),
        "matched": {"share": len(test.vectors) / test.objects if test.objects else None, "n": test.objects},
    }


def code_scores(fit: Pass, test: Pass, codebook_size: int, seed: int, notes: list[str]) -> dict[str, Any]:
    """Readout of the factors, block x factor information, codebook use, and their arrays."""
    objects = len(test.vectors)
    for name, found in (("fit", len(fit.vectors)), ("test", objects)):
        if found < OBJECTS:
            notes.append(
                f"codes: {found} matched objects to {name}, the definition asks for {OBJECTS}: use more scenes"
            )
    if objects < 2 or len(fit.vectors) < 2:
        notes.append("codes: too few matched objects, so readout, information and codebook use are undefined")
        return {**dict.fromkeys(_OF_OBJECTS), "arrays": _no_arrays(test)}
    readout, lines = read_factors(fit.vectors, fit.factors, test.vectors, test.factors, seed)
    notes.extend(lines)
    readout = {**readout, "n_fit": len(fit.vectors), "n": objects}
    if len(test.object_codes) == 0:
        notes.append("blocks, codebooks: the model has no codes")
        return {**dict.fromkeys(_OF_OBJECTS), "readout": readout, "arrays": _no_arrays(test)}
    matrix, lines = block_factor_matrix(test.object_codes, factor_labels(test.factors), seed)
    notes.extend(lines)
    use = codebook_use(test.object_codes[:OBJECTS], codebook_size)
    numbers = [[_number(value) for value in row] for row in matrix]
    return {
        "readout": readout,
        "blocks": {**best_distinct_blocks(matrix, list(test.factors)), "n": objects},
        "codebooks": {
            "share_used": use["share_used"].tolist(),
            "perplexity": use["perplexity"].tolist(),
            "share_used_min": float(use["share_used"].min()),
            "n": min(objects, OBJECTS),
        },
        "arrays": {"block_factor": numbers, "factors": list(test.factors), "code_counts": use["counts"].tolist()},
    }


def _no_arrays(test: Pass) -> dict[str, Any]:
    return {"block_factor": None, "factors": list(test.factors), "code_counts": None}


def _number(value: float | np.floating | Tensor) -> float | None:
    """A float for JSON; None for NaN (a note says why)."""
    value = float(value)
    return value if np.isfinite(value) else None
