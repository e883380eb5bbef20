"""How similar two pictures look: SSIM, by torchmetrics where it is installed."""

from __future__ import annotations

import torch
from torch import Tensor


def ssim(predicted: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each pair (Wang et al. 2004): Gaussian window of 11 pixels, σ 1.5, mean over channels.

    Args:
        predicted, target: (B, 3, H, W) float32 in [0, 1], H and W at least 6.

    Returns:
        (B,) float32: 1 for the same picture; NaN where torchmetrics is not installed (`has_ssim`).
    """
    if not has_ssim():
        return torch.full((len(predicted),), torch.nan)
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(predicted, target, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity.reshape(-1)  # of one pair it is a scalar


def has_ssim() -> bool:
    """Whether torchmetrics is there."""
    try:
        import torchmetrics  # noqa: F401
    except ImportError:
        return False
    return True
