"""Image → slots: a convolutional backbone and slot attention (Locatello et al. 2020; section 3.1 of the paper)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.distributed import own_rows, world_size
from .backbone import Backbone
from .block_layers import BlockGRUCell, BlockMLP
from .checks import require_choice, require_divisible, require_positive, require_weight
from .prototype_memory import PrototypeMemory
from .vector_quantizer import SemanticVectorQuantizer

SLOT_INITS = ("random", "learned", "learned_noisy")
QUANTIZE_AT = ("last", "every")
_QUERY_GAIN = 8  # attention logits start with a standard deviation of about 3
_EPSILON = 1e-8  # keeps the weighted mean of a slot that attends nowhere finite


class Slots(NamedTuple):
    """What slot attention finds. `codes` is None without a quantizer, whose `commitment` is then 0."""

    slots: Tensor  # (B, N, D) float32 as they came out of the last update, before any quantization
    quantized: Tensor  # (B, N, D) float32; `slots` itself without a quantizer
    attention: Tensor  # (B, N, h·w) float32 in [0, 1], sums to 1 over the slots
    codes: Tensor | None  # (B, N, M) int64
    commitment: Tensor  # scalar, of the last iteration


class _Scores(torch.autograd.Function):
    """`queries @ inputs.mT` of (B, N, E) and (B, L, E); the gradient of the inputs keeps their layout.

    PyTorch's comes out transposed, and adding it to another one takes several times as long as computing it.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(queries, inputs)
        return queries @ inputs.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        queries, inputs = ctx.saved_tensors
        return gradient @ inputs, gradient.mT @ queries


