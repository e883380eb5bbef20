"""The one transformer layer: of the prior over codes, of the decoder that writes an image, of its block coupler."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_choice, require_divisible, require_positive, require_share

NORMS = ("pre", "post", "stream")
ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}

# On a CPU, sequences longer than this are attended to in parts of as many queries, and dropout reads random bytes.
_LONG = 256


def dropout(x: Tensor, p: float) -> Tensor:
    """`F.dropout` of (..., T, E); for long sequences on a CPU, where that draws number by number, p in 256ths."""
    if x.device.type != "cpu" or x.shape[-2] <= _LONG:
        return F.dropout(x, p)
    return x * _kept(x.shape, p) * _gain(p) if p else x


def _kept(shape: torch.Size | tuple[int, ...], p: float) -> Tensor:
    """Random zeros, with probability p in 256ths, and ones; uint8."""
    numbers = torch.empty((math.prod(shape) + 7) // 8, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    return numbers.view(torch.uint8)[: math.prod(shape)].view(shape).ge_(round(256 * p))


def _gain(p: float) -> float:
    """What keeps the mean when `_kept` multiplies."""
    return 256 / (256 - round(256 * p))


class Dropout(nn.Module):
    """`nn.Dropout`, faster for long sequences on a CPU."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


class _LongAttention(torch.autograd.Function):
    """Causal attention of (B · heads, T, width), head by head and some queries at a time.

    Keys that no query of a part sees are left out. What is at work fits a CPU's cache, and probabilities are computed
    anew for the gradient: kept, those of all layers would need gigabytes.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, dropout_p: float) -> Tensor:
        out, masks, later = torch.empty_like(query), [], _later()
        for head, start, end in _parts(query):
            weights = _probabilities(query[head, start:end], key[head, :end], later)
            if dropout_p:
                masks.append(_kept(weights.shape, dropout_p))
                weights = weights * masks[-1]
            out[head, start:end] = weights @ value[head, :end]
        ctx.save_for_backward(query, key, value, *masks)
        ctx.gain = _gain(dropout_p)
        return out.mul_(ctx.gain)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, *masks = ctx.saved_tensors
        gradient, scale, later = gradients[0] * ctx.gain, query.shape[-1] ** -0.5, _later()
        to_query = torch.empty_like(query)
        to_key, to_value = (torch.zeros_like(key, dtype=torch.promote_types(key.dtype, torch.float32)) for _ in "kv")
        for number, (head, start, end) in enumerate(_parts(query)):
            queries, keys, of_part = query[head, start:end], key[head, :end], gradient[head, start:end]
            weights = _probabilities(queries, keys, later)
            to_weights = of_part @ value[head, :end].T
            kept = weights
            if masks:
                kept = weights * masks[number]
                to_weights *= masks[number]
            to_value[head, :end] += kept.T @ of_part
            to_scores = torch.ops.aten._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_query[head, start:end] = to_scores @ keys
            to_key[head, :end] += to_scores.T @ queries
        return to_query.mul_(scale), to_key.mul_(scale).to(key.dtype), to_value.to(value.dtype), None


def _parts(query: Tensor) -> Iterator[tuple[int, int, int]]:
    """(head, first query, end of the queries and of the keys that they see)."""
    length = query.shape[1]
    for head, start in itertools.product(range(len(query)), range(0, length, _LONG)):
        yield head, start, min(start + _LONG, length)


def _later() -> Tensor:
    """Which keys of a part come after which of its queries."""
    return torch.ones(_LONG, _LONG, dtype=torch.bool).triu(1)


def _probabilities(queries: Tensor, keys: Tensor, later: Tensor) -> Tensor:
    """Of the keys (S, width), for the queries (T, width), which are the last T of the S tokens; (T, S)."""
    scores = torch.addmm(queries.new_zeros(1), queries, keys.T, beta=0, alpha=queries.shape[-1] ** -0.5)
    count = len(queries)
    scores[:, -count:].masked_fill_(later[:count, :count], -torch.inf)
    return scores.softmax(-1)


def _attend_on_cpu(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool) -> Tensor:
    """`F.scaled_dot_product_attention`, written out: on CPUs its backward pass takes many times as long as this one."""
    if is_causal and query.shape[-2] > _LONG:
        heads = (part.flatten(0, 1).contiguous() for part in (query, key, value))
        return _LongAttention.apply(*heads, dropout_p).view(query.shape)
    scores = (query @ key.mT).float() * query.shape[-1] ** -0.5
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return dropout(scores.softmax(-1), dropout_p) @ value


def _attend(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool) -> Tensor:
    """(B, heads, T, width) and keys and values (B, heads, S, width) → (B, T, heads · width)."""
    attend = _attend_on_cpu if query.device.type == "cpu" else F.scaled_dot_product_attention
    attended = attend(query, key, value, dropout_p=dropout_p, is_causal=is_causal)
    return attended.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens; with `causal` a token sees itself and what came before."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float, bias: bool, causal: bool) -> None:
        super().__init__()
        self.num_heads, self.dropout, self.causal = num_heads, dropout, causal
        self.to_query_key_value = nn.Linear(embed_dim, 3 * embed_dim, bias)
        self.project = nn.Linear(embed_dim, embed_dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, T, E / heads)
            for part in self.to_query_key_value(x).chunk(3, dim=-1)
        )
        return self.project(_attend(query, key, value, self.dropout if self.training else 0.0, self.causal))


class CrossAttention(nn.Module):
    """Multi-head attention of the tokens to a memory."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.to_query = nn.Linear(embed_dim, embed_dim, bias)
        self.to_key_value = nn.Linear(embed_dim, 2 * embed_dim, bias)
        self.project = nn.Linear(embed_dim, embed_dim, bias)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Tokens (B, T, E) and a memory (B, S, E) → (B, T, E)."""
        query = self.to_query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, S, E / heads)
            for part in self.to_key_value(memory).chunk(2, dim=-1)
        )
        return self.project(_attend(query, key, value, self.dropout if self.training else 0.0, False))


class TransformerLayer(nn.Module):
    """Self-attention, attention to a memory if there is one, and an MLP 4 times as wide, each with a residual.

    Args:
        embed_dim: width E; `num_heads` must divide it.
        num_heads: of every attention.
        dropout: probability, in [0, 1), for attention weights and for what is added to the stream; with norm "post" for
            the MLP's hidden units, too, as in `nn.TransformerEncoderLayer`.
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
        require_share(dropout=dropout)
        require_choice("norm", norm, NORMS)
        require_choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = activation
        self.norm_is_last, self.norm_replaces_stream = norm == "post", norm == "stream"
        self.norm_attention = nn.LayerNorm(embed_dim)
        self.attention = SelfAttention(embed_dim, num_heads, dropout, attention_bias, causal)
        self.norm_cross = nn.LayerNorm(embed_dim) if cross_attention else nn.Identity()
        self.cross = CrossAttention(embed_dim, num_heads, dropout, attention_bias) if cross_attention else None
        self.norm_mlp = nn.LayerNorm(embed_dim)
        hidden: nn.Module = ACTIVATIONS[activation]()
        if self.norm_is_last:
            hidden = nn.Sequential(hidden, Dropout(dropout))
        self.mlp = nn.Sequential(nn.Linear(embed_dim, 4 * embed_dim), hidden, nn.Linear(4 * embed_dim, embed_dim))
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Tokens (B, T, E) and, for cross-attention, a memory (B, S, E) → (B, T, E)."""
        if self.norm_replaces_stream:
            x = self.norm_attention(x)
            x = x + self.drop(self.attention(x))
        else:
            x = self._add(x, self.norm_attention, self.attention)
        if self.cross is not None:
            x = self._add(x, self.norm_cross, self.cross, memory)
        return self._add(x, self.norm_mlp, self.mlp)

    def _add(self, x: Tensor, norm: nn.Module, branch: nn.Module, *context: object) -> Tensor:
        if self.norm_is_last:
            return norm(x + self.drop(branch(x, *context)))
        return x + self.drop(branch(norm(x), *context))


class KnowsItsHeads(nn.Module):
    """A transformer whose weights fit any number of heads but mean another thing, so the number is kept with them.

    Args:
        num_heads: of its layers.
        kind: what it is called where weights of another number are refused, with a RuntimeError.
    """

    num_heads: Tensor

    def __init__(self, num_heads: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("num_heads", torch.tensor(num_heads))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        loaded = state_dict.get(f"{prefix}num_heads")
        if loaded is not None and int(loaded) != int(self.num_heads):
            kept = f"num_heads={int(loaded)}, not {self.num_heads}"
            raise RuntimeError(f"the weights are those of a {self.kind} with {kept}")
        super()._load_from_state_dict(state_dict, prefix, *args)


class Steps:
    """Causal layers, applied to one token after another; keys and values of those before are kept.

    A step is a few small products, so the operations around them are what takes time: weights are copied once,
    transposed and in the precision of autocast as it is when this is made (it is best off during the steps), and the
    modules are not called. The stream stays float32, and there is no dropout.

    Args:
        layers: of `TransformerLayer`, all causal.
        batch_size: B.
        max_length: tokens there is room for.
        memory: (B, S, E), for layers that attend to one.

    Raises:
        ValueError: such a layer without a memory.
    """

    def __init__(
        self, layers: Iterable[nn.Module], batch_size: int, max_length: int, memory: Tensor | None = None
    ) -> None:
        self._layers = [
            _LayerSteps(layer, batch_size, max_length, memory)
            for layer in layers
            if isinstance(layer, TransformerLayer)
        ]
        self.dtype = self._layers[0].project.dtype
        self.length = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The next token (B, E), float32 → what the layers make of it (B, E)."""
        for layer in self._layers:
            x = layer(x, self.length)
        self.length += 1
        return x

    def select(self, rows: Tensor) -> None:
        """Goes on with these rows (B,) of the batch, some of them perhaps several times; not with a memory."""
        for layer in self._layers:
            layer.kept[:, :, :, : self.length] = layer.kept[:, rows, :, : self.length]


