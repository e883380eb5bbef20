"""Names: state dicts of the paper's official code → state dicts of our modules.

A table is a list of rules, one for each of our tensors: of which official ones it is made, and how. `renamed` applies a
table and names whatever does not fit. Nothing is computed: tensors are joined, cut, transposed and given our shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Rule(NamedTuple):
    """How one of our tensors is made of official ones."""

    ours: str
    official: tuple[str, ...]
    make: Callable[..., Tensor]  # (our shape, the official tensors) → ours


def renamed(official: Mapping[str, Tensor], rules: list[Rule], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a module of ours that holds official weights.

    Args:
        official: the official state dict.
        rules: the table.
        ours: the state dict of such a module, with any weights: the shapes to reach, and buffers of ours that no
            official tensor tells.

    Raises:
        ValueError: in one line, every official tensor that is missing, has the wrong shape or is in no rule.
    """
    needed = {name for rule in rules for name in rule.official}
    problems = [f"{name} is missing" for name in sorted(needed - official.keys())]
    problems += [f"{name} is unexpected" for name in sorted(official.keys() - needed)]
    state = dict(ours)
    for rule in rules:
        parts, shape = [official[name] for name in rule.official if name in official], tuple(ours[rule.ours].shape)
        if len(parts) < len(rule.official):
            continue
        try:
            made = rule.make(shape, *parts)
        except (RuntimeError, IndexError):  # not even the number of dimensions, or of values, is right
            made = None
        if made is None or made.shape != shape:
            found = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(rule.official, parts, strict=True))
            problems.append(f"{found} does not fit {rule.ours} {shape}")
        else:
            state[rule.ours] = made.to(ours[rule.ours].dtype).contiguous()
    if problems:
        raise ValueError(f"this is no state dict of such a model: {'; '.join(problems)}")
    return state


# ---------------------------------------------------------------- how a tensor is made

Shape = tuple[int, ...]


def _same(_: Shape, tensor: Tensor) -> Tensor:
    return tensor


def _joined(_: Shape, *tensors: Tensor) -> Tensor:
    return torch.cat(tensors)


def _patch_map(_: Shape, kernel: Tensor) -> Tensor:
    """A convolution that sees every pixel once, (out, channels, k, k), as a linear map (out, channels · k · k)."""
    return kernel.flatten(1)


def _lookup(_: Shape, kernel: Tensor) -> Tensor:
    """A 1 × 1 convolution of one-hot vectors, (out, in, 1, 1), as a table (in, out)."""
    return kernel[:, :, 0, 0].T


def _vector(_: Shape, tensor: Tensor) -> Tensor:
    return tensor[0, 0]


def _of_blocks(shape: Shape, vector: Tensor) -> Tensor:
    """(..., M · width) → (M, width)."""
    return vector.flatten().unflatten(0, (*shape[:1], -1))


def _sequence(_: Shape, table: Tensor) -> Tensor:
    return table[0]


def _sequence_but_last(_: Shape, table: Tensor) -> Tensor:
    """Positions (1, 1 + L, E) → (L, E): the last would be that of what follows the last token."""
    return table[0, :-1]


def _of_codes(shape: Shape, table: Tensor) -> Tensor:
    """Rows for the codes of all codebooks, (M · K, E) → (M, K, E)."""
    return table.unflatten(0, (shape[0], -1))


def _to_codes(shape: Shape, table: Tensor) -> Tensor:
    """A joint output layer (M · K, E) → one a block (M, E, K)."""
    return table.unflatten(0, (shape[0], -1)).mT


def _of_prototypes(_: Shape, table: Tensor) -> Tensor:
    """(1, K, M, C) → (M, K, C)."""
    return table[0].transpose(0, 1)


def _diagonal_of_gates(shape: Shape, weight: Tensor) -> Tensor:
    """A GRU's dense weights (3 · D, D), gates one after another, → those within blocks (M, C, 3 · C).

    What joins different blocks is masked in the official code, so it is left out, whatever it is.
    """
    blocks = weight.unflatten(0, (3, shape[0], -1)).unflatten(-1, (shape[0], -1))  # (3, M, C out, M, C in)
    return blocks.diagonal(dim1=1, dim2=3).permute(3, 2, 0, 1).flatten(2)


def _gates_of_blocks(shape: Shape, bias: Tensor) -> Tensor:
    """(3 · D) → (M, 3 · C)."""
    return bias.unflatten(0, (3, shape[0], -1)).transpose(0, 1).flatten(1)


