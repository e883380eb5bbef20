"""Which samples make up which batch: a function of (seed, step) alone, so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..data.base import SceneDataset


class BatchOrder(Sampler[Tensor]):
    """Indices of the batches from `first_step` on, without end; every epoch has an order of its own.

    An epoch is as many whole batches as the samples give; the rest waits for the next epoch's order.

    Args:
        num_samples: samples to draw from.
        batch_size: of all processes together.
        seed: of the order.
        first_step: steps already made.
        rank, world_size: this process and how many there are; each gets its own equal share of every batch.

    Raises:
        ValueError: the batch is larger than the data, or the processes do not divide it.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size > num_samples:
            raise ValueError(f"batch_size={batch_size} but there are only {num_samples} samples to train on")
        if batch_size % world_size:
            raise ValueError(f"batch_size={batch_size} must be a multiple of the {world_size} processes")
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.first_step, self.rank, self.world_size = first_step, rank, world_size

    def __iter__(self) -> Iterator[Tensor]:
        batches = self.num_samples // self.batch_size
        epoch, batch = divmod(self.first_step, batches)
        while True:
            order = self._order(epoch)
            for start in range(batch * self.batch_size, batches * self.batch_size, self.batch_size):
                yield order[start : start + self.batch_size][self.rank :: self.world_size]
            epoch, batch = epoch + 1, 0

    def _order(self, epoch: int) -> Tensor:
        """A permutation of all samples (num_samples,)."""
        state = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(state % 2**63)
        return torch.randperm(self.num_samples, generator=generator)


class _Gather(Dataset):
    """Several rows of a tensor at once, or of the pictures of a data set, which is asked for them in the process that
    needs them: a file that is mapped into memory is opened there, not copied."""

    def __init__(self, rows: Tensor | SceneDataset) -> None:
        self.rows = rows

    def __getitem__(self, index: Tensor) -> Tensor:
        rows = self.rows if isinstance(self.rows, Tensor) else self.rows.images
        return rows[index]


def batches(
    rows: Tensor | SceneDataset, order: BatchOrder, num_workers: int = 0, pin_memory: bool = False
) -> Iterator[Tensor]:
    """The batches of `rows` (num_samples, ...), or of the pictures of a data set as uint8, in that order, without end.

    Args:
        num_workers: processes that gather them; with 0 the training process does.
        pin_memory: for a faster copy to a GPU.
    """
    loader = DataLoader(
        _Gather(rows),
        sampler=order,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else each start would draw from the generator that training draws from
    )
    return iter(loader)
