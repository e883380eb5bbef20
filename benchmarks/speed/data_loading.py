"""Batches of cached pictures, converted to float: how many a second, against what a training step takes."""

from __future__ import annotations

import torch

from src.training.autoencoder import as_images
from src.training.batches import BatchOrder, batches
from src.training.checkpoint import AUTOENCODER

from .hardware import MemoryCopy
from .measurement import Measurement, measure
from .timing import CPU
from .train_step import step_of


def measure_loading(
    rounds: int,
    device: torch.device = CPU,
    num_workers: int = 0,
    num_images: int = 10_000,
    batch_size: int = 16,
    side: int = 64,
    calls: int = 50,
    settings: tuple[str, ...] = (),
) -> Measurement:
    """Batches of uint8 pictures → float images, `calls` of them a measured call; the peer is a training step.

    The share is that of the bytes that must be read (uint8) and written (float32) at the speed of a copy.
    """
    rows = torch.randint(256, (num_images, 3, side, side), dtype=torch.uint8)
    source = batches(rows, BatchOrder(num_images, batch_size, seed=0), num_workers, device.type == "cuda")
    step, images = step_of(AUTOENCODER, device, settings)

    def load() -> None:
        for _ in range(calls):
            as_images(next(source), device)

    return measure(
        load,
        rounds,
        peer=step,
        images=calls * batch_size,
        peer_images=images,
        hardware=MemoryCopy(device=device),
        device=device,
        work=calls * batch_size * 3 * side**2 * (1 + 4),
    )
