from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from src.utils.distributed import gather_rows, mean_over_processes, own_rows, rank, same_everywhere, world_size


def test_one_process_keeps_what_it_has() -> None:
    assert (rank(), world_size()) == (0, 1)
    rows = torch.randn(4, 3, requires_grad=True)
    assert torch.equal(own_rows(rows), rows) and gather_rows(rows) is rows and same_everywhere(rows) is rows
    assert mean_over_processes({"loss": 0.1}, torch.device("cpu")) == {"loss": 0.1}


def _check(process: int, address: str) -> None:
    dist.init_process_group("gloo", init_method=address, rank=process, world_size=3)
    assert (rank(), world_size()) == (process, 3)
    for batch in (torch.arange(24.0).view(6, 2, 2), torch.arange(12).view(6, 2)):
        own = own_rows(batch)
        assert torch.equal(own, batch[process::3])
        assert torch.equal(gather_rows(own), batch)  # floats and integers, and a share that is not contiguous
    assert torch.equal(same_everywhere(torch.tensor([process, 7])), torch.tensor([0, 7]))
    means = mean_over_processes({"loss": process + 0.5, "other": -2.0 * process}, torch.device("cpu"))
    assert means == pytest.approx({"loss": 1.5, "other": -2.0})
    dist.destroy_process_group()


@pytest.mark.slow
def test_three_processes_share_rows_and_means(tmp_path) -> None:
    mp.spawn(_check, ((tmp_path / "meeting").as_uri(),), nprocs=3)