class SlotAttention(nn.Module):
    """Iterative attention in which N slots compete for the inputs and are updated block by block.

    Slots start as samples of one learned Gaussian (`slot_init="random"`), from one learned embedding each
    (`"learned"`), or from such an embedding plus standard normal noise (`"learned_noisy"`, what the official code calls
    learned). In eval mode the noise is the same for every image and every call, so that an image always gets the same
    codes.

    With `salience` and `implicit` off and `inhibition` 0 it is the published attention (Locatello et al. 2020,
    algorithm 1), and starts like it.

    Args:
        num_slots: N.
        slot_dim: D; `num_blocks` must divide it.
        input_dim: width of the inputs.
        num_iterations: attention iterations, at least 1.
        num_blocks: M; GRU and MLP are block-diagonal.
        hidden_dim: width of the residual MLP, all blocks together.
        slot_init: "random", "learned" or "learned_noisy".
        implicit: take the gradient through the last iteration only, with a straight-through estimator to the initial
            slots (implicit slot attention, Chang et al. 2022; Jia et al. 2023); otherwise through all of them.
        salience: weigh every input by a learned salience in (0, 1), and let a slot that owns little of it move
            little. Without it a plain background, shared out among the slots, drowns their objects in the mean, and
            slots without an object copy those of others. Our addition; False gives the published attention.
        inhibition: how strongly a slot gives way, before it is updated, to larger slots that claim the same inputs:
            what it loses in the competition, in logits, for all that they claim of its inputs beyond chance. Slots
            that hold the same object are a fixed point of the published attention (0); here the larger one wins it.
        quantize_at: where a quantizer, if one is given to `forward`, acts: after the "last" iteration, or after "every"
            one, so that quantized slots enter the next (the paper).
    """

    eval_noise: Tensor

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        input_dim: int,
        num_iterations: int = 3,
        num_blocks: int = 1,
        hidden_dim: int = 128,
        slot_init: str = "random",
        implicit: bool = True,
        salience: bool = True,
        inhibition: float = 3.0,
        quantize_at: str = "last",
    ) -> None:
        super().__init__()
        require_positive(
            num_slots=num_slots,
            slot_dim=slot_dim,
            input_dim=input_dim,
            num_iterations=num_iterations,
            num_blocks=num_blocks,
            hidden_dim=hidden_dim,
        )
        require_divisible("slot_dim", slot_dim, "num_blocks", num_blocks)
        require_divisible("hidden_dim", hidden_dim, "num_blocks", num_blocks)
        require_weight(inhibition=inhibition)
        require_choice("slot_init", slot_init, SLOT_INITS)
        require_choice("quantize_at", quantize_at, QUANTIZE_AT)
        self.num_slots, self.slot_dim = num_slots, slot_dim
        self.num_iterations, self.num_blocks = num_iterations, num_blocks
        self.slot_init, self.quantize_at = slot_init, quantize_at
        self.implicit, self.inhibition = implicit, inhibition

        self.norm_inputs = nn.LayerNorm(input_dim)
        self.norm_slots = nn.LayerNorm(slot_dim)
        self.to_key = nn.Linear(input_dim, slot_dim, bias=False)
        self.to_value = nn.Linear(input_dim, slot_dim, bias=False)
        self.to_query = nn.Linear(slot_dim, slot_dim, bias=False)
        if salience or implicit or inhibition:
            with torch.no_grad():
                # With the usual small start all slots attend to everything alike, become alike, and may stay so.
                self.to_query.weight.mul_(_QUERY_GAIN)
        self.to_salience = nn.Linear(input_dim, 1) if salience else None
        block_dim = slot_dim // num_blocks
        self.gru = BlockGRUCell(num_blocks, block_dim)
        self.mlp = BlockMLP(num_blocks, block_dim, hidden_dim // num_blocks)
        if slot_init == "random":
            self.initial_mean = nn.Parameter(torch.zeros(slot_dim))
            self.initial_log_std = nn.Parameter(torch.zeros(slot_dim))
        else:
            self.initial_slots = nn.Parameter(torch.randn(num_slots, slot_dim))
        if slot_init != "learned":
            self.register_buffer("eval_noise", torch.randn(num_slots, slot_dim))

    def forward(
        self,
        inputs: Tensor,
        quantizer: SemanticVectorQuantizer | PrototypeMemory | None = None,
        noise: Tensor | None = None,
    ) -> Slots:
        """Binds `inputs` (B, L, input_dim) to slots.

        `noise` (B, N, D) takes the place of the standard normal draw of sampled slots; learned slots refuse it.
        """
        with torch.autocast(inputs.device.type, enabled=False):  # small products, and a softmax that needs float32
            inputs = self.norm_inputs(inputs.float())
            salience = None if self.to_salience is None else torch.sigmoid(self.to_salience(inputs)).mT  # (B, 1, L)
            scene = (inputs, salience, quantizer)
            slots = initial = self._initial_slots(inputs.shape[0], noise)
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.implicit):
                for _ in range(self.num_iterations - 1):
                    slots = self._iterate(slots, *scene, last=False).quantized
            if self.implicit:
                slots = slots.detach() + initial - initial.detach()
            return self._iterate(slots, *scene, last=True)

    def _iterate(
        self,
        slots: Tensor,
        inputs: Tensor,
        salience: Tensor | None,
        quantizer: SemanticVectorQuantizer | PrototypeMemory | None,
        last: bool,
    ) -> Slots:
        # Query · (key map · input) = (query · key map) · input, and the mean of mapped inputs is the mapped mean: so it
        # is a few slots that pass through both maps, not all the inputs.
        queries = self.to_query(self.norm_slots(slots)) @ self.to_key.weight * self.slot_dim**-0.5  # (B, N, input_dim)
        logits = _Scores.apply(queries, inputs)
        attention = torch.softmax(logits, dim=1)  # (B, N, L), over slots: they compete
        if self.inhibition:
            claimed = claimed_by_larger(attention, 1 if salience is None else salience)
            attention = torch.softmax(logits - self.inhibition * claimed, dim=1)
        if salience is None:
            weights = attention + _EPSILON
            total = weights.sum(dim=-1, keepdim=True)
        else:
            weights = attention * salience
            total = weights.sum(dim=-1, keepdim=True) + 1  # 1: one fully salient input
        update = self.to_value(weights @ inputs / total)
        per_block = (self.num_blocks, -1)
        blocks = self.gru(update.unflatten(-1, per_block), slots.unflatten(-1, per_block))
        slots = self.mlp(blocks).flatten(-2)
        if quantizer is None or not (last or self.quantize_at == "every"):
            return Slots(slots, slots, attention, None, slots.new_zeros(()))
        quantized, codes, commitment = quantizer(slots)
        return Slots(slots, quantized, attention, codes, commitment)

    def _initial_slots(self, batch_size: int, noise: Tensor | None) -> Tensor:
        shape = (batch_size, self.num_slots, self.slot_dim)
        if self.slot_init == "learned":
            if noise is not None:
                raise ValueError("learned initial slots take no noise: leave it out, or use slot_init='random'")
            return self.initial_slots.expand(shape)
        if noise is None:
            noise = self._draw_noise(batch_size) if self.training else self.eval_noise
        elif noise.shape != shape:
            raise ValueError(f"noise had shape {tuple(noise.shape)} but expected {shape}")
        if self.slot_init == "learned_noisy":
            return (self.initial_slots + noise).expand(shape)
        return self.initial_mean + self.initial_log_std.exp() * noise

    def _draw_noise(self, batch_size: int) -> Tensor:
        """Standard normal (B, N, D), of this process's scenes among those of all."""
        shape = (batch_size * world_size(), self.num_slots, self.slot_dim)
        return own_rows(torch.randn(shape, device=self.eval_noise.device))


