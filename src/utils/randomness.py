"""Random numbers of one's own, without a trace in anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Draws inside come from `seed`; the caller's go on afterwards as if there had been none.

    Args:
        seed: of PyTorch's global generators; those of Python and NumPy are left alone.
        device: where the draws are made, beside the CPU.
    """
    cuda = [device] if device.type == "cuda" else []
    # Seeding reaches Apple's generator whatever `device` is, and fork_rng keeps the state of one kind of device only.
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            yield
    finally:
        if mps is not None:
            torch.mps.set_rng_state(mps)
