"""Both ways through a model, picture to codes and codes to picture, as one pass of tensors each: what is exported."""

from __future__ import annotations

from torch import Tensor, nn

from .code_model import CodeModel
from .svq_model import SVQ


class Graph(nn.Module):
    """Tensors in, tensors out, nothing random and no choice but by tensors.

    Args:
        model: is put into eval mode, and none of its weights learns any more.

    Attributes:
        input, outputs: what the tensors are called.

    Raises:
        ValueError: a model that writes no codes, or paints token by token.
    """

    input: str
    outputs: tuple[str, ...]

    def __init__(self, model: CodeModel) -> None:
        super().__init__()
        if not model.has_codes:
            raise ValueError("this model writes no codes, which a graph could lead to: use one with bottleneck='codes'")
        if model.config.get("decoder") == "transformer":
            raise ValueError(
                "the transformer decoder paints token by token, each after a look at those before, which is no graph "
                "of one pass: export a model with decoder='cross_attention' or 'cnn'"
            )
        self.model = model.eval().requires_grad_(False)


class EncoderGraph(Graph):
    """image (B, in_channels, H, W) in [0, 1] → codes (B, N, M) int64 and, of a model with slots, slots (B, N, D) before
    quantization and masks (B, N, 1, H, W), which sum to 1 over the slots."""

    input = "image"

    def __init__(self, model: CodeModel) -> None:
        super().__init__(model)
        self.outputs = ("codes", "slots", "masks") if model.has_slots else ("codes",)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.model(image)
        return tuple(found[name] for name in self.outputs)


class DecoderGraph(Graph):
    """codes (B, N, M) int64 in [0, K), which are not checked, → image (B, in_channels, H, W) in [0, 1] and, of a model
    with slots, masks (B, N, 1, H, W)."""

    input = "codes"

    def __init__(self, model: CodeModel) -> None:
        super().__init__(model)
        self.outputs = ("image", "masks") if model.has_slots else ("image",)

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        if not isinstance(self.model, SVQ):
            return (self.model.paint(codes).clamp(0, 1),)
        recon, masks, *_ = self.model.decode(codes)
        assert recon is not None and masks is not None  # of every decoder but the transformer
        return recon.clamp(0, 1), masks
