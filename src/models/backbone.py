"""Image → features: the convolutions, positions and MLP in front of slot attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_choice, require_image, require_multiple, require_positive
from .position import coordinate_grid, fourier_features

BACKBONES = ("small", "paper")
PAPER_STRIDES = {64: (1, 1, 1, 1), 128: (2, 1, 1, 1), 256: (2, 2, 1, 1)}  # by image size; the grid is always 64×64


class Backbone(nn.Module):
    """Four 5×5 convolutions, a position embedding, LayerNorm and an MLP: a grid of features.

    Args:
        kind: "small" has a grid of a quarter of the image's side, Fourier features of the positions and a residual
            MLP of twice the width. "paper" has the grid of the paper's model, 64×64, a linear map of
            (x, y, 1 − x, 1 − y), no ReLU after the last convolution and no residual.
        image_size: H = W, pixels; divisible by 4 ("small"), or 64, 128 or 256 ("paper").
        in_channels: image channels.
        hidden_dim: width of the convolutions.
        feature_dim: width of the features.

    Raises:
        ValueError: a size that `kind` does not have.
    """

    position: Tensor

    def __init__(self, kind: str, image_size: int, in_channels: int, hidden_dim: int, feature_dim: int) -> None:
        super().__init__()
        require_choice("backbone", kind, BACKBONES)
        require_positive(image_size=image_size, in_channels=in_channels, hidden_dim=hidden_dim, feature_dim=feature_dim)
        small = kind == "small"
        if small:
            require_multiple("image_size", image_size, 4)
        elif image_size not in PAPER_STRIDES:
            sizes = ", ".join(map(str, PAPER_STRIDES))
            raise ValueError(f"image_size={image_size} is none of {sizes}, the sizes of backbone='paper': choose one")
        strides = (2, 2, 1, 1) if small else PAPER_STRIDES[image_size]
        self.image_size, self.in_channels, self.small = image_size, in_channels, small
        self.grid_size = image_size // math.prod(strides)
        widths = [in_channels, hidden_dim, hidden_dim, hidden_dim, feature_dim]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(into, out, 5, stride=stride, padding=2)
            for into, out, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        grid = coordinate_grid(self.grid_size, self.grid_size)
        if small:
            position = fourier_features(grid, 4)
        else:
            from_corner = (grid + 1) / 2  # (x, y) in [0, 1]
            position = torch.cat([from_corner, 1 - from_corner], dim=-1)
        self.register_buffer("position", position, persistent=False)
        self.embed_position = nn.Linear(position.shape[-1], feature_dim)
        mlp_dim = 2 * feature_dim if small else feature_dim
        self.features = nn.Sequential(
            nn.LayerNorm(feature_dim),
            nn.Linear(feature_dim, mlp_dim),
            nn.ReLU(),
            nn.Linear(mlp_dim, feature_dim),
        )
        if not small:
            self._start_as_published()

    def forward(self, image: Tensor) -> Tensor:
        """`image` (B, in_channels, H, W) in [0, 1] → features (B, h·w, feature_dim)."""
        require_image(image, self.in_channels, self.image_size)
        x = image.contiguous(memory_format=torch.channels_last)  # the layout in which CPUs and GPUs convolve fastest
        for convolution in self.convolutions[:-1]:
            x = F.relu(convolution(x), inplace=True)  # convolutions need their inputs only, so nothing is kept twice
        x = self.convolutions[-1](x)
        if self.small:
            x = F.relu(x)
        x = x.flatten(2).mT + self.embed_position(self.position)  # (B, h·w, feature_dim)
        return x + self.features(x) if self.small else self.features(x)

    @torch.no_grad()
    def _start_as_published(self) -> None:
        """Kaiming-uniform weights before a ReLU, Xavier-uniform ones elsewhere, no biases: the official code's."""
        layers = [layer for layer in self.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
        for layer in layers:
            if layer is self.embed_position:  # that one starts as PyTorch does
                continue
            if layer is self.convolutions[-1] or layer is self.features[-1]:
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
