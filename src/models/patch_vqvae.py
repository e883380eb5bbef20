"""A baseline without objects: a VQ-VAE (van den Oord et al. 2017), whose codes stand for patches of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_image, require_multiple, require_positive
from .code_model import CodeModel
from .vector_quantizer import SemanticVectorQuantizer

PATCH = 8  # pixels along a side of what one code stands for


class PatchVQVAE(CodeModel):
    """Convolutions, one codebook, convolutions: a code for each patch of 8 × 8 pixels, row by row.

    The quantizer and the prior are those of `SVQ`, with N patches of M = 1 block in place of the slots. Encoder and
    decoder are the paper's: convolutions of stride 2, two residual blocks, and the same back.

    Args:
        image_size: H = W, pixels; divisible by 8.
        in_channels: image channels.
        codebook_size: K.
        code_dim: C, width of a code.
        hidden_dim: width of the convolutions, half of it at half of the image's resolution.
        commitment_cost: default weight of the commitment loss.

    Raises:
        ValueError: a size that is not positive, or an image size that is no multiple of 8.
    """

    kind = "vqvae"

    def __init__(
        self,
        image_size: int = 64,
        in_channels: int = 3,
        codebook_size: int = 512,
        code_dim: int = 64,
        hidden_dim: int = 128,
        commitment_cost: float = 0.25,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        require_positive(image_size=image_size, in_channels=in_channels, code_dim=code_dim, hidden_dim=hidden_dim)
        require_multiple("image_size", image_size, PATCH)
        num_patches = (image_size // PATCH) ** 2
        super().__init__(arguments, num_patches, 1, codebook_size)
        self.grid = image_size // PATCH
        half = hidden_dim // 2 or 1
        self.encoder = nn.Sequential(
            nn.Conv2d(in_channels, half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, hidden_dim, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_dim, hidden_dim, 4, stride=2, padding=1),
            _Residual(hidden_dim),
            _Residual(hidden_dim),
            nn.ReLU(),
            nn.Conv2d(hidden_dim, code_dim, 1),
        )
        self.quantizer = SemanticVectorQuantizer(num_patches, code_dim, 1, codebook_size, code_dim, commitment_cost)
        self.decoder = nn.Sequential(
            nn.Conv2d(code_dim, hidden_dim, 3, padding=1),
            _Residual(hidden_dim),
            _Residual(hidden_dim),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden_dim, hidden_dim, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden_dim, half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(half, in_channels, 4, stride=2, padding=1),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Encodes, quantizes and decodes `image` (B, in_channels, H, W) in [0, 1].

        Returns:
            recon: (B, in_channels, H, W) float32, about [0, 1], not clamped.
            codes: (B, N, 1) int64 in [0, K), those of the patches row by row.
            commitment_loss: scalar, raw.
        """
        quantized, codes, commitment = self.quantizer(self._patches(image))
        return {"recon": self._paint(quantized), "codes": codes, "commitment_loss": commitment}

    def encode(self, image: Tensor) -> Tensor:
        """The codes (B, N, 1) of `image` (B, in_channels, H, W) in [0, 1]."""
        return self.quantizer(self._patches(image)).codes

    def paint(self, codes: Tensor) -> Tensor:
        """The images (B, in_channels, H, W) that `codes` (B, N, 1) stand for, about [0, 1], not clamped."""
        return self._paint(self.quantizer.embed(codes))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights by part; the codebook learns without gradients."""
        return {"encoder": list(self.encoder.parameters()), "decoder": list(self.decoder.parameters())}

    @property
    def code_quantizer(self) -> SemanticVectorQuantizer:
        return self.quantizer

    def _patches(self, image: Tensor) -> Tensor:
        """Image → vectors (B, N, C), one a patch."""
        require_image(image, self.config["in_channels"], self.config["image_size"])
        # Laid out row by row whatever the convolutions choose, which need not be what they chose for an exported graph.
        return self.encoder(image).flatten(2).mT.clone(memory_format=torch.contiguous_format)

    def _paint(self, patches: Tensor) -> Tensor:
        """Vectors (B, N, C) → image, float32."""
        return self.decoder(patches.mT.unflatten(-1, (self.grid, self.grid))).float()


class _Residual(nn.Module):
    """x + W₂ ReLU(W₁ ReLU(x)), W₁ over 3 × 3 patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(F.relu(self.near(F.relu(x))))
