"""The Autoregressive LoT Prior: a causal transformer over the N·M codes of a scene (section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_codes, require_divisible, require_number, require_positive


class KeyValueCache:
    """Keys and values of the tokens seen so far, for one attention layer; storage for all of them is taken at once."""

    def __init__(self, max_length: int) -> None:
        self.max_length, self.length = max_length, 0
        self.keys = self.values = torch.empty(0)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds `keys` and `values` (B, heads, T, width) and returns all of them so far."""
        if self.length == 0:
            batch, heads, _, width = keys.shape
            self.keys = keys.new_empty(batch, heads, self.max_length, width)
            self.values = torch.empty_like(self.keys)
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


def _attend_on_cpu(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool) -> Tensor:
    """`F.scaled_dot_product_attention`, written out: on CPUs its backward pass takes many times as long as this one
    for sequences as short as a scene's codes.
    """
    scores = (query @ key.mT).float() * query.shape[-1] ** -0.5
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return F.dropout(scores.softmax(-1), dropout_p) @ value


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention in which a token sees itself and what came before."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.to_query_key_value = nn.Linear(embed_dim, 3 * embed_dim)
        self.project = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, E) → (B, T, E). With a cache, `x` is the one token that follows those in the cache."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, T, E / heads)
            for part in self.to_query_key_value(x).chunk(3, dim=-1)
        )
        if cache is not None:
            key, value = cache.append(key, value)
        by_hand = x.device.type == "cpu" and cache is None  # for the one query of a step the fused kernel is faster
        attend = _attend_on_cpu if by_hand else F.scaled_dot_product_attention
        attended = attend(query, key, value, dropout_p=self.dropout if self.training else 0.0, is_causal=cache is None)
        return self.project(attended.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Pre-norm transformer layer: x + attention, then x + MLP (GELU, 4 times wider)."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(embed_dim)
        self.attention = CausalSelfAttention(embed_dim, num_heads, dropout)
        self.norm_mlp = nn.LayerNorm(embed_dim)
        self.mlp = nn.Sequential(nn.Linear(embed_dim, 4 * embed_dim), nn.GELU(), nn.Linear(4 * embed_dim, embed_dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        x = x + self.drop(self.attention(self.norm_attention(x), cache))
        return x + self.drop(self.mlp(self.norm_mlp(x)))


class AutoregressiveTransformer(nn.Module):
    """p(codes) = Π p(code_t | codes before t), slot by slot and, within a slot, block by block.

    Every block has its own embeddings and its own output layer over its K codes, so a position can only ever
    emit codes of its own codebook.

    Args:
        num_slots, num_codebooks, codebook_size: N, M, K.
        embed_dim: width E of the transformer; `num_heads` must divide it.
        num_heads, num_layers: its size.
        dropout: probability, in [0, 1).
    """

    def __init__(
        self,
        num_slots: int,
        num_codebooks: int,
        codebook_size: int,
        embed_dim: int = 256,
        num_heads: int = 8,
        num_layers: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        require_positive(
            num_slots=num_slots,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
            embed_dim=embed_dim,
            num_heads=num_heads,
            num_layers=num_layers,
        )
        require_divisible("embed_dim", embed_dim, "num_heads", num_heads)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.num_slots, self.num_codebooks, self.codebook_size = num_slots, num_codebooks, codebook_size
        length = num_slots * num_codebooks
        # The weights fit any number of heads but mean another thing, so the number is kept with them.
        self.register_buffer("num_heads", torch.tensor(num_heads))
        self.code_embedding = nn.Parameter(torch.randn(num_codebooks, codebook_size, embed_dim) * 0.02)
        self.begin = nn.Parameter(torch.randn(embed_dim) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(length, embed_dim) * 0.02)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(TransformerBlock(embed_dim, num_heads, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Parameter(torch.randn(num_codebooks, embed_dim, codebook_size) * 0.02)

    num_heads: Tensor

    @torch.no_grad()
    def start_from(self, codebook: Tensor) -> None:
        """Lets codes that are alike start with embeddings and output weights that are alike.

        What is learned of one code then holds for its neighbours, although a code as such is a mere number: two
        codes of almost the same place, say. `codebook` (M, K, C), of any scale, enters through random projections.
        """
        codebook = codebook - codebook.mean(dim=1, keepdim=True)
        codebook = codebook / codebook.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)
        for weight, scale in ((self.code_embedding, 0.5), (self.head.mT, 0.02)):
            projection = torch.randn(*codebook.shape[::2], weight.shape[-1], device=codebook.device)
            weight.copy_(codebook @ projection * (scale * codebook.shape[-1] ** -0.5))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        loaded = state_dict.get(f"{prefix}num_heads")
        if loaded is not None and int(loaded) != int(self.num_heads):
            raise RuntimeError(f"the weights are those of a prior with num_heads={int(loaded)}, not {self.num_heads}")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, codes: Tensor) -> Tensor:
        """Teacher forcing: `codes` (B, N, M) → logits (B, N, M, K), those of a position given all before it."""
        return self._logits_of_blocks(codes).unflatten(1, codes.shape[:2]).movedim(0, 2)

    def _logits_of_blocks(self, codes: Tensor) -> Tensor:
        """`codes` (B, N, M) → logits (M, B·N, K) float32: as the output layers, one a block, make them."""
        require_codes(codes, self.num_slots, self.num_codebooks, self.codebook_size)
        blocks = torch.arange(self.num_codebooks, device=codes.device)
        embedded = self.code_embedding[blocks, codes].flatten(1, 2)  # (B, N·M, E)
        begin = self.begin.expand(embedded.shape[0], 1, -1)
        x = self.drop(torch.cat([begin, embedded[:, :-1]], dim=1) + self.position_embedding)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x).unflatten(1, (self.num_slots, self.num_codebooks)).flatten(0, 1)  # (B·N, M, E)
        return (x.transpose(0, 1) @ self.head).float()

    def nll(self, codes: Tensor) -> Tensor:
        """Negative log-likelihood of each code given those before it, (B, N, M) in nats."""
        logits = self._logits_of_blocks(codes)  # in another order they would be copied, and they are large
        of_blocks = codes.flatten(0, 1).T  # (M, B·N)
        nll = F.cross_entropy(logits.flatten(0, 1), of_blocks.flatten(), reduction="none")
        return nll.view(of_blocks.shape).T.view(codes.shape)

    @torch.no_grad()
    def sample(
        self,
        batch_size: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws the codes (B, N, M) of `batch_size` scenes, with cached keys and values.

        Args:
            batch_size: B, at least 1.
            temperature: divides the logits; below 1 makes likely codes likelier. Greater than 0.
            top_k: draws among the k likeliest codes only; None among all.
            generator: source of randomness, on the prior's device.

        Raises:
            TypeError: a temperature that is not a number.
            ValueError: a temperature that is not positive, `top_k` below 1.
        """
        require_positive(batch_size=batch_size)
        require_number("temperature", temperature, "a number greater than 0")
        if not temperature > 0:
            raise ValueError(f"temperature must be greater than 0, got {temperature}")
        if top_k is not None:
            require_positive(top_k=top_k)
        was_training = self.training
        self.eval()  # no dropout
        try:
            return self._draw(batch_size, temperature, top_k, generator)
        finally:
            self.train(was_training)

    def _draw(
        self, batch_size: int, temperature: float, top_k: int | None, generator: torch.Generator | None
    ) -> Tensor:
        length = self.num_slots * self.num_codebooks
        caches = [KeyValueCache(length) for _ in self.layers]
        codes = torch.empty(batch_size, length, dtype=torch.int64, device=self.head.device)
        x = self.begin.expand(batch_size, 1, -1)
        for position in range(length):
            block = position % self.num_codebooks
            x = x + self.position_embedding[position]
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer(x, cache)
            logits = (self.norm(x[:, 0]) @ self.head[block]).float()  # (B, K)
            logits = (logits - logits.amax(-1, keepdim=True)) / temperature  # no overflow at low temperatures
            if top_k is not None and top_k < self.codebook_size:
                threshold = logits.topk(top_k).values[:, -1:]
                logits = logits.masked_fill(logits < threshold, -torch.inf)
            drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
            codes[:, position] = drawn
            x = self.code_embedding[block, drawn].unsqueeze(1)
        return codes.unflatten(1, (self.num_slots, self.num_codebooks))
