"""Image ↔ a grid of tokens: the discrete VAE whose tokens the paper's image decoder writes one by one."""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.distributed import own_rows, world_size
from .checks import require_image, require_multiple, require_number, require_positive, require_tokens

PATCH = 4  # pixels along a side of what one token stands for
_WIDTH = 64  # of all hidden layers


class DVAEOutput(NamedTuple):
    """A batch that went through the dVAE with noise."""

    recon: Tensor  # (B, channels, H, W), about [0, 1], not clamped, from a soft sample of the tokens
    tokens: Tensor  # (B, L) int64 in [0, V): a hard sample, independent of the soft one


class _SoftSample(torch.autograd.Function):
    """softmax((logits + Gumbel noise) / tau) and a hard sample: image by image, so that little memory is needed."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: float, keys: list[int]) -> tuple[Tensor, Tensor]:
        soft = torch.empty_like(logits)
        tokens = torch.empty(logits.shape[:2], dtype=torch.int64, device=logits.device)
        generator = torch.Generator(logits.device)
        for image, key in enumerate(keys):
            generator.manual_seed(key)
            of_image = logits[image].float()  # (L, V)
            noise = torch.empty_like(of_image).uniform_(generator=generator).log_().neg_().log_()  # minus Gumbel noise
            soft[image] = torch.sub(of_image, noise, out=noise).div_(tau).softmax(-1)
            # One number a token decides where in the cumulated probabilities the hard sample falls.
            cumulated = of_image.softmax(-1).cumsum(-1)
            share = torch.rand(len(of_image), 1, generator=generator, device=logits.device)
            found = torch.searchsorted(cumulated, share * cumulated[:, -1:], right=True)[:, 0]
            tokens[image] = found.clamp_(max=logits.shape[-1] - 1)
        ctx.save_for_backward(soft)
        ctx.tau = tau
        ctx.mark_non_differentiable(tokens)
        return soft, tokens

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (soft,) = ctx.saved_tensors
        return torch.ops.aten._softmax_backward_data(gradients[0], soft, -1, soft.dtype).div_(ctx.tau), None, None


class DVAE(nn.Module):
    """A discrete VAE: one of V tokens for each patch of 4 × 4 pixels.

    The encoder sees one patch at a time; the decoder looks at neighbours, too.

    Args:
        image_size: H = W, pixels; divisible by 4.
        channels: of the image.
        vocab_size: V.

    Raises:
        ValueError: a size that is not positive, or an image size that is no multiple of 4.
    """

    def __init__(self, image_size: int, channels: int = 3, vocab_size: int = 4096) -> None:
        super().__init__()
        require_positive(image_size=image_size, channels=channels, vocab_size=vocab_size)
        require_multiple("image_size", image_size, PATCH)
        self.image_size, self.channels, self.vocab_size = image_size, channels, vocab_size
        self.grid = image_size // PATCH
        # Temperature of the soft sample; training lowers it.
        self.tau = 1.0
        maps: list[nn.Module] = []
        for width in [PATCH * PATCH * channels, *6 * [_WIDTH]]:
            maps += [nn.Linear(width, _WIDTH), nn.ReLU()]
        self.encoder = nn.Sequential(*maps, nn.Linear(_WIDTH, vocab_size))
        self.token_features = nn.Parameter(torch.empty(vocab_size, _WIDTH))
        self.token_bias = nn.Parameter(torch.zeros(_WIDTH))
        self.decoder = nn.Sequential(nn.ReLU(), *_doubling(), *_doubling(), nn.Conv2d(_WIDTH, channels, 1))
        self._initialise()

    def _initialise(self) -> None:
        """Kaiming where a ReLU follows, Xavier where none does, no biases: as the official weights start."""
        maps = [module for module in self.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
        for module in maps:
            if module in (self.encoder[-1], self.decoder[-1]):
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.kaiming_uniform_(self.token_features, mode="fan_out", nonlinearity="relu")  # V inputs, transposed

    def forward(self, image: Tensor, keys: Tensor | None = None) -> DVAEOutput:
        """Encodes, samples and decodes.

        Args:
            image: (B, channels, H, W), float32 in [0, 1].
            keys: (B,) int64; the noise of an image depends on its key only. None draws keys.

        Raises:
            TypeError: `tau` is no number, or an image that is no float32 tensor.
            ValueError: `tau` is not positive and finite, an image of another shape, or the wrong number of keys.
        """
        require_number("tau", self.tau, "a finite number greater than 0")
        if not 0 < self.tau < inf:
            raise ValueError(f"tau must be a finite number greater than 0, got {self.tau}")
        logits = self.logits(image)
        if keys is None:
            keys = own_rows(torch.randint(2**63 - 1, (len(image) * world_size(),)))
        if keys.shape != (len(image),):
            raise ValueError(f"keys had shape {tuple(keys.shape)} but expected one for each of {len(image)} images")
        soft, tokens = _SoftSample.apply(logits, self.tau, keys.tolist())
        return DVAEOutput(self._paint(soft @ self.token_features), tokens)

    def logits(self, image: Tensor) -> Tensor:
        """Image (B, channels, H, W), float32 in [0, 1] → logits of its tokens (B, L, V), row by row."""
        require_image(image, self.channels, self.image_size)
        return self.encoder(F.pixel_unshuffle(image, PATCH).flatten(2).mT)

    @torch.no_grad()
    def tokens(self, image: Tensor) -> Tensor:
        """Image (B, channels, H, W), float32 in [0, 1] → its likeliest tokens (B, L) int64."""
        return self.logits(image).argmax(-1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) int64 in [0, V) → image (B, channels, H, W), about [0, 1], not clamped.

        Raises:
            TypeError, ValueError: anything else.
        """
        require_tokens(tokens, self.grid**2, self.vocab_size)
        return self._paint(F.embedding(tokens, self.token_features))

    def _paint(self, features: Tensor) -> Tensor:
        features = (features + self.token_bias).unflatten(1, (self.grid, self.grid))
        return self.decoder(features.permute(0, 3, 1, 2)).float()


def _doubling() -> list[nn.Module]:
    """From width 64 to width 64 at twice the resolution."""
    maps: list[nn.Module] = [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.ReLU()]
    for width in (_WIDTH, _WIDTH, 4 * _WIDTH):
        maps += [nn.Conv2d(_WIDTH, width, 1), nn.ReLU()]
    return [*maps, nn.PixelShuffle(2)]