def claimed_by_larger(attention: Tensor, salience: Tensor | float) -> Tensor:
    """How much of what each slot owns is claimed by slots that own more, beyond chance, (B, N, 1): 0 means nothing.

    `attention` (B, N, L) in [0, 1] sums to 1 over the slots; an input counts as much as its `salience` (B, 1, L).
    Chance is 1 / N from each larger slot, as among slots that do not differ yet: early in training those would
    otherwise all give way to one.
    """
    owned = attention * salience
    mass = owned.sum(dim=-1)  # (B, N)
    claimed = owned @ attention.mT / (mass.unsqueeze(-1) + _EPSILON) - 1 / attention.shape[1]  # (B, N, N)
    larger = mass.unsqueeze(1) > mass.unsqueeze(2)  # [b, n, m]: slot m owns more than slot n
    return (F.relu(claimed) * larger).sum(dim=-1, keepdim=True)


class SlotAttentionEncoder(nn.Module):
    """Image → slots: a `Backbone`, and slot attention on its features.

    Args:
        image_size: H = W, pixels; see `Backbone`.
        num_slots: N.
        num_iterations: slot attention iterations.
        in_channels: image channels.
        slot_size: D.
        hidden_dim: width of the convolutions.
        num_blocks: M, blocks a slot; 1 gives the ordinary slot attention.
        slot_init, implicit, salience, inhibition, quantize_at: see `SlotAttention`.
        backbone: "small" or "paper", see `Backbone`.
        feature_dim: width of the features; None: `hidden_dim`.
        slot_mlp_dim: width of the slots' residual MLP, all blocks together; None: 2 · `slot_size`.
    """

    def __init__(
        self,
        image_size: int = 64,
        num_slots: int = 4,
        num_iterations: int = 3,
        in_channels: int = 3,
        slot_size: int = 64,
        hidden_dim: int = 64,
        num_blocks: int = 1,
        slot_init: str = "random",
        implicit: bool = True,
        salience: bool = True,
        inhibition: float = 3.0,
        quantize_at: str = "last",
        backbone: str = "small",
        feature_dim: int | None = None,
        slot_mlp_dim: int | None = None,
    ) -> None:
        super().__init__()
        feature_dim = hidden_dim if feature_dim is None else feature_dim
        self.backbone = Backbone(backbone, image_size, in_channels, hidden_dim, feature_dim)
        self.slot_attention = SlotAttention(
            num_slots,
            slot_size,
            feature_dim,
            num_iterations,
            num_blocks,
            hidden_dim=2 * slot_size if slot_mlp_dim is None else slot_mlp_dim,
            slot_init=slot_init,
            implicit=implicit,
            salience=salience,
            inhibition=inhibition,
            quantize_at=quantize_at,
        )

    def forward(
        self,
        image: Tensor,
        quantizer: SemanticVectorQuantizer | PrototypeMemory | None = None,
        noise: Tensor | None = None,
    ) -> Slots:
        """`image` (B, in_channels, H, W) in [0, 1] → `Slots`, with h·w attention weights a slot."""
        return self.slot_attention(self.backbone(image), quantizer, noise)
