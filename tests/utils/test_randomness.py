from __future__ import annotations

import pytest
import torch

from src.utils.randomness import own_randomness

CPU = torch.device("cpu")


def test_draws_are_the_same_every_time_and_leave_the_callers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with own_randomness(7, CPU):
        first = torch.rand(1)
    with own_randomness(7, CPU):
        assert torch.equal(torch.rand(1), first)
    assert torch.equal(torch.rand(2), expected)


def test_an_error_inside_puts_the_generator_back_too():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(KeyError), own_randomness(7, CPU):
        raise KeyError("x")
    assert torch.equal(torch.rand(2), expected)


def test_the_generator_of_mps_is_put_back(monkeypatch):
    restored = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7]))
    monkeypatch.setattr(torch.mps, "set_rng_state", restored.append)
    with own_randomness(0, CPU):
        assert restored == []
    assert restored == [torch.tensor([7])]
