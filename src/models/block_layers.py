"""Layers that keep the M blocks of a slot apart: M small maps instead of one large one.

The paper's slots are M concatenated blocks (section 3.1), and whatever updates a slot may not mix them, or a block
could not come to stand for one property. Each layer here holds M independent weights and computes them in one
batched product; the official code masks a dense layer instead, at M times the work.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BlockLinear(nn.Module):
    """M independent affine maps, (..., M, in_features) → (..., M, out_features)."""

    def __init__(self, num_blocks: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)  # as nn.Linear
        self.weight = nn.Parameter(torch.empty(num_blocks, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_blocks, out_features).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        per_block = x.flatten(0, -3).transpose(0, 1)  # (M, T, in)
        out = torch.baddbmm(self.bias.unsqueeze(1), per_block, self.weight)  # (M, T, out)
        return out.transpose(0, 1).reshape(*x.shape[:-1], -1)


class BlockGRUCell(nn.Module):
    """M independent GRU cells (gates and equations of `nn.GRUCell`), one for each block of a slot."""

    def __init__(self, num_blocks: int, block_dim: int) -> None:
        super().__init__()
        self.from_input = BlockLinear(num_blocks, block_dim, 3 * block_dim)
        self.from_state = BlockLinear(num_blocks, block_dim, 3 * block_dim)

    def forward(self, update: Tensor, state: Tensor) -> Tensor:
        """`update` and `state` (..., M, block_dim) → the next state, of the same shape."""
        reset_in, keep_in, new_in = self.from_input(update).chunk(3, dim=-1)
        reset_state, keep_state, new_state = self.from_state(state).chunk(3, dim=-1)
        reset = torch.sigmoid(reset_in + reset_state)
        keep = torch.sigmoid(keep_in + keep_state)
        new = torch.tanh(new_in + reset * new_state)
        return torch.lerp(new, state, keep)


class BlockMLP(nn.Module):
    """M independent residual perceptrons: x + W₂ ReLU(W₁ LayerNorm(x)), normalised within each block."""

    def __init__(self, num_blocks: int, block_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden = BlockLinear(num_blocks, block_dim, hidden_dim)
        self.out = BlockLinear(num_blocks, hidden_dim, block_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., M, block_dim) → the same shape."""
        return x + self.out(F.relu(self.hidden(F.layer_norm(x, x.shape[-1:]))))
