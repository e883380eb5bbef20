"""Which precision to compute in, and on which device.

bf16 means autocast: weights, sums, the quantizer and the losses stay float32; matrix products and
convolutions run in bf16. Where the hardware multiplies bf16 matrices itself this is several times faster;
elsewhere it is emulated and slower, which is why `auto` looks first.
"""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "bf16", "float32")


def resolve_device(name: str = "auto") -> str:
    """`auto` → the best device of this machine ("cuda", "mps", "cpu"); another name → itself, if it is there.

    Raises:
        ValueError: an unknown name, or a device that this machine or this build of PyTorch lacks.
    """
    if name not in DEVICES:
        raise ValueError(f"device={name} is unknown; choose one of: {', '.join(DEVICES)}")
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in has.items() if there)
    if not has[name]:
        build = f"PyTorch {torch.__version__}"
        raise ValueError(f"device={name} is not available here ({build}); use device=cpu or device=auto")
    return name


def require_device(device: str | torch.device) -> torch.device:
    """The device of that name, such as "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ValueError: an unknown name, or a device that this machine or this build of PyTorch lacks.
    """
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is unknown; use such as cpu, cuda, cuda:0 or mps") from error
    try:  # PyTorch says no in three ways: build without it, backend without it, no such index
        torch.empty(0, device=place)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"device={device} is not available here (PyTorch {torch.__version__}); use device=cpu"
        ) from error
    return place


def resolve_precision(name: str, device: str) -> str:
    """`auto` → "bf16" where `device` ("cpu", "cuda", "mps") computes it in hardware, else "float32".

    Raises:
        ValueError: an unknown name.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision={name} is unknown; choose one of: {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    return "bf16" if has_bf16(device) else "float32"


def has_bf16(device: str) -> bool:
    """Whether `device` multiplies bf16 in hardware: CUDA from Ampere on, a CPU with AMX or AVX512-BF16."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return torch.backends.mkldnn.is_available() and _cpu_has_bf16()
    return False  # mps: autocast to bf16 exists, but not on all systems and not faster on all chips


def autocast(precision: str, device: str) -> AbstractContextManager:
    """The context to compute in; `precision` is "bf16" or "float32"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def _cpu_has_bf16() -> bool:
    """Asks PyTorch, or, where this version does not say, the kernel."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    asked = False
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, name, None)
        asked |= supported is not None
        if supported is not None and supported():
            return True
    if asked or not Path("/proc/cpuinfo").exists():
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    return "amx_bf16" in flags or "avx512_bf16" in flags
