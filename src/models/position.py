"""Where a pixel or patch is: coordinate grids and their Fourier features."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pixel_centres(size: int) -> Tensor:
    """Centres (size,) of `size` equal cells that divide [-1, 1]."""
    return (torch.arange(size) + 0.5) * (2 / size) - 1


def coordinate_grid(height: int, width: int) -> Tensor:
    """Centres of the cells of a `height` × `width` grid.

    Returns a tensor (height · width, 2) of (x, y) in [-1, 1], x to the right and y downwards, row by row.
    """
    y, x = torch.meshgrid(pixel_centres(height), pixel_centres(width), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def fourier_features(coordinates: Tensor, num_frequencies: int) -> Tensor:
    """Sines and cosines of each coordinate at `num_frequencies` octave-spaced frequencies (π/2, π, 2π, …).

    The lowest frequency covers the image with half a period, so that every position is told from every other.
    `coordinates` (..., 2) in [-1, 1] → (..., 4 · num_frequencies) in [-1, 1].
    """
    frequencies = 2.0 ** torch.arange(num_frequencies, device=coordinates.device) * (math.pi / 2)
    angles = (coordinates.unsqueeze(-1) * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
