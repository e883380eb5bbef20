from __future__ import annotations

from itertools import islice

import pytest
import torch

from src.training.batches import BatchOrder, batches


def first(order: BatchOrder, count: int) -> list[list[int]]:
    return [batch.tolist() for batch in islice(order, count)]


def test_an_epoch_shows_every_sample_once_and_the_next_has_another_order():
    shown = first(BatchOrder(12, 4, seed=0), 6)
    for epoch in (shown[:3], shown[3:]):
        assert sorted(index for batch in epoch for index in batch) == list(range(12))
    assert shown[:3] != shown[3:]


def test_starting_late_is_the_same_as_having_started_early():
    whole = first(BatchOrder(11, 3, seed=5), 20)
    for start in (1, 2, 3, 4, 9):
        assert first(BatchOrder(11, 3, seed=5, first_step=start), 10) == whole[start : start + 10]


def test_the_seed_decides():
    assert first(BatchOrder(50, 5, seed=1), 3) == first(BatchOrder(50, 5, seed=1), 3)
    assert first(BatchOrder(50, 5, seed=1), 3) != first(BatchOrder(50, 5, seed=2), 3)


def test_processes_share_each_batch():
    whole = first(BatchOrder(16, 8, seed=0), 4)
    parts = [first(BatchOrder(16, 8, seed=0, rank=rank, world_size=2), 4) for rank in range(2)]
    for batch, left, right in zip(whole, *parts, strict=True):
        assert sorted(left + right) == sorted(batch)
        assert len(left) == len(right) == 4


@pytest.mark.parametrize(("size", "world", "said"), [(20, 1, "only 16 samples"), (9, 2, "multiple of the 2")])
def test_impossible_batches_are_refused(size, world, said):
    with pytest.raises(ValueError, match=said):
        BatchOrder(16, size, seed=0, world_size=world)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_rows_in_that_order_and_draw_nothing_from_training(workers):
    rows = torch.arange(24).view(12, 2)
    before = torch.get_rng_state()
    given = list(islice(batches(rows, BatchOrder(12, 4, seed=0), workers), 4))
    assert torch.equal(torch.get_rng_state(), before)
    for batch, index in zip(given, first(BatchOrder(12, 4, seed=0), 4), strict=True):
        assert torch.equal(batch, rows[index])
