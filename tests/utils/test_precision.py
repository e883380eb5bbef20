from __future__ import annotations

import pytest
import torch

from src.utils import precision
from src.utils.precision import autocast, has_bf16, require_device, resolve_device, resolve_precision


def test_auto_precision_follows_the_hardware(monkeypatch):
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: True)
    assert resolve_precision("auto", "cpu") == "bf16"
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: False)
    assert resolve_precision("auto", "cpu") == "float32"
    assert resolve_precision("bf16", "cpu") == "bf16"
    assert resolve_precision("float32", "cuda") == "float32"
    assert isinstance(has_bf16("cpu"), bool)


def test_auto_device_prefers_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ValueError, match="device=cuda is not available here .*; use device=cpu or device=auto"):
        resolve_device("cuda")


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match="device=gpu is unknown; choose one of: auto, cpu, cuda, mps"):
        resolve_device("gpu")
    with pytest.raises(ValueError, match="precision=half is unknown; choose one of: auto, bf16, float32"):
        resolve_precision("half", "cpu")


def test_bf16_means_autocast_and_float32_none():
    x = torch.ones(4, 4)
    with autocast("bf16", "cpu"):
        assert (x @ x).dtype == torch.bfloat16
    with autocast("float32", "cpu"):
        assert (x @ x).dtype == torch.float32


def test_a_device_by_its_name():
    assert require_device("cpu") == require_device(torch.device("cpu")) == torch.device("cpu")
    for unknown in ("gpu", "", None):
        with pytest.raises(ValueError, match="is unknown; use such as cpu, cuda, cuda:0 or mps"):
            require_device(unknown)
    if not torch.backends.mps.is_available():
        with pytest.raises(ValueError, match="^device=mps is not available here .*; use device=cpu$"):
            require_device("mps")
