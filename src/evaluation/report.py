"""All scores of a trained model in one nested dictionary; docs/evaluation.md defines every entry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.base import SceneDataset
from ..data.toy_datasets import ToyDataset
from ..models.code_model import CodeModel
from ..models.slot_decoder import losses_only
from ..utils.progress import progress_bar
from ..utils.randomness import own_randomness
from .attribute_network import AttributeNetwork, read_images
from .attribute_training import attribute_network
from .codes import best_distinct_blocks, block_factor_matrix, codebook_use, factor_labels
from .generation import draw_scenes, well_formedness
from .intervals import share
from .passes import Pass, run_model
from .prior import prior_bits_per_code
from .probes import read_factors

FIT_SCENES = 5000  # of the train split, for the probes
OBJECTS = 10_000  # that probes, information and codebook use ask for; codebook use looks at exactly so many
GENERATE_BATCH = 250
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
    settings: dict[str, Any] = {"device": device, "autocast": autocast, "batch_size": batch_size}
    notes: list[str] = []
    seconds: dict[str, float] = {}
    scores: dict[str, Any] = {}
    was_training = model.training
    model.eval()
    try:
        with own_randomness(seed, torch.device(device)):
            network, network_report = None, None
            if isinstance(test_ds, ToyDataset):
                with _timed(seconds, "attribute_network"):
                    network, network_report = attribute_network(
                        test_ds, cache_dir, device=device, autocast=autocast, progress=progress
                    )
            with _timed(seconds, "scenes"):
                fit_ds = train_ds.first(FIT_SCENES)
                with progress_bar("scoring scenes", len(fit_ds) + len(test_ds), unit="scene", enabled=progress) as bar:
                    with losses_only(model):  # what the probes are fitted to needs no picture
                        fit = run_model(model, fit_ds, on_batch=bar.update, **settings)
                    judge = None if network is None else _judge(network)
                    test = run_model(model, test_ds, judge=judge, on_batch=bar.update, **settings)
            scores["reconstruction"] = reconstruction_scores(test)
            if test_ds.has_ground_truth and test.vectors.shape[1]:
                scores["segmentation"] = segmentation_scores(test, notes)
                with _timed(seconds, "codes"):
                    scores.update(code_scores(fit, test, model.codebook_size, seed, notes))
            else:
                scores.update(dict.fromkeys(("segmentation", *_OF_OBJECTS)), arrays=_no_arrays(test))
                lacking = f"the model has no slots to compare with the objects of {test_ds.name}"
                if not test_ds.has_ground_truth:
                    lacking = f"{test_ds.name} has no masks and factors to compare with"
                notes.append(f"segmentation, readout, blocks, codebooks: {lacking}")
            arrays = scores.pop("arrays")
            if model.prior is None:
                reason = "has none (init_prior was not called); scenes are those of random codes"
                notes.append(f"prior: the model {reason if model.has_codes else 'has no codes to learn one of'}")
                scores["prior"] = None
            else:
                with _timed(seconds, "prior"):
                    codes = torch.cat([model.in_order(some.to(device)).cpu() for some in test.codes.split(batch_size)])
                    scores["prior"] = prior_bits_per_code(
                        model.prior, codes, seed, batch_size, autocast, shuffle=model.has_slots
                    )
                if not model.has_slots:
                    notes.append("prior: patches have one order only, so no shuffled one is scored")
            if not model.has_codes:
                notes.append("generation: the model has no codes to draw scenes from")
                scores["generation"] = None
            elif network is None:
                notes.append(
                    f"generation: no attribute network judges whether scenes of {test_ds.name} are well formed"
                )
                scores["generation"] = None
            else:
                with _timed(seconds, "generation"):
                    with autocast or nullcontext():
                        _, images = draw_scenes(
                            model, num_generated, temperature, top_k, seed, batch_size=GENERATE_BATCH, progress=progress
                        )
                    scores["generation"] = well_formedness(images, network, batch_size, test_ds.rule)
    finally:
        model.train(was_training)
    scores["attribute_network"] = network_report
    return {**scores, "seconds": seconds, "notes": notes, "arrays": arrays}


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


def _judge(network: AttributeNetwork):
    return lambda images: read_images(network, images).well_formed


def _number(value: float | np.floating | Tensor) -> float | None:
    """A float for JSON; None for NaN (a note says why)."""
    value = float(value)
    return value if np.isfinite(value) else None


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)
