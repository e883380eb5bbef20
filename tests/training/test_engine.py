from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from src.configs.errors import CommandError, ConfigError
from src.training.engine import check_processes, make_fabric, reproducible, together

from .tiny import tiny_config


def test_the_same_sums_whatever_the_threads_do():
    threads = torch.get_num_threads()
    index = torch.randint(4, (20_000,))  # many rows added up into few, by several threads
    upstream = torch.randn(20_000, 16)

    def gradient() -> torch.Tensor:
        table = torch.zeros(4, 16, requires_grad=True)
        (table[index] * upstream).sum().backward()
        assert table.grad is not None
        return table.grad

    try:
        torch.set_num_threads(2)
        with reproducible():
            first = gradient()
            assert all(torch.equal(gradient(), first) for _ in range(5))
    finally:
        torch.set_num_threads(threads)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize("last", ["last.pth", "nothing.pth"])
def test_a_process_whose_fellow_is_gone_says_so_in_one_line(tmp_path, last):
    (tmp_path / "last.pth").write_text("")
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection closed. GLHF!\nmore\nlines")
    fabric: Any = SimpleNamespace(world_size=2)
    said = "another of the 2 processes ended"
    with pytest.raises(CommandError, match=said) as error, together(fabric, tmp_path / last):
        raise lost
    assert str(error.value).endswith("(Connection closed)")
    assert ("training.resume=auto" in str(error.value)) == (last == "last.pth")
    for alone, other in ((1, lost), (2, RuntimeError("shapes do not fit"))):
        fabric.world_size = alone
        with pytest.raises(RuntimeError) as raised, together(fabric, tmp_path / last):
            raise other
        assert raised.value is other


@pytest.mark.parametrize(("precision", "said"), [("bf16", "bf16-mixed"), ("float32", "32-true")])
def test_precision_reaches_the_engine(precision, said):
    fabric = make_fabric(tiny_config(f"precision={precision}"))
    assert fabric._precision.precision == said and fabric.device.type == "cpu"


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device=cuda is not available here"):
        make_fabric(tiny_config("device=cuda"))


# ------------------------------------------------------------------------------------ several processes


@pytest.fixture
def alone(monkeypatch) -> None:
    """As where nobody has started several processes."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: False)


def test_processes_started_here(alone, monkeypatch):
    check_processes(2, 1)
    with pytest.raises(ConfigError, match="training.devices=2 does not go with --multirun"):
        check_processes(2, 1, one_of_several=True)
    with pytest.raises(ConfigError, match="num_nodes=2 but MASTER_ADDR, MASTER_PORT, NODE_RANK not set: start it thr"):
        check_processes(1, 2)
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    check_processes(1, 2)
    monkeypatch.setenv("MASTER_ADDR", "no-such-machine.invalid")
    with pytest.raises(ConfigError, match="MASTER_ADDR=no-such-machine.invalid is no machine that can be found"):
        check_processes(1, 2)
    check_processes(1, 1)  # what is left over from elsewhere does not matter


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_processes_started_by_a_launcher(alone, monkeypatch, launcher):
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: launcher == "torchrun")
    monkeypatch.setenv("WORLD_SIZE" if launcher == "torchrun" else "SLURM_STEP_NUM_TASKS", "4")
    for devices, num_nodes in ((4, 1), (2, 2), (1, 4)):
        check_processes(devices, num_nodes)
    check_processes(4, 1, one_of_several=True)  # each run of a multirun in processes of its own
    with pytest.raises(ConfigError, match=f"{launcher} started 4 processes but training.devices=1 and .* make 1"):
        check_processes(1, 1)


def test_a_job_with_several_tasks_may_run_one_process(alone, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")  # no step of srun: one process, eight cores
    check_processes(1, 1)
