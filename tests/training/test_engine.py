from __future__ import annotations

import pytest
import torch

from src.configs.errors import ConfigError
from src.training.engine import make_fabric, reproducible

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


@pytest.mark.parametrize(("precision", "said"), [("bf16", "bf16-mixed"), ("float32", "32-true")])
def test_precision_reaches_the_engine(precision, said):
    fabric = make_fabric(tiny_config(f"precision={precision}"))
    assert fabric._precision.precision == said and fabric.device.type == "cpu"


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device=cuda is not available here"):
        make_fabric(tiny_config("device=cuda"))
