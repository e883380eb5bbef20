"""A baseline without objects: the discrete VAE of the paper's image decoder, with a prior over its tokens."""

from __future__ import annotations

from torch import Tensor, nn

from .checks import require_codes
from .code_model import CodeModel
from .dvae import DVAE, PATCH


class DVAETokens(CodeModel):
    """A `DVAE` as a model of its own: its tokens, one for each patch of 4 × 4 pixels, row by row, are the codes.

    There are N = (H / 4)² patches of M = 1 code each, one of K = V. In training mode a softened sample of the tokens
    is painted, which lets gradients pass; in eval mode codes are the likeliest tokens.

    Args:
        image_size: H = W, pixels; divisible by 4.
        in_channels: image channels.
        vocab_size: V.

    Raises:
        ValueError: a size that is not positive, or an image size that is no multiple of 4.
    """

    kind = "dvae"

    def __init__(self, image_size: int = 64, in_channels: int = 3, vocab_size: int = 4096) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(arguments, (image_size // PATCH) ** 2, 1, vocab_size)
        self.dvae = DVAE(image_size, in_channels, vocab_size)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Encodes and decodes `image` (B, in_channels, H, W) in [0, 1].

        Returns:
            recon: (B, in_channels, H, W) float32, about [0, 1], not clamped.
            codes: (B, N, 1) int64 in [0, V), those of the patches row by row; in training mode a sample.
        """
        if self.training:
            recon, tokens = self.dvae(image)
        else:
            tokens = self.dvae.tokens(image)
            recon = self.dvae.decode(tokens)
        return {"recon": recon, "codes": tokens.unsqueeze(-1)}

    def encode(self, image: Tensor) -> Tensor:
        """The likeliest codes (B, N, 1) of `image` (B, in_channels, H, W) in [0, 1]."""
        return self.dvae.tokens(image).unsqueeze(-1)

    def paint(self, codes: Tensor) -> Tensor:
        """The images (B, in_channels, H, W) that `codes` (B, N, 1) stand for, about [0, 1], not clamped."""
        require_codes(codes, self.num_slots, 1, self.codebook_size)
        return self.dvae.decode(codes.squeeze(-1))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights by part."""
        encoder = list(self.dvae.encoder.parameters())
        known = {id(weights) for weights in encoder}
        return {"encoder": encoder, "decoder": [each for each in self.parameters() if id(each) not in known]}
