"""How codebooks are used. Legend: B scenes, N slots, M codebooks, K codes a codebook."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Usage(NamedTuple):
    """How much of each codebook is in use, float64."""

    perplexity: Tensor  # (M,) in [1, K]: the number of codes that, used equally often, would be as hard to foretell
    share: Tensor  # (M,) in [0, 1]: codes used at least once


def count_codes(codes: Tensor, codebook_size: int) -> Tensor:
    """How often each code occurs in `codes` (B, N, M) of integers in [0, codebook_size): int64 (M, K).

    Raises:
        RuntimeError: a negative code, or one that is too large.
    """
    blocks = codes.flatten(0, 1).T  # (M, B·N)
    return torch.stack([torch.bincount(block, minlength=codebook_size) for block in blocks])


def usage(counts: Tensor) -> Usage:
    """Perplexity and share used of `counts` (M, K) >= 0; a codebook without any count has perplexity 1."""
    total = counts.sum(-1, keepdim=True)
    shares = counts.double() / total.masked_fill(total == 0, 1)
    return Usage(torch.exp(torch.special.entr(shares).sum(-1)), (counts > 0).double().mean(-1))
