"""The one transformer layer: of the prior over codes, of the decoder that writes an image, of its block coupler."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_choice, require_divisible, require_positive

NORMS = ("pre", "post", "stream")
ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}

# Queries whose scores a CPU computes at a time under a causal mask: keys that no query of them sees are left out.
_QUERIES = 256


class KeyValueCache:
    """What one layer knows of the tokens so far: keys and values; storage for all of them is taken at once.

    Args:
        max_length: tokens it has room for.
        memory: keys and values (B, 2, heads, S, width) of a memory, from `CrossAttention.keys_values`.
    """

    def __init__(self, max_length: int, memory: Tensor | None = None) -> None:
        self.max_length, self.memory, self.length = max_length, memory, 0
        self.storage = torch.empty(0)

    def append(self, keys_values: Tensor) -> Tensor:
        """Adds keys and values (B, 2, heads, T, width) and returns all of them so far."""
        if self.length == 0:
            batch, two, heads, _, width = keys_values.shape
            self.storage = keys_values.new_empty(batch, two, heads, self.max_length, width)
        end = self.length + keys_values.shape[3]
        self.storage[:, :, :, self.length : end] = keys_values
        self.length = end
        return self.storage[:, :, :, :end]


def _attend_on_cpu(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool) -> Tensor:
    """`F.scaled_dot_product_attention`, written out: on CPUs its backward pass takes many times as long as this one
    for sequences as short as a scene's codes, and with dropout it keeps all scores in float32.
    """
    if not is_causal:
        return _weigh(query, key, value, dropout_p, None)
    parts = []
    for start in range(0, query.shape[-2], _QUERIES):
        end = min(start + _QUERIES, query.shape[-2])
        later = torch.ones(end - start, end, dtype=torch.bool, device=query.device).triu(1 + start)
        queries = query[..., start:end, :]
        parts.append(_weigh(queries, key[..., :end, :], value[..., :end, :], dropout_p, later))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)


def _weigh(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, hidden: Tensor | None) -> Tensor:
    scores = (query @ key.mT).float() * query.shape[-1] ** -0.5
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    return F.dropout(scores.softmax(-1), dropout_p) @ value


def _attend(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool) -> Tensor:
    """(B, heads, T, width) and keys and values (B, heads, S, width) → (B, T, heads · width)."""
    by_hand = query.device.type == "cpu" and query.shape[-2] > 1  # for one query the fused kernel is faster
    attend = _attend_on_cpu if by_hand else F.scaled_dot_product_attention
    attended = attend(query, key, value, dropout_p=dropout_p, is_causal=is_causal)
    return attended.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens; with `causal` a token sees itself and what came before."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float, bias: bool, causal: bool) -> None:
        super().__init__()
        self.num_heads, self.dropout, self.causal = num_heads, dropout, causal
        self.to_query_key_value = nn.Linear(embed_dim, 3 * embed_dim, bias)
        self.project = nn.Linear(embed_dim, embed_dim, bias)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, E) → (B, T, E). With a cache, `x` is the one token that follows those in the cache."""
        heads = self.to_query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind()  # (B, heads, T, E / heads)
        if cache is not None:
            key, value = cache.append(heads[:, :, 1:].permute(0, 2, 3, 1, 4)).unbind(1)
        dropout = self.dropout if self.training else 0.0
        return self.project(_attend(query, key, value, dropout, self.causal and cache is None))


