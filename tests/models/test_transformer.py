"""The transformer layer against PyTorch's layers that hold the same weights, and step by step against all at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.models import transformer
from src.models.transformer import CrossAttention, Dropout, SelfAttention, Steps, TransformerLayer

BATCH, LENGTH, MEMORY, WIDTH, HEADS = 2, 5, 3, 8, 2


def make_layer(**changes: object) -> TransformerLayer:
    layer = TransformerLayer(WIDTH, HEADS, **changes).eval()  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return layer


def causal_mask(length: int = LENGTH) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def copy_attention(ours: SelfAttention | CrossAttention, theirs: nn.MultiheadAttention) -> None:
    maps = [ours.to_query_key_value] if isinstance(ours, SelfAttention) else [ours.to_query, ours.to_key_value]
    theirs.in_proj_weight.copy_(torch.cat([m.weight for m in maps]))
    theirs.in_proj_bias.copy_(torch.cat([m.bias for m in maps]))
    theirs.out_proj.load_state_dict(ours.project.state_dict())


@torch.no_grad()
def torch_decoder_layer(layer: TransformerLayer, activation: str) -> nn.TransformerDecoderLayer:
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, activation, batch_first=True, norm_first=not layer.norm_is_last
    ).eval()
    assert layer.cross is not None
    copy_attention(layer.attention, theirs.self_attn)
    copy_attention(layer.cross, theirs.multihead_attn)
    for ours, other in (
        (layer.norm_attention, theirs.norm1),
        (layer.norm_cross, theirs.norm2),
        (layer.norm_mlp, theirs.norm3),
        (layer.mlp[0], theirs.linear1),
        (layer.mlp[2], theirs.linear2),
    ):
        other.load_state_dict(ours.state_dict())
    return theirs


# ---------------------------------------------------------------- one pass


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_it_equals_the_layers_of_pytorch(norm: str, activation: str, causal: bool) -> None:
    layer = make_layer(norm=norm, activation=activation, causal=causal, cross_attention=True)
    theirs = torch_decoder_layer(layer, activation)
    x, memory = torch.randn(BATCH, LENGTH, WIDTH), torch.randn(BATCH, MEMORY, WIDTH)
    expected = theirs(x, memory, tgt_mask=causal_mask() if causal else None)
    torch.testing.assert_close(layer(x, memory), expected)


def test_in_a_first_layer_the_norm_may_replace_the_stream() -> None:
    """Equal to "pre" on a stream that was normalised, with a first norm that does nothing."""
    layer, plain = make_layer(norm="stream"), make_layer(norm="pre")
    plain.load_state_dict(layer.state_dict())
    plain.norm_attention = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    x = torch.randn(BATCH, LENGTH, WIDTH)
    torch.testing.assert_close(layer(x), plain(layer.norm_attention(x)))
    torch.testing.assert_close(layer(3 * x), layer(x), atol=1e-4, rtol=1e-4)  # the stream's scale is lost


def test_attention_without_biases_has_none() -> None:
    layer = make_layer(attention_bias=False, cross_attention=True)
    attentions = [module for module in layer.modules() if isinstance(module, (SelfAttention, CrossAttention))]
    assert len(attentions) == 2
    assert not any(name.endswith("bias") for module in attentions for name, _ in module.named_parameters())


# ---------------------------------------------------------------- long sequences on a CPU


@pytest.mark.parametrize("length", [9, 16, 20])
def test_long_sequences_are_attended_to_in_parts(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "_LONG", 8)
    attention = SelfAttention(WIDTH, HEADS, dropout=0.5, bias=True, causal=True).eval()
    x = torch.randn(BATCH, length, WIDTH, requires_grad=True)
    query, key, value = (
        part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in attention.to_query_key_value(x).chunk(3, dim=-1)
    )
    expected = attention.project(
        F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
    )
    out = attention(x)
    torch.testing.assert_close(out, expected)
    direction = torch.randn_like(out)
    for ours, theirs in zip(
        torch.autograd.grad(out, [x, *attention.parameters()], direction),
        torch.autograd.grad(expected, [x, *attention.parameters()], direction),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_gradients_of_long_attention_know_what_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "_LONG", 2)

    def attend(*inputs: Tensor) -> Tensor:
        torch.manual_seed(0)
        return transformer._LongAttention.apply(*inputs, 0.5)

    inputs = [torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(attend, inputs)
    assert not torch.allclose(attend(*inputs), transformer._LongAttention.apply(*inputs, 0.0))


def test_long_attention_in_training_is_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "_LONG", 4)
    inputs = [torch.randn(1, 6, 4) for _ in range(3)]
    expected = transformer._LongAttention.apply(*inputs, 0.0)
    draws = torch.stack([transformer._LongAttention.apply(*inputs, 0.25) for _ in range(1000)])
    assert ((draws.mean(0) - expected).abs() < 5 * draws.std(0) / 1000**0.5 + 1e-6).all()


@pytest.mark.parametrize("long", [1, 10_000])
def test_dropout_drops_its_share_and_keeps_the_mean(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "_LONG", long)
    x = torch.full((3, 501, 67), 2.0, requires_grad=True)
    dropped = transformer.dropout(x, 0.25)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped[dropped != 0].unique().tolist() == [pytest.approx(2 / 0.75)]
    dropped.sum().backward()
    assert torch.equal(x.grad * 2, dropped.detach())  # pyright: ignore[reportOptionalOperand]
    assert transformer.dropout(x, 0.0) is x or torch.equal(transformer.dropout(x, 0.0), x)


# ---------------------------------------------------------------- step by step


@pytest.mark.parametrize("attention_bias", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("cross_attention", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post", "stream"])
@torch.no_grad()
def test_steps_equal_one_pass(norm: str, cross_attention: bool, activation: str, attention_bias: bool) -> None:
    kind = {"cross_attention": cross_attention, "activation": activation, "attention_bias": attention_bias}
    layers = [make_layer(norm=norm, **kind), make_layer(norm="pre", **kind)]
    x, memory = torch.randn(BATCH, LENGTH, WIDTH), torch.randn(BATCH, MEMORY, WIDTH)
    step = Steps(layers, BATCH, LENGTH, memory)
    untouched = x.clone()
    out = torch.stack([step(token) for token in x.unbind(1)], dim=1)
    torch.testing.assert_close(out, layers[1](layers[0](x, memory), memory))
    assert torch.equal(x, untouched)


@torch.no_grad()
def test_steps_compute_in_the_precision_of_autocast() -> None:
    layer, x = make_layer(), torch.randn(BATCH, LENGTH, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = Steps([layer], BATCH, LENGTH)
        expected = layer(x)
    out = torch.stack([step(token) for token in x.unbind(1)], dim=1)
    assert step.dtype == torch.bfloat16 and out.dtype == torch.float32
    assert not torch.equal(out, layer(x))
    torch.testing.assert_close(out, expected, atol=0.05, rtol=0.05)


# ---------------------------------------------------------------- dropout


def test_dropout_acts_in_training_only() -> None:
    for norm in ("pre", "post", "stream"):
        layer, x = make_layer(norm=norm, dropout=0.5), torch.randn(BATCH, LENGTH, WIDTH)
        assert torch.equal(layer(x), layer(x))
        layer.train()
        assert not torch.equal(layer(x), layer(x))


def test_post_norm_layers_drop_hidden_units_as_those_of_pytorch_do() -> None:
    assert [m.p for m in make_layer(norm="post", dropout=0.3).mlp.modules() if isinstance(m, Dropout)] == [0.3]
    assert not any(isinstance(m, Dropout) for m in make_layer(norm="pre", dropout=0.3).mlp.modules())


# ---------------------------------------------------------------- errors


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="embed_dim=8 does not divide into num_heads=3"):
        TransformerLayer(8, 3)
    with pytest.raises(ValueError, match="num_heads must be an integer of at least 1, got 0"):
        TransformerLayer(8, 0)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got 1"):
        make_layer(dropout=1)
    with pytest.raises(ValueError, match="unknown norm 'last': choose one of pre, post, stream"):
        make_layer(norm="last")
    with pytest.raises(ValueError, match="unknown activation 'elu': choose one of gelu, relu"):
        make_layer(activation="elu")


def test_a_memory_is_missed() -> None:
    with pytest.raises(ValueError, match="these layers attend to a memory, and got none"):
        Steps([make_layer(cross_attention=True)], BATCH, LENGTH)
