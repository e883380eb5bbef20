"""The quantizer against `vector-quantize-pytorch`: forward pass and moving averages."""

from __future__ import annotations

import torch

from src.models.vector_quantizer import SemanticVectorQuantizer

from ..peers import peer_quantizer
from .measurement import Measurement, measure
from .timing import CPU


def measure_quantizer(
    rounds: int,
    device: torch.device = CPU,
    batch: int = 40,
    num_slots: int = 4,
    num_codebooks: int = 16,
    codebook_size: int = 64,
    width: int = 128,
) -> Measurement:
    """Float32, in training, with inputs that want a gradient; neither revives codes.

    Raises:
        RuntimeError: the two chose different codes.
    """
    torch.manual_seed(0)
    quantizer = SemanticVectorQuantizer(
        num_slots, num_codebooks * width, num_codebooks, codebook_size, width, revive_below=0.0
    ).to(device)
    shape = (batch, num_slots, num_codebooks * width)
    while quantizer.num_filled < codebook_size:
        quantizer(torch.randn(shape, device=device))
    peer = peer_quantizer(quantizer).to(device)
    slots = torch.randn(shape, device=device, requires_grad=True)
    for _ in range(3):  # the second and third time with the codes that both have learned
        chosen, expected = quantizer(slots).codes, peer(slots)[1]
        if not torch.equal(chosen, expected):
            different = (chosen != expected).float().mean().item()
            raise RuntimeError(f"{different:.2%} of the codes differ, so the times mean nothing")
    return measure(lambda: quantizer(slots), rounds, peer=lambda: peer(slots), device=device)
