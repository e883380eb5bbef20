"""How well the slots' masks separate the objects: FG-ARI, ARI, mIoU, mBO, and which slot holds which object.

Legend: B scenes, S objects a scene at most, N slots, H, W image. The predicted segmentation is always hard:
every pixel belongs to the slot with the largest mask. True masks are the disjoint *visible* instance masks of
the data set; an object is present when at least one of its pixels is visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def segment(predicted_masks: Tensor) -> Tensor:
    """Soft masks (B, N, 1, H, W) -> the slot of every pixel (B, H, W), int64 in 0..N-1."""
    if predicted_masks.dim() != 5 or predicted_masks.shape[2] != 1:
        raise ValueError(
            f"predicted masks had shape {tuple(predicted_masks.shape)} but expected (B, N, 1, H, W), one mask per slot"
        )
    return predicted_masks[:, :, 0].movedim(1, -1).contiguous().argmax(dim=-1)


@dataclass(frozen=True)
class Comparison:
    """True masks against a prediction, for each of B scenes; what is in it is defined by the function of that name:
    fg_ari, ari, iou (`mean_iou`), best_overlap (`mean_best_overlap`), all (B,) float64, and slot (`match_objects`),
    (B, S) int64; on the CPU."""

    fg_ari: Tensor
    ari: Tensor
    iou: Tensor
    best_overlap: Tensor
    slot: Tensor


def compare(true_masks: Tensor, predicted: Tensor) -> Comparison:
    """All scores from one count of the pixels. Arguments and errors as in `fg_ari`."""
    table = _contingency(true_masks, predicted)
    iou, present = _iou(table)
    matched, count = _assign(iou), present.sum(axis=1)
    of_slot = np.take_along_axis(iou, np.maximum(matched, 0)[..., None], axis=2)[..., 0]

    def mean_of_objects(score: np.ndarray) -> Tensor:
        total = np.where(present, score, 0.0).sum(axis=1)
        return torch.from_numpy(np.where(count > 0, total / np.maximum(count, 1), np.nan))

    return Comparison(
        fg_ari=_adjusted_rand(table[:, :-1]),
        ari=_adjusted_rand(table),
        iou=mean_of_objects(np.where(matched >= 0, of_slot, 0.0)),
        best_overlap=mean_of_objects(iou.max(axis=2, initial=0.0)),
        slot=torch.from_numpy(np.where((matched >= 0) & (of_slot > 0), matched, -1)),
    )


def fg_ari(true_masks: Tensor, predicted: Tensor) -> Tensor:
    """Adjusted Rand index over the pixels of the objects, per scene (Hubert & Arabie 1985; foreground as in
    Locatello et al. 2020).

    Args:
        true_masks: (B, S, H, W) bool, disjoint visible masks; an empty mask is an absent object.
        predicted: masks (B, N, 1, H, W), or labels (B, H, W) of integers >= 0.

    Returns:
        (B,) float64: 1 for the true partition, about 0 for a random one, NaN where fewer than two objects are
        visible (report `fg_ari(...).nanmean()`: the mean over scenes of two objects or more).

    Raises:
        ValueError: shapes do not fit, or the true masks overlap.
    """
    return compare(true_masks, predicted).fg_ari


def ari(true_masks: Tensor, predicted: Tensor) -> Tensor:
    """Adjusted Rand index over all pixels, the background one more true group, per scene (Hubert & Arabie 1985).

    Returns:
        (B,) float64: 1 for the true partition, about 0 for a random one, NaN where all pixels are of one true group
        (no object visible, or one that fills the image).

    Arguments and errors as in `fg_ari`.
    """
    return compare(true_masks, predicted).ari


def mean_iou(true_masks: Tensor, predicted: Tensor) -> Tensor:
    """Mean over a scene's objects of the intersection over union with their slots, (B,) float64.

    Objects and slots are matched one to one so that the sum of IoUs is largest (Hungarian). The slot's whole
    segment counts, background pixels included. Objects left over when there are fewer slots count 0. NaN: no
    object visible. Arguments and errors as in `fg_ari`; labels need no extra argument (slots = labels that
    occur).
    """
    return compare(true_masks, predicted).iou


def mean_best_overlap(true_masks: Tensor, predicted: Tensor) -> Tensor:
    """Mean over a scene's objects of the largest intersection over union with any slot, (B,) float64 (Pont-Tuset et
    al. 2017).

    Not one to one: a slot may be the best of several objects, so it is never below `mean_iou`. The background is no
    object. NaN: no object visible. Arguments and errors as in `fg_ari`.
    """
    return compare(true_masks, predicted).best_overlap


def match_objects(true_masks: Tensor, predicted: Tensor) -> Tensor:
    """The slot of every object: (B, S) int64, on the CPU; one to one, largest sum of IoUs (Hungarian).

    -1: the object is absent, or no slot is left for it, or its slot shares no pixel with it.
    Arguments and errors as in `fg_ari`.
    """
    return compare(true_masks, predicted).slot


def _contingency(true_masks: Tensor, predicted: Tensor) -> Tensor:
    """Pixels shared by object s and slot n, (B, S + 1, N) float64; the last row is the background's."""
    if true_masks.dim() != 4 or true_masks.dtype != torch.bool:
        raise ValueError(
            f"true masks had shape {tuple(true_masks.shape)} and type {true_masks.dtype} but expected "
            "(B, S, H, W) of torch.bool; take them from `ground_truth_arrays()['masks']`"
        )
    labels = predicted if predicted.dim() == 3 else segment(predicted)
    scenes, objects, height, width = true_masks.shape
    if labels.shape != (scenes, height, width):
        raise ValueError(
            f"the prediction has {tuple(labels.shape)} (B, H, W) but the true masks have {(scenes, height, width)}"
        )
    if labels.is_floating_point() or (labels.numel() and int(labels.min()) < 0):
        raise ValueError("predicted labels must be integers >= 0; give masks (B, N, 1, H, W) or an arg max of them")
    slots = int(labels.max()) + 1 if predicted.dim() == 3 and labels.numel() else predicted.shape[1]
    if true_masks.numel() and int(true_masks.sum(dim=1).max()) > 1:
        raise ValueError("true masks overlap: a pixel belongs to two objects; give visible (disjoint) masks")
    # The object of every pixel, S for the background; then one count over (scene, object, slot).
    seen, owner = true_masks.to(torch.uint8).max(dim=1)  # argmax takes six times as long
    owner = torch.where(seen > 0, owner, objects)
    scene = torch.arange(scenes, device=labels.device).view(-1, 1, 1)
    index = (scene * (objects + 1) + owner.to(labels.device)) * slots + labels
    table = torch.bincount(index.flatten(), minlength=scenes * (objects + 1) * slots)
    return table.cpu().view(scenes, objects + 1, slots).double()  # tiny, and not every device has float64


