"""FG-ARI and ARI against scikit-learn, mIoU, mBO and matching against hand-made scenes and brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from src.evaluation.segmentation import ari, fg_ari, match_objects, mean_best_overlap, mean_iou, segment


def random_scenes(seed: int, scenes: int = 12, objects: int = 4, slots: int = 5, size: int = 12):
    """Disjoint masks where some objects are absent, and soft masks that know a little of the truth."""
    rng = torch.Generator().manual_seed(seed)
    owner = torch.randint(0, objects + 3, (scenes, size, size), generator=rng)  # above objects - 1: background
    masks = torch.stack([owner == index for index in range(objects)], dim=1)
    masks &= torch.rand(scenes, objects, 1, 1, generator=rng) > 0.3
    soft = torch.rand(scenes, slots, 1, size, size, generator=rng)
    soft[:, :objects, 0] += 0.4 * masks
    return masks, soft.softmax(dim=1)


@given(seed=st.integers(0, 10_000), slots=st.integers(4, 7))
@settings(max_examples=25, deadline=None)
def test_fg_ari_equals_scikit_learn(seed: int, slots: int) -> None:
    masks, soft = random_scenes(seed, slots=slots)
    labels = segment(soft)
    score = fg_ari(masks, soft)
    assert torch.equal(score.isnan(), fg_ari(masks, labels).isnan())
    for scene in range(len(masks)):
        visible = masks[scene].any(dim=0)
        if masks[scene].flatten(1).any(dim=1).sum() < 2:
            assert score[scene].isnan()
            continue
        expected = adjusted_rand_score(masks[scene].int().argmax(dim=0)[visible], labels[scene][visible])
        assert score[scene].item() == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 10_000), slots=st.integers(4, 7))
@settings(max_examples=15, deadline=None)
def test_ari_equals_scikit_learn_with_the_background_as_a_group(seed: int, slots: int) -> None:
    masks, soft = random_scenes(seed, scenes=6, slots=slots)
    labels = segment(soft)
    for scene, score in enumerate(ari(masks, soft)):
        owner = torch.where(masks[scene].any(dim=0), masks[scene].int().argmax(dim=0), 99)
        if owner.unique().numel() < 2:
            assert score.isnan()
            continue
        assert score.item() == pytest.approx(adjusted_rand_score(owner.flatten(), labels[scene].flatten()), abs=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_best_overlap_is_the_largest_iou_of_any_slot(seed: int) -> None:
    masks, soft = random_scenes(seed, scenes=4)
    labels = segment(soft)
    for scene, score in enumerate(mean_best_overlap(masks, soft)):
        best = [
            max(float((mask & (labels[scene] == n)).sum() / (mask | (labels[scene] == n)).sum()) for n in range(5))
            for mask in masks[scene]
            if mask.any()
        ]
        assert (score.isnan() and not best) or score.item() == pytest.approx(np.mean(best), abs=1e-6)
    assert (
        (mean_best_overlap(masks, soft) >= mean_iou(masks, soft) - 1e-12)
        .logical_or(mean_iou(masks, soft).isnan())
        .all()
    )


def test_one_slot_may_be_the_best_of_two_objects() -> None:
    masks = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    masks[0, 0, :2] = masks[0, 1, 2:] = True
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    assert mean_best_overlap(masks, labels)[0].item() == 0.5 and mean_iou(masks, labels)[0].item() == 0.25
    assert ari(masks, labels)[0].item() == 0.0  # one slot says nothing
    assert mean_best_overlap(masks, labels)[1].isnan() and ari(masks, labels)[1].isnan()  # no object


def test_perfect_merged_and_split_segmentations() -> None:
    masks = torch.zeros(1, 3, 8, 8, dtype=torch.bool)
    masks[0, 0, :4, :4] = True
    masks[0, 1, 4:, :4] = True
    labels = torch.full((1, 8, 8), 2)
    labels[masks[:, 0]] = 0
    labels[masks[:, 1]] = 4
    assert fg_ari(masks, labels).item() == 1.0  # names of slots do not matter, nor does the background
    assert mean_iou(masks, labels).item() == 1.0
    assert match_objects(masks, labels).tolist() == [[0, 4, -1]]
    assert fg_ari(masks, torch.zeros_like(labels)).item() == pytest.approx(0.0)
    assert mean_iou(masks, torch.zeros_like(labels)).item() == pytest.approx(0.125)  # one object 16/64, the other 0
    halves = labels.clone()
    halves[0, :2, :4] = 3  # one object in two slots
    assert mean_iou(masks, halves).item() == pytest.approx(0.75)
    assert 0.3 < fg_ari(masks, halves).item() < 1.0


def test_random_labels_score_about_zero() -> None:
    masks, _ = random_scenes(0, scenes=64, size=32)
    labels = torch.randint(0, 5, (64, 32, 32), generator=torch.Generator().manual_seed(1))
    assert abs(fg_ari(masks, labels).nanmean().item()) < 0.01


def test_one_pixel_objects_agree_with_scikit_learn() -> None:
    masks = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    masks[:, 0, 0, 0] = masks[:, 1, 1, 1] = True
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[1, 1, 1] = 1
    assert fg_ari(masks, labels).tolist() == [
        adjusted_rand_score([0, 1], [0, 0]),
        adjusted_rand_score([0, 1], [0, 1]),
    ]


def test_scenes_without_enough_objects_are_nan_not_zero() -> None:
    masks = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    masks[1, 0, :2] = True
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    assert fg_ari(masks, labels).isnan().all()
    assert mean_iou(masks, labels).isnan().tolist() == [True, False]
    assert match_objects(masks, labels).tolist() == [[-1, -1], [0, -1]]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_matching_is_the_best_of_all_assignments(seed: int) -> None:
    masks, soft = random_scenes(seed, scenes=3, objects=3, slots=4, size=8)
    labels = segment(soft)
    for scene, score in enumerate(mean_iou(masks, soft)):
        present = [index for index in range(3) if masks[scene, index].any()]
        if not present:
            assert score.isnan()
            continue
        iou = np.array(
            [
                [
                    (masks[scene, i] & (labels[scene] == n)).sum() / (masks[scene, i] | (labels[scene] == n)).sum()
                    for n in range(4)
                ]
                for i in present
            ]
        )
        rows = range(len(present))
        best = max(iou[rows, list(choice)].mean() for choice in permutations(range(4), len(present)))
        assert score.item() == pytest.approx(best, abs=1e-6)


def test_fewer_slots_than_objects_leaves_some_unmatched() -> None:
    masks = torch.zeros(1, 3, 6, 6, dtype=torch.bool)
    for index in range(3):
        masks[0, index, 2 * index : 2 * index + 2] = True
    soft = torch.rand(1, 2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    matched = match_objects(masks, soft)[0]
    assert (matched == -1).sum() == 1
    assert sorted(matched[matched >= 0].tolist()) == [0, 1]


def test_wrong_input_gets_one_clear_line() -> None:
    masks, soft = random_scenes(0)
    with pytest.raises(ValueError, match="torch.bool"):
        fg_ari(masks.float(), soft)
    with pytest.raises(ValueError, match=r"\(B, N, 1, H, W\)"):
        fg_ari(masks, soft[:, :, 0])
    with pytest.raises(ValueError, match="12, 6, 12"):
        fg_ari(masks, soft[..., :6, :])
    with pytest.raises(ValueError, match="integers"):
        fg_ari(masks, segment(soft).float())
    with pytest.raises(ValueError, match="overlap"):
        fg_ari(torch.ones(1, 2, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.int64))