# ---------------------------------------------------------------- tables


def _layer(ours: str, official: str) -> list[Rule]:
    """Weight and bias of a layer whose tensors have the same shapes in both."""
    return [Rule(f"{ours}.{part}", (f"{official}.{part}",), _same) for part in ("weight", "bias")]


def _attention(ours: str, official: str, joined: dict[str, str]) -> list[Rule]:
    """An attention without biases whose queries, keys and values are made by one of our layers, or two."""
    rules = [
        Rule(f"{ours}.{name}.weight", tuple(f"{official}.proj_{part}.weight" for part in parts), _joined)
        for name, parts in joined.items()
    ]
    return [*rules, Rule(f"{ours}.project.weight", (f"{official}.proj_o.weight",), _same)]


def _block_linear(ours: str, official: str) -> list[Rule]:
    return [Rule(f"{ours}.weight", (f"{official}.w",), _same), Rule(f"{ours}.bias", (f"{official}.b",), _of_blocks)]


def dvae_rules(ours: str = "", official: str = "dvae.") -> list[Rule]:
    """Of `DVAE`."""
    rules = []
    for number in range(8):
        name = f"{official}encoder.{number}" + (".m" if number < 7 else "")
        rules.append(Rule(f"{ours}encoder.{2 * number}.weight", (f"{name}.weight",), _patch_map))
        rules.append(Rule(f"{ours}encoder.{2 * number}.bias", (f"{name}.bias",), _same))
    rules.append(Rule(f"{ours}token_features", (f"{official}decoder.0.m.weight",), _lookup))
    rules.append(Rule(f"{ours}token_bias", (f"{official}decoder.0.m.bias",), _same))
    # Our activations are modules of their own, and its pixel shuffles are the numbers left out.
    numbers = {1: 1, 3: 2, 5: 3, 7: 4, 10: 6, 12: 7, 14: 8, 16: 9}
    for number, theirs in numbers.items():
        rules += _layer(f"{ours}decoder.{number}", f"{official}decoder.{theirs}.m")
    return rules + _layer(f"{ours}decoder.19", f"{official}decoder.11")


def token_decoder_rules(num_layers: int, ours: str = "", official: str = "image_decoder.") -> list[Rule]:
    """Of `TokenDecoder`, its dVAE included."""
    rules = dvae_rules(f"{ours}dvae.")
    rules += _block_linear(f"{ours}from_block", f"{official}slot_proj")
    rules += [Rule(f"{ours}block_position", (f"{official}block_pos",), _of_blocks)]
    for number in (0, 2):
        rules += _block_linear(f"{ours}position_mlp.{number}", f"{official}block_pos_proj.{number}")

    coupler, its = f"{ours}coupler", f"{official}block_coupler.blocks.0"
    rules += _layer(f"{coupler}.norm_attention", f"{its}.attn_layer_norm")
    rules += _attention(f"{coupler}.attention", f"{its}.attn", {"to_query_key_value": "qkv"})
    rules += _mlp(coupler, its)
    rules += _layer(f"{ours}coupler_norm", f"{official}block_coupler.layer_norm")

    rules += [
        Rule(f"{ours}token_embedding", (f"{official}dict.dictionary.weight",), _same),
        Rule(f"{ours}begin", (f"{official}bos",), _vector),
        Rule(f"{ours}position_embedding", (f"{official}decoder_pos.pe",), _sequence_but_last),
        Rule(f"{ours}head.weight", (f"{official}head.weight",), _same),
    ]
    for number in range(num_layers):
        layer, its = f"{ours}layers.{number}", f"{official}tf.blocks.{number}"
        rules += _layer(f"{layer}.norm_attention", f"{its}.self_attn_layer_norm")
        rules += _attention(f"{layer}.attention", f"{its}.self_attn", {"to_query_key_value": "qkv"})
        rules += _layer(f"{layer}.norm_cross", f"{its}.encoder_decoder_attn_layer_norm")
        rules += _attention(f"{layer}.cross", f"{its}.encoder_decoder_attn", {"to_query": "q", "to_key_value": "kv"})
        rules += _mlp(layer, its)
    return rules + _layer(f"{ours}norm", f"{official}tf.layer_norm")


def _mlp(ours: str, official: str) -> list[Rule]:
    rules = _layer(f"{ours}.norm_mlp", f"{official}.ffn_layer_norm")
    for number in (0, 2):
        rules += _layer(f"{ours}.mlp.{number}", f"{official}.ffn.{number}")
    return rules


