"""The head of the downstream tasks: a small transformer whose attention says which tokens are the same in something.

A token is a slot, or a patch of the image. What it holds meets what others hold in comparisons only: head h attends
from token i to token j by exp(-|P_h x_i - P_h x_j|²), from 0 to 1 and not normalised, and passes on what is known of
the *role* of j (marked or not, where it is), never its content. So the head can learn which tokens are alike in shape,
and not which shape that is: what it learns of some values holds for others (the relational bottleneck, Webb et al.
2024; attention with values that do not depend on the content, Altabaa et al. 2024).

Legend: B scenes, T tokens of a scene, X width of what a token holds, E width of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..models.transformer import TransformerLayer

STREAM, LAYERS = 32, 2  # E; layers of sameness
HEADS, COMPARED, VALUES = 4, 16, 8  # heads a layer, width of what they compare, width of what they pass on
REFERENCES = 1  # learned tokens to be compared with, such as an empty slot
KEEP = 0.8  # in training: share of the contents' dimensions that all tokens of a scene keep
CONTEXT, CONTEXT_LAYERS = 64, 2  # of patches


class Standardised(nn.Module):
    """Contents (..., X), each dimension with mean 0 and standard deviation 1 over the tokens that it was made of."""

    mean: Tensor
    scale: Tensor

    def __init__(self, contents: Tensor) -> None:
        super().__init__()
        flat = contents.flatten(0, -2)
        std = flat.std(dim=0)
        constant = std <= 1e-6 * std.max().clamp(min=1e-12)  # says nothing
        self.register_buffer("mean", flat.mean(dim=0))
        self.register_buffer("scale", torch.where(constant, torch.inf, std))
        self.width = flat.shape[1]

    def forward(self, contents: Tensor) -> Tensor:
        return (contents - self.mean) / self.scale


class Embedded(nn.Module):
    """Codes (..., M), each one of K, → learned vectors, one for each code of each block, side by side (..., M · C)."""

    def __init__(self, num_blocks: int, codebook_size: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(num_blocks * codebook_size, width)
        self.codebook_size, self.width = codebook_size, num_blocks * width

    def forward(self, codes: Tensor) -> Tensor:
        blocks = torch.arange(codes.shape[-1], device=codes.device)
        return self.vectors(codes + blocks * self.codebook_size).flatten(-2)


class SamenessHead(nn.Module):
    """Tokens, some of them perhaps marked, and a question → a score for each token.

    Args:
        contents: turns tokens into what they hold, (B, T, X); it says X as `width`.
        num_tokens: T.
        num_questions: of the questions that may be asked.
        placed: whether token t is always the same place of the image. Such tokens are told where they are, and first
            pass ordinary transformer layers, because a single patch is not an object. Slots stand in no order.
    """

    def __init__(self, contents: nn.Module, num_tokens: int, num_questions: int = 1, placed: bool = False) -> None:
        super().__init__()
        self.contents = contents
        width = contents.width
        assert isinstance(width, int)
        self.context: nn.Module | None = None
        if placed:
            layers = [TransformerLayer(CONTEXT, 4, causal=False) for _ in range(CONTEXT_LAYERS)]
            self.enter = nn.Linear(width, CONTEXT)
            self.context = nn.Sequential(*layers, nn.LayerNorm(CONTEXT))
            self.where = nn.Parameter(0.1 * torch.randn(num_tokens, CONTEXT))
            width = CONTEXT
        self.questions = nn.Parameter(0.1 * torch.randn(num_questions, STREAM))
        self.mark = nn.Parameter(0.5 * torch.randn(STREAM))
        self.places = nn.Parameter(0.1 * torch.randn(num_tokens, STREAM)) if placed else None
        self.references = nn.Parameter(0.1 * torch.randn(REFERENCES, width))
        self.roles = nn.Parameter(0.5 * torch.randn(REFERENCES, STREAM))
        self.layers = nn.ModuleList(_SamenessLayer(width) for _ in range(LAYERS))
        self.to_score = nn.Sequential(nn.LayerNorm(STREAM), nn.Linear(STREAM, 1))

    def without_contents(self) -> Iterator[nn.Parameter]:
        """The weights but for those of `contents`."""
        return (weights for name, weights in self.named_parameters() if not name.startswith("contents."))

    def forward(self, tokens: Tensor, marked: Tensor | None = None, asked: Tensor | None = None) -> Tensor:
        """Tokens as `contents` reads them, (B, T, ...), marked (B, T) bool and asked (B,) int64 → scores (B, T)."""
        x = self.contents(tokens)
        if self.context is not None:
            x = self.context(self.enter(x) + self.where)
        batch, count = x.shape[:2]
        x = torch.cat([x, self.references.expand(batch, -1, -1)], dim=1)
        if self.training:  # the same dimensions for all tokens, so that what is equal stays equal
            x = x * (torch.rand(batch, 1, x.shape[-1], device=x.device) < KEEP) * KEEP**-0.5
        stream = x.new_zeros(batch, count, STREAM)
        if self.places is not None:
            stream = stream + self.places
        if marked is not None:
            stream = stream + marked.unsqueeze(-1) * self.mark
        stream = torch.cat([stream, self.roles.expand(batch, -1, -1)], dim=1)
        stream = stream + (self.questions[0] if asked is None else self.questions[asked].unsqueeze(1))
        for layer in self.layers:
            stream = layer(stream, x)
        return self.to_score(stream[:, :count]).squeeze(-1)


class _SamenessLayer(nn.Module):
    """Attention by sameness and an MLP, each with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # So that squared distances start at about 1 between contents that are independent and of variance 1.
        self.compared = nn.Parameter(torch.randn(width, HEADS * COMPARED) * (0.5 / (COMPARED * width)) ** 0.5)
        self.norm_values, self.to_values = nn.LayerNorm(STREAM), nn.Linear(STREAM, HEADS * VALUES)
        self.project = nn.Linear(HEADS * VALUES, STREAM)
        self.mlp = nn.Sequential(
            nn.LayerNorm(STREAM), nn.Linear(STREAM, 4 * STREAM), nn.GELU(), nn.Linear(4 * STREAM, STREAM)
        )

    def forward(self, stream: Tensor, x: Tensor) -> Tensor:
        """Stream (B, T, E) and contents (B, T, X) → stream (B, T, E)."""
        compared = (x @ self.compared).unflatten(-1, (HEADS, COMPARED)).transpose(1, 2)  # (B, heads, T, width)
        norms = compared.square().sum(dim=-1)
        distance = norms.unsqueeze(-1) + norms.unsqueeze(-2) - 2 * compared @ compared.mT
        same = torch.exp(-distance.clamp(min=0))
        values = self.to_values(self.norm_values(stream)).unflatten(-1, (HEADS, VALUES)).transpose(1, 2)
        stream = stream + self.project((same @ values).transpose(1, 2).flatten(2))
        return stream + self.mlp(stream)