class CrossAttention(nn.Module):
    """Multi-head attention of the tokens to a memory."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.to_query = nn.Linear(embed_dim, embed_dim, bias)
        self.to_key_value = nn.Linear(embed_dim, 2 * embed_dim, bias)
        self.project = nn.Linear(embed_dim, embed_dim, bias)

    def keys_values(self, memory: Tensor) -> Tensor:
        """Memory (B, S, E) → its keys and values (B, 2, heads, S, E / heads), the same for every token."""
        return self.to_key_value(memory).unflatten(-1, (2, self.num_heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(self, x: Tensor, keys_values: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        query = self.to_query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = keys_values.unbind(1)
        return self.project(_attend(query, key, value, self.dropout if self.training else 0.0, False))


class TransformerLayer(nn.Module):
    """Self-attention, attention to a memory if there is one, and an MLP 4 times as wide, each with a residual.

    Args:
        embed_dim: width E; `num_heads` must divide it.
        num_heads: of every attention.
        dropout: probability, in [0, 1), for attention weights and for what is added to the stream; after a "post"
            norm's fashion (that of `nn.TransformerEncoderLayer`) for the MLP's hidden units, too.
        norm: "pre", x + f(norm(x)); "post", norm(x + f(x)); "stream", as "pre", but the stream itself is normalised
            before self-attention: y = norm(x), then y + f(y). The paper's code does so in a first layer.
        activation: of the MLP, "gelu" or "relu".
        attention_bias: whether the linear maps of the attentions have biases.
        causal: whether a token sees only itself and what came before.
        cross_attention: whether there is a memory to attend to.

    Raises:
        ValueError: a size, dropout, norm or activation that is none of these.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        norm: str = "pre",
        activation: str = "gelu",
        attention_bias: bool = True,
        causal: bool = True,
        cross_attention: bool = False,
    ) -> None:
        super().__init__()
        require_positive(embed_dim=embed_dim, num_heads=num_heads)
        require_divisible("embed_dim", embed_dim, "num_heads", num_heads)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        require_choice("norm", norm, NORMS)
        require_choice("activation", activation, tuple(ACTIVATIONS))
        self.norm_is_last, self.norm_replaces_stream = norm == "post", norm == "stream"
        self.norm_attention = nn.LayerNorm(embed_dim)
        self.attention = SelfAttention(embed_dim, num_heads, dropout, attention_bias, causal)
        self.norm_cross = nn.LayerNorm(embed_dim) if cross_attention else nn.Identity()
        self.cross = CrossAttention(embed_dim, num_heads, dropout, attention_bias) if cross_attention else None
        self.norm_mlp = nn.LayerNorm(embed_dim)
        hidden: nn.Module = ACTIVATIONS[activation]()
        if self.norm_is_last:
            hidden = nn.Sequential(hidden, nn.Dropout(dropout))
        self.mlp = nn.Sequential(nn.Linear(embed_dim, 4 * embed_dim), hidden, nn.Linear(4 * embed_dim, embed_dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """Tokens (B, T, E) and, for cross-attention, a memory (B, S, E) → (B, T, E).

        With a cache, `x` (B, 1, E) is the token that follows those in the cache, and the memory may be the cache's.

        Raises:
            ValueError: there is no memory to attend to.
        """
        if self.norm_replaces_stream:
            x = self.norm_attention(x)
            x = x + self.drop(self.attention(x, cache))
        else:
            x = self._add(x, self.norm_attention, self.attention, cache)
        if self.cross is not None:
            if memory is not None:
                known = self.cross.keys_values(memory)
            elif cache is not None and cache.memory is not None:
                known = cache.memory
            else:
                raise ValueError("this layer attends to a memory, and got none: pass memory, or a cache that has one")
            x = self._add(x, self.norm_cross, self.cross, known)
        return self._add(x, self.norm_mlp, self.mlp)

    def _add(self, x: Tensor, norm: nn.Module, branch: nn.Module, *context: object) -> Tensor:
        if self.norm_is_last:
            return norm(x + self.drop(branch(x, *context)))
        return x + self.drop(branch(norm(x), *context))


def new_caches(layers: Iterable[nn.Module], max_length: int, memory: Tensor | None = None) -> list[KeyValueCache]:
    """Empty caches, one for each of the transformer `layers`; keys and values of a memory (B, S, E) are in them."""
    caches = []
    for layer in layers:
        cross = layer.cross if isinstance(layer, TransformerLayer) else None
        caches.append(KeyValueCache(max_length, cross.keys_values(memory) if cross and memory is not None else None))
    return caches
