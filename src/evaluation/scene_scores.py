"""Scores of scenes with intervals: how well they are painted, and how well objects are told apart.

Each is a mean over the scenes where it is defined, with a bootstrap interval over those scenes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .intervals import few, mean
from .similarity import has_ssim
from .subject import Subject


def reconstruction_details(subject: Subject) -> dict[str, Any] | None:
    """`mse`, `psnr` and `ssim` (of the first 1,000 scenes), each a mean with its interval; None where nothing is
    painted."""
    test, seed = subject.test, subject.seed
    if test.mse.isnan().all():
        subject.notes.append("reconstruction: the model paints no pictures")
        return None
    if not has_ssim():
        subject.notes.append("reconstruction: SSIM needs torchmetrics: pip install torchmetrics, or the extra metrics")
    subject.notes.extend(few("reconstruction", len(test.mse), "scenes"))
    return {name: _mean(getattr(test, name), seed) for name in ("mse", "psnr", "ssim")}


def segmentation_details(subject: Subject) -> dict[str, Any] | None:
    """`fg_ari`, `ari`, `miou` and `mbo` of the decoder's masks (`decoder`) and of slot attention's (`attention`), each
    a mean with its interval; None without slots or without true masks."""
    test, seed = subject.test, subject.seed
    if not subject.has_objects:
        lacking = "the model has no slots" if subject.test_ds.has_ground_truth else "the data has no true masks"
        subject.notes.append(f"segmentation: {lacking}, so there is nothing to compare")
        return None
    if test.ari.isnan().all():
        subject.notes.append(f"segmentation: none of {len(test.ari)} scenes shows two objects, so FG-ARI is undefined")
    if test.iou.isnan().all():
        subject.notes.append(f"segmentation: none of {len(test.ari)} scenes shows an object")
    found = {
        "decoder": (test.ari, test.full_ari, test.iou, test.best_overlap),
        "attention": (
            test.ari_attention,
            test.full_ari_attention,
            test.iou_attention,
            test.best_overlap_attention,
        ),
    }
    names = ("fg_ari", "ari", "miou", "mbo")
    return {
        source: {name: _mean(values, seed) for name, values in zip(names, each, strict=True)}
        for source, each in found.items()
    }


def _mean(values: Tensor, seed: int) -> dict[str, Any]:
    """Mean and interval of the scenes where the score is defined."""
    return mean(values[~values.isnan()].numpy(), seed)
