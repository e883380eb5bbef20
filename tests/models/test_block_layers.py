"""Block layers against M separate layers of PyTorch that hold the same weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.block_layers import BlockGRUCell, BlockLinear, BlockMLP

BLOCKS, IN, OUT = 3, 4, 5


def linear_of_block(layer: BlockLinear, block: int) -> nn.Linear:
    """An `nn.Linear` with the weights of one block."""
    _, in_features, out_features = layer.weight.shape
    linear = nn.Linear(in_features, out_features)
    with torch.no_grad():
        linear.weight.copy_(layer.weight[block].T)
        linear.bias.copy_(layer.bias[block])
    return linear


def gru_of_block(cell: BlockGRUCell, block: int) -> nn.GRUCell:
    """An `nn.GRUCell` with the weights of one block."""
    dim = cell.from_input.weight.shape[1]
    gru = nn.GRUCell(dim, dim)
    with torch.no_grad():
        gru.weight_ih.copy_(cell.from_input.weight[block].T)
        gru.weight_hh.copy_(cell.from_state.weight[block].T)
        gru.bias_ih.copy_(cell.from_input.bias[block])
        gru.bias_hh.copy_(cell.from_state.bias[block])
    return gru


@pytest.mark.parametrize("leading", [(7,), (2, 6), (2, 3, 4)])
def test_block_linear_equals_separate_linear_layers(leading: tuple[int, ...]) -> None:
    layer = BlockLinear(BLOCKS, IN, OUT)
    x = torch.randn(*leading, BLOCKS, IN)
    expected = torch.stack([linear_of_block(layer, b)(x[..., b, :]) for b in range(BLOCKS)], dim=-2)
    out = layer(x)
    assert out.shape == (*leading, BLOCKS, OUT)
    torch.testing.assert_close(out, expected)


def test_block_linear_starts_as_widely_as_nn_linear() -> None:
    layer = BlockLinear(50, 16, 20)
    for parameter in (layer.weight, layer.bias):  # uniform in ±1/√16, standard deviation 0.25/√3
        assert parameter.abs().max() <= 0.25
        assert parameter.std().item() == pytest.approx(0.25 / 3**0.5, rel=0.1)


def test_block_gru_equals_separate_gru_cells() -> None:
    cell = BlockGRUCell(BLOCKS, IN)
    update, state = torch.randn(2, 6, BLOCKS, IN), torch.randn(2, 6, BLOCKS, IN)
    out = cell(update, state)
    assert out.shape == state.shape
    for block in range(BLOCKS):
        expected = gru_of_block(cell, block)(update[..., block, :].flatten(0, 1), state[..., block, :].flatten(0, 1))
        torch.testing.assert_close(out[..., block, :].flatten(0, 1), expected)


def test_gradients_of_the_block_gru_equal_those_of_a_gru_cell() -> None:
    cell = BlockGRUCell(1, IN)
    gru = gru_of_block(cell, 0)
    update, state, weights = torch.randn(3, 9, IN).unbind()
    (cell(update.unsqueeze(1), state.unsqueeze(1)).squeeze(1) * weights).sum().backward()
    (gru(update, state) * weights).sum().backward()
    torch.testing.assert_close(cell.from_input.weight.grad[0].T, gru.weight_ih.grad)
    torch.testing.assert_close(cell.from_state.weight.grad[0].T, gru.weight_hh.grad)
    torch.testing.assert_close(cell.from_input.bias.grad[0], gru.bias_ih.grad)
    torch.testing.assert_close(cell.from_state.bias.grad[0], gru.bias_hh.grad)


def test_block_mlp_equals_separate_residual_perceptrons() -> None:
    mlp = BlockMLP(BLOCKS, IN, 2 * IN)
    x = torch.randn(2, 6, BLOCKS, IN)
    for block in range(BLOCKS):
        part = x[..., block, :]
        centred = part - part.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        hidden = F.relu(linear_of_block(mlp.hidden, block)(normed))
        expected = part + linear_of_block(mlp.out, block)(hidden)
        torch.testing.assert_close(mlp(x)[..., block, :], expected)


@pytest.mark.parametrize(
    "layer",
    [
        BlockLinear(BLOCKS, IN, OUT),
        BlockMLP(BLOCKS, IN, 2 * IN),
        lambda x: BlockGRUCell(BLOCKS, IN)(x, x.flip(0)),
        lambda x: BlockGRUCell(BLOCKS, IN)(torch.zeros_like(x), x),
    ],
    ids=["linear", "mlp", "gru", "gru-state"],
)
def test_blocks_never_mix(layer: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(6, BLOCKS, IN, requires_grad=True)
    out = layer(x)
    for block in range(BLOCKS):
        (gradient,) = torch.autograd.grad(out[:, block].square().sum(), x, retain_graph=True)
        others = [other for other in range(BLOCKS) if other != block]
        assert gradient[:, block].abs().max() > 0
        assert torch.equal(gradient[:, others], torch.zeros_like(gradient[:, others]))
