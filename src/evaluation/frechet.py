"""How far two sets of feature vectors are from each other, each taken for a Gaussian.

Legend: A, B vectors, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """The squared Fréchet distance of the Gaussians with the moments of `first` (A, F) and `second` (B, F).

    |m₁ − m₂|² + tr(S₁ + S₂ − 2 (S₁ S₂)^½), with the unbiased covariances S, in float64 (Dowson & Landau 1982; of the
    features of Inception, Heusel et al. 2017). The last trace is that of (S₁^½ S₂ S₁^½)^½, whose eigenvalues are real.

    Raises:
        ValueError: vectors of different lengths, or too few of them (`enough_for_covariance`).
    """
    shapes = tuple(first.shape), tuple(second.shape)
    if first.dim() != 2 or second.dim() != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"features had shapes {shapes[0]} and {shapes[1]} but expected (A, F) and (B, F)")
    fewest = min(len(first), len(second))
    if not enough_for_covariance(fewest, first.shape[1]):
        raise ValueError(f"{fewest} vectors are too few for the covariance of {first.shape[1]} features; use more")
    (mean_1, covariance_1), (mean_2, covariance_2) = _moments(first), _moments(second)
    values, axes = torch.linalg.eigh(covariance_1)
    root = (axes * values.clamp(min=0).sqrt()) @ axes.T
    shared = torch.linalg.eigvalsh(root @ covariance_2 @ root).clamp(min=0).sqrt().sum()
    distance = (mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * shared
    return max(0.0, float(distance))


def enough_for_covariance(vectors: int, features: int) -> bool:
    """Whether so many vectors can have a covariance of full rank: there is one more than features at least."""
    return vectors > features


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    values = features.detach().cpu().double()
    return values.mean(dim=0), torch.cov(values.T).reshape(values.shape[1], values.shape[1])
