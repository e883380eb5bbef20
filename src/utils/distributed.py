"""Several processes that work as one: each holds every world_size()-th row of a batch, from its rank on.

What training draws for each sample is drawn for the whole batch, alike in all processes, which keep their own rows
of it. So several processes learn what one learns from the same batches. One process communicates with nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, in [0, world_size())."""
    return dist.get_rank() if world_size() > 1 else 0


def own_rows(rows: Tensor) -> Tensor:
    """This process's share of the `rows` (n · world_size(), ...) of a batch, (n, ...)."""
    return rows[rank() :: world_size()]


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (n · world_size(), ...) of the whole batch, of which each process gives its own (n, ...).

    They come in the batch's order, undoing `own_rows`; no gradient flows back. All processes have to call it, with
    as many rows each.
    """
    if world_size() == 1:
        return rows
    rows = rows.detach().contiguous()
    shares = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(shares, rows)
    return torch.stack(shares, dim=1).flatten(0, 1)


def same_everywhere(value: Tensor) -> Tensor:
    """`value` as the first process has it: all have to call it, with the same shape."""
    if world_size() > 1:
        dist.broadcast(value, src=0)
    return value


def mean_over_processes(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """The mean of each value over all processes, which all have to call it with the same keys in the same order.

    `device` is where the processes exchange tensors.
    """
    if world_size() == 1:
        return dict(values)
    # No double precision on Apple's GPUs, but processes there exchange nothing.
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return dict(zip(values, (total / world_size()).tolist(), strict=True))
