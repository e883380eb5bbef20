"""Slot attention against the `slot-attention` package: forward and backward pass of what is published."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from src.models.slot_attention import SlotAttention

from ..peers import peer_slot_attention
from .measurement import Measurement, measure
from .timing import CPU


def measure_slot_attention(
    rounds: int,
    device: torch.device = CPU,
    batch: int = 16,
    length: int = 4096,
    width: int = 64,
    num_slots: int = 7,
    num_iterations: int = 3,
) -> Measurement:
    """Float32, one block, without salience and inhibition, gradients of all weights and of the inputs.

    Raises:
        AssertionError: the two found different slots or gradients.
    """
    torch.manual_seed(0)
    attention = SlotAttention(
        num_slots, width, width, num_iterations, salience=False, inhibition=0.0, implicit=False, slot_init="random"
    ).to(device)
    peer = peer_slot_attention(attention).to(device)
    inputs = torch.randn(batch, length, width, device=device, requires_grad=True)
    weights = torch.randn(batch, num_slots, width, device=device)

    def forward_and_backward(module: nn.Module, find_slots: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Slots and the gradient of the inputs; those of the module's weights are computed, too."""
        inputs.grad = None
        module.zero_grad(set_to_none=True)
        slots = find_slots()
        slots.backward(weights)
        assert inputs.grad is not None
        return slots.detach(), inputs.grad

    def ours() -> tuple[Tensor, Tensor]:
        return forward_and_backward(attention, lambda: attention(inputs).slots)

    def theirs() -> tuple[Tensor, Tensor]:
        return forward_and_backward(peer, lambda: peer(inputs))

    results = []
    for call in (ours, theirs):
        torch.manual_seed(1)
        results.append(call())
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
    return measure(ours, rounds, peer=theirs, device=device)