def draw(logits: Tensor, temperature: float | None, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    """One draw from each of `logits` (B, K) divided by `temperature`, among the `top_k` likeliest; (B,) int64.

    Without a temperature it is the likeliest; without `top_k` all may be drawn.
    """
    if temperature is None:
        return logits.argmax(-1)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature  # no overflow at low temperatures
    if top_k is not None and top_k < logits.shape[-1]:
        threshold = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def _autocast_dtype(tensor: Tensor) -> torch.dtype:
    """What a product with `tensor` is computed in here."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


class _LayerSteps:
    """One layer of `Steps`."""

    def __init__(self, layer: TransformerLayer, batch_size: int, max_length: int, memory: Tensor | None) -> None:
        attention, cross = layer.attention, layer.cross
        self.heads, self.norm_is_last, self.norm_replaces_stream = (
            attention.num_heads,
            layer.norm_is_last,
            layer.norm_replaces_stream,
        )
        width = attention.project.in_features // self.heads
        scale = torch.ones(3, attention.project.in_features, device=attention.project.weight.device)
        scale[0] = width**-0.5  # of the queries, once and for all
        self.norm_attention = _norm(layer.norm_attention)
        self.to_query_key_value = _Map(attention.to_query_key_value, scale.flatten())
        self.project = _Map(attention.project)
        # Attention of one query is a matter of memory, and on CPUs slower in lower precision.
        self.dtype = self.project.dtype if scale.is_cuda else torch.float32
        kept = scale.new_empty(2, batch_size, self.heads, max_length, width, dtype=self.dtype)
        self.kept, (self.keys, self.values) = kept, kept.flatten(1, 2).unbind()
        self.cross = cross is not None
        if cross is not None:
            if memory is None:
                raise ValueError("these layers attend to a memory, and got none: pass memory")
            self.norm_cross = _norm(layer.norm_cross)
            self.to_query = _Map(cross.to_query, scale[0])
            self.project_cross = _Map(cross.project)
            known = cross.to_key_value(memory).to(self.dtype).unflatten(-1, (2, self.heads, width))
            self.known_keys, self.known_values = known.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind()
        self.norm_mlp = _norm(layer.norm_mlp)
        hidden, out = (module for module in layer.mlp if isinstance(module, nn.Linear))
        self.to_hidden, self.from_hidden = _Map(hidden), _Map(out)
        self.activate = torch.relu_ if layer.activation == "relu" else F.gelu

    def __call__(self, x: Tensor, position: int) -> Tensor:
        last = self.norm_is_last
        y = x if last else self.norm_attention(x)
        x = self.project.add_to(y if self.norm_replaces_stream else x, self._attend(y, position))
        if last:
            x = self.norm_attention(x)
        if self.cross:
            query = self.to_query(x if last else self.norm_cross(x))
            x = self.project_cross.add_to(x, self._weigh(query, self.known_keys, self.known_values))
            if last:
                x = self.norm_cross(x)
        hidden = self.activate(self.to_hidden(x if last else self.norm_mlp(x)))
        x = self.from_hidden.add_to(x, hidden)
        return self.norm_mlp(x) if last else x

    def _attend(self, y: Tensor, position: int) -> Tensor:
        new = self.to_query_key_value(y).view(len(y), 3, self.heads, -1)
        self.kept.select(3, position).copy_(new[:, 1:].transpose(0, 1))
        return self._weigh(new[:, 0], self.keys[:, : position + 1], self.values[:, : position + 1])

    def _weigh(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """One query (B, E) or (B, heads, width), and keys and values (B · heads, S, width) → (B, E)."""
        query = query.reshape(len(keys), 1, -1).to(self.dtype)
        weights = torch.bmm(query, keys.mT).softmax(-1)
        return torch.bmm(weights, values).view(len(keys) // self.heads, -1)


class _Map:
    """A linear map of a few rows."""

    def __init__(self, linear: nn.Linear, scale: Tensor | None = None) -> None:
        self.dtype = _autocast_dtype(linear.weight)
        weight, bias = linear.weight, linear.bias
        if scale is not None:  # of its outputs
            weight, bias = weight * scale[:, None], None if bias is None else bias * scale
        self.weight = weight.T.contiguous().to(self.dtype)
        self.bias = None if bias is None else bias.to(self.dtype)

    def __call__(self, y: Tensor) -> Tensor:
        y = y.to(self.dtype)
        return torch.mm(y, self.weight) if self.bias is None else torch.addmm(self.bias, y, self.weight)

    def add_to(self, x: Tensor, y: Tensor) -> Tensor:
        """x + the map of y."""
        if self.dtype != x.dtype:
            return x + self(y)
        x = torch.addmm(x, y, self.weight)
        return x if self.bias is None else x.add_(self.bias)


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    assert isinstance(norm, nn.LayerNorm)
    shape, weight, bias, eps = list(norm.normalized_shape), norm.weight, norm.bias, norm.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
