"""Many points, and how often each was used → fewer points."""

from __future__ import annotations

import torch
from torch import Tensor


def ward(weights: Tensor, points: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Ward's method (1963): each time the two of `points` (K, C) with `weights` (K,) become their mean whose union adds
    least to the weighted squared distances to means; (number,) and (number, C) of the `number` ≤ K left."""
    weights, points = weights.double(), points.double()  # sums of very many
    left = torch.ones_like(weights, dtype=torch.bool)
    added = (
        weights[:, None] * weights / (weights[:, None] + weights).clamp(min=1e-30) * torch.cdist(points, points) ** 2
    )
    added.fill_diagonal_(torch.inf)
    for _ in range(len(points) - number):
        one, other = divmod(int(added.argmin()), len(points))
        total = weights[one] + weights[other]
        share = weights[other] / total if total else 0.5
        points[one] = points[one].lerp(points[other], share)
        weights[one], left[other] = total, False
        added[other], added[:, other] = torch.inf, torch.inf
        union = weights * total / (weights + total).clamp(min=1e-30) * (points - points[one]).square().sum(-1)
        added[one] = added[:, one] = union.masked_fill(~left, torch.inf)
        added[one, one] = torch.inf
    return weights[left].float(), points[left].float()
