"""SysBinder's bottleneck (Singh, Kim, Ahn 2023): blocks read from learned prototypes by attention, not by code."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_codes, require_divisible, require_positive, require_slots
from .vector_quantizer import Quantized


class PrototypeMemory(nn.Module):
    """Replaces every block of a slot by an attention-weighted mean of its block's K prototypes.

    The prototypes of all blocks pass one shared MLP (C → 4C → 4C → 4C → C) and a LayerNorm without parameters, as the
    queries do. It stands where a `SemanticVectorQuantizer` can stand; the "code" of a block is the prototype that it
    attends to most.

    Args:
        num_slots: N.
        slot_dim: D; M must divide it.
        num_blocks: M, blocks a slot.
        num_prototypes: K, prototypes a block.
    """

    def __init__(self, num_slots: int, slot_dim: int, num_blocks: int, num_prototypes: int) -> None:
        super().__init__()
        require_positive(num_slots=num_slots, slot_dim=slot_dim, num_blocks=num_blocks, num_prototypes=num_prototypes)
        require_divisible("slot_dim", slot_dim, "num_blocks", num_blocks)
        self.num_slots, self.slot_dim = num_slots, slot_dim
        self.num_codebooks, self.codebook_size = num_blocks, num_prototypes
        width = slot_dim // num_blocks  # C
        self.prototypes = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_blocks, num_prototypes, width)))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, width),
        )

    def memory(self) -> Tensor:
        """What blocks read: (M, K, C)."""
        prototypes = self.mlp(self.prototypes)
        return F.layer_norm(prototypes, prototypes.shape[-1:])

    def forward(self, slots: Tensor) -> Quantized:
        """`slots` (B, N, D) → what they read, the prototypes they attend to most (B, N, M), and no commitment."""
        require_slots(slots, self.num_slots, self.slot_dim)
        with torch.autocast(slots.device.type, enabled=False):  # as where codes are looked up
            memory = self.memory()
            blocks = slots.float().unflatten(-1, (self.num_codebooks, -1)).transpose(1, 2)  # (B, M, N, C)
            query = F.layer_norm(blocks, blocks.shape[-1:]) * blocks.shape[-1] ** -0.5
            attention = torch.softmax(query @ memory.mT, dim=-1)  # (B, M, N, K)
            read = (attention @ memory).transpose(1, 2).flatten(2)
        return Quantized(read, attention.argmax(dim=-1).transpose(1, 2), slots.new_zeros(()))

    def embed(self, codes: Tensor) -> Tensor:
        """The slots (B, N, D) that read one prototype a block and nothing else, `codes` (B, N, M)."""
        require_codes(codes, self.num_slots, self.num_codebooks, self.codebook_size)
        blocks = torch.arange(self.num_codebooks, device=codes.device)
        with torch.autocast(codes.device.type, enabled=False):
            return self.memory()[blocks, codes].flatten(-2)