def _adjusted_rand(table: Tensor) -> Tensor:
    """The adjusted Rand index (B,) of tables (B, S, N) of pixels that a true group and a slot share; NaN where fewer
    than two true groups have pixels."""
    objects, slots = table.sum(dim=2), table.sum(dim=1)
    together = _pairs(table).sum(dim=(1, 2))  # pairs of pixels joined by both partitions
    same_object, same_slot = _pairs(objects).sum(dim=1), _pairs(slots).sum(dim=1)
    all_pairs = _pairs(objects.sum(dim=1))
    expected = same_object * same_slot / all_pairs.clamp(min=1)
    best = 0.5 * (same_object + same_slot)
    # Both partitions made of single pixels: nothing to join, and nothing wrong (scikit-learn says 1 as well).
    trivial = best == expected
    score = torch.where(trivial, 1.0, (together - expected) / torch.where(trivial, 1.0, best - expected))
    return torch.where((objects > 0).sum(dim=1) >= 2, score, torch.nan)


def _pairs(count: Tensor) -> Tensor:
    return count * (count - 1) / 2


def _iou(table: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """IoU (B, S, N) and which objects are present (B, S)."""
    shared = table[:, :-1]
    areas = shared.sum(dim=2, keepdim=True)
    union = areas + table.sum(dim=1, keepdim=True) - shared
    iou = shared / union.clamp(min=1)
    return iou.numpy(), (areas[..., 0] > 0).numpy()


def _assign(iou: np.ndarray) -> np.ndarray:
    """One-to-one slots (B, S) with the largest sum of IoUs, -1 for objects left over."""
    matched = np.full(iou.shape[:2], -1, dtype=np.int64)
    for scene, scores in enumerate(iou):
        rows, columns = linear_sum_assignment(scores, maximize=True)
        matched[scene, rows] = columns
    return matched