def prior_rules(num_layers: int, ours: str = "", official: str = "") -> list[Rule]:
    """Of `AutoregressiveTransformer` with style="paper"; our output layers are slices of the official joint one."""
    rules = [
        Rule(f"{ours}code_embedding", (f"{official}embedding.weight",), _of_codes),
        Rule(f"{ours}begin", (f"{official}bos",), _vector),
        Rule(f"{ours}position_embedding", (f"{official}pos.pe",), _sequence),
        Rule(f"{ours}head", (f"{official}head.weight",), _to_codes),
    ]
    for number in range(num_layers):
        layer, its = f"{ours}layers.{number}", f"{official}tf.layers.{number}"
        for part in ("weight", "bias"):
            name = f"{layer}.attention.to_query_key_value.{part}"
            rules.append(Rule(name, (f"{its}.self_attn.in_proj_{part}",), _same))
        rules += _layer(f"{layer}.attention.project", f"{its}.self_attn.out_proj")
        rules += _layer(f"{layer}.norm_attention", f"{its}.norm1") + _layer(f"{layer}.norm_mlp", f"{its}.norm2")
        rules += _layer(f"{layer}.mlp.0", f"{its}.linear1") + _layer(f"{layer}.mlp.2", f"{its}.linear2")
    return rules


def encoder_rules(learned: bool, ours: str = "", attention: str = "nlotm") -> list[Rule]:
    """Of `SlotAttentionEncoder`.

    Args:
        learned: whether every slot has an initial embedding of its own.
        attention: what slot attention is called, "nlotm" or "sysbinder".
    """
    official = "image_encoder."
    rules = []
    for number in range(4):
        name = f"{official}cnn.{number}" + (".m" if number < 3 else "")
        rules += _layer(f"{ours}backbone.convolutions.{number}", name)
    rules += [
        Rule(f"{ours}backbone.embed_position.weight", (f"{official}pos.projection.weight",), _patch_map),
        Rule(f"{ours}backbone.embed_position.bias", (f"{official}pos.projection.bias",), _same),
    ]
    rules += _layer(f"{ours}backbone.features.0", f"{official}layer_norm")
    rules += _layer(f"{ours}backbone.features.1", f"{official}mlp.0")
    rules += _layer(f"{ours}backbone.features.3", f"{official}mlp.2")

    slots, its = f"{ours}slot_attention", f"{official}{attention}"
    rules += _layer(f"{slots}.norm_inputs", f"{its}.norm_inputs") + _layer(f"{slots}.norm_slots", f"{its}.norm_slots")
    for name in ("query", "key", "value"):
        rules.append(Rule(f"{slots}.to_{name}.weight", (f"{its}.project_{name[0]}.weight",), _same))
    for name, suffix in (("from_input", "ih"), ("from_state", "hh")):
        rules.append(Rule(f"{slots}.gru.{name}.weight", (f"{its}.gru.gru.weight_{suffix}",), _diagonal_of_gates))
        rules.append(Rule(f"{slots}.gru.{name}.bias", (f"{its}.gru.gru.bias_{suffix}",), _gates_of_blocks))
    rules += _block_linear(f"{slots}.mlp.hidden", f"{its}.mlp.0") + _block_linear(f"{slots}.mlp.out", f"{its}.mlp.2")
    if learned:
        return [*rules, Rule(f"{slots}.initial_slots", (f"{its}.learned_init_slots.weight",), _same)]
    return [
        *rules,
        Rule(f"{slots}.initial_mean", (f"{its}.slot_mu",), _vector),
        Rule(f"{slots}.initial_log_std", (f"{its}.slot_log_sigma",), _vector),
    ]


def quantizer_rules(ours: str = "", attention: str = "nlotm") -> list[Rule]:
    """Of `SemanticVectorQuantizer`."""
    official = f"image_encoder.{attention}.prototype_memory."
    names = {"codebook": "mem.weight", "ema_sum": "_ema_w", "ema_count": "_ema_cluster_size"}
    return [Rule(f"{ours}{name}", (f"{official}{theirs}",), _of_codes) for name, theirs in names.items()]


def memory_rules(ours: str = "", attention: str = "nlotm") -> list[Rule]:
    """Of `PrototypeMemory`."""
    official = f"image_encoder.{attention}.prototype_memory."
    rules = [Rule(f"{ours}prototypes", (f"{official}mem_params",), _of_prototypes)]
    for number in (0, 2, 4, 6):
        rules += _layer(f"{ours}mlp.{number}", f"{official}mem_proj.{number}")
    return rules
