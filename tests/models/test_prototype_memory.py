from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.models.prototype_memory import PrototypeMemory


def normed(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()


@torch.no_grad()
def test_a_block_is_the_attention_weighted_mean_of_its_own_prototypes() -> None:
    torch.manual_seed(0)
    memory, slots = PrototypeMemory(3, 20, num_blocks=5, num_prototypes=7), torch.randn(2, 3, 20)
    out = memory(slots)
    for block in range(5):
        prototypes = normed(memory.mlp(memory.prototypes[block]))  # (K, C)
        for scene in range(2):
            for slot in range(3):
                query = normed(slots[scene, slot, 4 * block : 4 * block + 4])
                weights = torch.softmax(prototypes @ query / 4**0.5, dim=0)
                read = out.slots[scene, slot, 4 * block : 4 * block + 4]
                assert torch.allclose(read, weights @ prototypes, atol=1e-5)
                assert out.codes[scene, slot, block] == weights.argmax()
    assert out.commitment == 0


def test_prototypes_learn_and_blocks_stay_apart() -> None:
    torch.manual_seed(0)
    memory, slots = PrototypeMemory(2, 8, 2, 5), torch.randn(1, 2, 8, requires_grad=True)
    memory(slots).slots[0, 0, :4].square().sum().backward()
    assert memory.prototypes.grad is not None and slots.grad is not None
    assert memory.prototypes.grad[0].abs().sum() > 0 and memory.prototypes.grad[1].abs().sum() == 0
    assert slots.grad[0, 0, :4].abs().sum() > 0 and slots.grad[0, 0, 4:].abs().sum() == 0


@torch.no_grad()
def test_codes_stand_for_one_prototype_a_block() -> None:
    memory = PrototypeMemory(2, 8, 2, 5)
    codes = torch.tensor([[[0, 4], [3, 1]]])
    read = memory.embed(codes)
    assert torch.equal(read[0, 1], torch.cat([memory.memory()[0, 3], memory.memory()[1, 1]]))


@torch.no_grad()
def test_it_computes_in_float32_under_autocast_as_the_quantizer_does() -> None:
    torch.manual_seed(0)
    memory, slots = PrototypeMemory(3, 20, 5, 7), torch.randn(2, 3, 20)
    exact = memory(slots)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(memory(slots).slots, exact.slots)
        assert torch.equal(memory.embed(exact.codes), memory.embed(exact.codes).float())


def test_what_does_not_fit_is_refused() -> None:
    memory = PrototypeMemory(2, 8, 2, 5)
    with pytest.raises(ValueError, match=r"slots had shape \(1, 3, 8\) but expected \(B, 2, 8\)"):
        memory(torch.randn(1, 3, 8))
    with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\), got \[5, 5\]"):
        memory.embed(torch.full((1, 2, 2), 5))
