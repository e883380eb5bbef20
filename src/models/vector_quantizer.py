"""Slots ↔ codes: one codebook for each block, shared by all slots (section 3.1, "Semantic Vector Quantization")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.distributed import gather_rows, own_rows, same_everywhere, world_size
from .block_layers import BlockLinear
from .checks import require_codes, require_divisible, require_positive, require_share, require_slots, require_weight
from .merging import ward


class Quantized(NamedTuple):
    """What the quantizer makes of slots."""

    slots: Tensor  # (B, N, D) float32, each block replaced by its code; gradients pass straight through
    codes: Tensor  # (B, N, M) int64 in [0, K)
    commitment: Tensor  # scalar, raw: mean squared distance from blocks to their codes, not yet weighted


class SemanticVectorQuantizer(nn.Module):
    """Splits every slot into M blocks and replaces each block by the nearest of the K codes of its own codebook.

    The codebooks learn by exponential moving averages of the blocks assigned to each code (van den Oord et al. 2017,
    appendix A.1), not by gradients. They are filled with the first blocks seen in training, over several batches if
    one is smaller than a codebook. A code used less than `revive_below` times its fair share (1/K of the blocks) is
    moved onto a random current block, together with its moving averages, so that it starts afresh. Several processes
    learn the same codebooks, from the blocks of all of them.

    Args:
        num_slots: N, slots an image. Checked against the input.
        slot_dim: D, width of a slot; M must divide it.
        num_codebooks: M, blocks a slot.
        codebook_size: K, codes a codebook.
        code_dim: C, width of a code; where it is not D / M, a linear map a block leads there and another one back.
        commitment_cost: default weight of the commitment loss, for whoever adds it up; never applied here.
        decay: decay of the moving averages, a training step.
        revive_below: share of the fair use under which a code counts as dead, in [0, 1).
    """

    codebook: Tensor
    ema_count: Tensor
    ema_sum: Tensor
    num_filled: Tensor

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        num_codebooks: int,
        codebook_size: int,
        code_dim: int,
        commitment_cost: float = 0.25,
        decay: float = 0.99,
        revive_below: float = 0.05,
    ) -> None:
        super().__init__()
        require_positive(
            num_slots=num_slots,
            slot_dim=slot_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
            code_dim=code_dim,
        )
        require_divisible("slot_dim", slot_dim, "num_codebooks", num_codebooks)
        require_share(decay=decay, revive_below=revive_below)
        require_weight(commitment_cost=commitment_cost)
        self.num_slots, self.slot_dim = num_slots, slot_dim
        self.num_codebooks, self.codebook_size, self.code_dim = num_codebooks, codebook_size, code_dim
        self.commitment_cost, self.decay, self.revive_below = commitment_cost, decay, revive_below
        # How far training moves a block towards its code, in [0, 1]. Raised from 0 to 1 early in training, it lets
        # slots become useful before they have to pass through codes; in eval mode blocks always become codes.
        self.strength = 1.0
        # Share of the scenes whose slots training lets pass as they are, while their codes are learned all the same:
        # through these, encoder and decoder learn details finer than the codes are yet (Défossez et al. 2024).
        self.bypass = 0.0

        block_dim = slot_dim // num_codebooks
        projected = block_dim != code_dim
        self.to_code = BlockLinear(num_codebooks, block_dim, code_dim) if projected else nn.Identity()
        self.from_code = BlockLinear(num_codebooks, code_dim, block_dim) if projected else nn.Identity()
        # Random codes serve only a model that was never trained; training data take their place.
        self.register_buffer("codebook", torch.randn(num_codebooks, codebook_size, code_dim))  # (M, K, C)
        self.register_buffer("ema_count", torch.zeros(num_codebooks, codebook_size))
        self.register_buffer("ema_sum", torch.zeros(num_codebooks, codebook_size, code_dim))
        self.register_buffer("num_filled", torch.zeros((), dtype=torch.int64))  # codes that hold data, in each book

    def forward(self, slots: Tensor) -> Quantized:
        """Quantizes `slots` (B, N, D). In training mode the codebooks then learn from them; in eval mode they don't."""
        require_slots(slots, self.num_slots, self.slot_dim)
        with torch.autocast(slots.device.type, enabled=False):  # distances and sums need float32
            blocks = self.to_code(slots.float().unflatten(-1, (self.num_codebooks, -1)))  # (B, N, M, C)
            flat = _by_book(blocks.detach())  # (M, B·N, C)
            seen, filled = flat, self.codebook_size
            if self.training:
                seen = _by_book(gather_rows(blocks.detach()))  # by all processes
                filled = self._fill(seen)
            codes = self._nearest(flat).T.reshape(blocks.shape[:-1])
            to_nearest = self._lookup(codes).sub_(blocks)
            commitment = to_nearest.square().mean()
            share = blocks.new_ones(())  # of the way to its code that each block goes
            if self.training:
                self._learn(seen, gather_rows(codes), filled)
                draws = torch.rand(len(blocks) * world_size(), 1, 1, 1, device=blocks.device)
                share = self.strength * (own_rows(draws) >= self.bypass)
            quantized = self.from_code(torch.addcmul(blocks, to_nearest.detach(), share))  # straight-through estimator
        return Quantized(quantized.flatten(-2), codes, commitment)

    def embed(self, codes: Tensor) -> Tensor:
        """The slots (B, N, D) that `codes` (B, N, M) stand for, as float32: the second half of `forward`."""
        require_codes(codes, self.num_slots, self.num_codebooks, self.codebook_size)
        with torch.autocast(self.codebook.device.type, enabled=False):
            return self.from_code(self._lookup(codes)).flatten(-2)

    @torch.no_grad()
    def merge(self, codebook_size: int) -> None:
        """Merges codes that are alike until each codebook has `codebook_size` of them, which are numbered anew.

        By Ward's method (1963): each time the two codes become one, their mean, whose union adds least to the squared
        distances of blocks to codes; blocks use codes as they did of late.

        Raises:
            TypeError, ValueError: not a whole number in 1..K.
        """
        require_positive(codebook_size=codebook_size)
        if codebook_size > self.codebook_size:
            raise ValueError(
                f"codebook_size={codebook_size} is more than the {self.codebook_size} codes that there are"
            )
        filled = int(self.num_filled) or self.codebook_size  # a model that was never trained has random ones
        count, codebook = self.ema_count[:, :codebook_size].clone(), self.codebook[:, :codebook_size].clone()
        for book in range(self.num_codebooks if filled > codebook_size else 0):
            used, codes = self.ema_count[book, :filled], self.codebook[book, :filled]
            count[book], codebook[book] = ward(used.cpu(), codes.cpu(), codebook_size)  # many small steps in float64
        self.ema_count, self.codebook, self.ema_sum = count, codebook, codebook * count.unsqueeze(-1)
        self.codebook_size = codebook_size
        self.num_filled.clamp_(max=codebook_size)

    def _rows(self, codes: Tensor) -> Tensor:
        """Where `codes` (..., M) stand when all codebooks are written below each other: in [0, M·K). Whole rows of one
        matrix are read and added to several times faster than entries along a dimension of three."""
        return codes + self.codebook_size * torch.arange(self.num_codebooks, device=codes.device)

    def _lookup(self, codes: Tensor) -> Tensor:
        """(..., M) → (..., M, C)."""
        return F.embedding(self._rows(codes), self.codebook.flatten(0, 1))

    def _nearest(self, flat: Tensor) -> Tensor:
        """Index of the code nearest to each block, (M, T, C) → (M, T). |x|² is the same for all codes: left out."""
        half_norms = self.codebook.square().sum(-1, keepdim=True).mul(0.5)  # (M, K, 1)
        # A code that holds no data yet is not to be chosen. Written without a branch, for graphs to have it.
        place = torch.arange(self.codebook_size, device=flat.device).unsqueeze(-1)  # (K, 1)
        half_norms = half_norms.masked_fill((self.num_filled > 0) & (place >= self.num_filled), torch.inf)
        return torch.baddbmm(half_norms, self.codebook, flat.mT, alpha=-1).min(dim=1).indices

    @torch.no_grad()
    def _fill(self, flat: Tensor) -> int:
        """Copies current blocks into codes that hold none yet; how many codes of a codebook hold data then."""
        filled = int(self.num_filled)  # which a GPU is halted for: once a step is enough
        count = min(self.codebook_size - filled, flat.shape[1])
        if count == 0:
            return filled
        fair_use = flat.shape[1] / self.codebook_size
        new = slice(filled, filled + count)
        self.codebook[:, new] = self._random_blocks(flat, count)
        self.ema_sum[:, new] = self.codebook[:, new] * fair_use
        self.ema_count[:, new] = fair_use
        self.num_filled += count
        return filled + count

    @torch.no_grad()
    def _learn(self, flat: Tensor, codes: Tensor, filled: int) -> None:
        """One step of the moving averages, then the revival of dead codes. `flat` (M, B·N, C), `codes` (B, N, M);
        `filled` codes of a codebook hold data."""
        rows = self._rows(codes).flatten()
        count, total = torch.zeros_like(self.ema_count), torch.zeros_like(self.ema_sum)
        count.view(-1).index_add_(0, rows, torch.ones_like(rows, dtype=torch.float32))
        total.flatten(0, 1).index_add_(0, rows, flat.transpose(0, 1).flatten(0, 1))
        self.ema_count.lerp_(count, 1 - self.decay)
        self.ema_sum.lerp_(total, 1 - self.decay)
        # Laplace smoothing keeps a code that lost all its blocks finite.
        blocks_a_step = self.ema_count.sum(-1, keepdim=True)
        smoothed = (self.ema_count + 1e-5) / (blocks_a_step + self.codebook_size * 1e-5) * blocks_a_step
        self.codebook[:, :filled] = (self.ema_sum / smoothed.unsqueeze(-1))[:, :filled]
        if self.revive_below and filled == self.codebook_size:
            fair_use = blocks_a_step / self.codebook_size
            dead = (self.ema_count < self.revive_below * fair_use).unsqueeze(-1)
            reborn = self._random_blocks(flat, self.codebook_size)
            self.codebook.copy_(torch.where(dead, reborn, self.codebook))
            self.ema_sum.copy_(torch.where(dead, reborn * fair_use.unsqueeze(-1), self.ema_sum))
            self.ema_count.copy_(torch.where(dead.squeeze(-1), fair_use, self.ema_count))

    def _random_blocks(self, flat: Tensor, count: int) -> Tensor:
        """`count` current blocks of each codebook, (M, count, C)."""
        if count <= flat.shape[1]:
            chosen = torch.randperm(flat.shape[1], device=flat.device)[:count]
        else:
            chosen = torch.randint(flat.shape[1], (count,), device=flat.device)
        return flat[:, same_everywhere(chosen)]

    def extra_repr(self) -> str:
        return f"M={self.num_codebooks}, K={self.codebook_size}, C={self.code_dim}, D={self.slot_dim}"


def _by_book(values: Tensor) -> Tensor:
    """(B, N, M, ...) → (M, B·N, ...)."""
    return values.flatten(0, 1).transpose(0, 1)
