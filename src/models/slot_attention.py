"""Image → slots: a convolutional backbone and slot attention (Locatello et al. 2020; section 3.1 of the paper)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .block_layers import BlockGRUCell, BlockMLP
from .checks import require_choice, require_divisible, require_image, require_multiple, require_positive
from .position import coordinate_grid, fourier_features
from .vector_quantizer import SemanticVectorQuantizer

SLOT_INITS = ("random", "learned")
QUANTIZE_AT = ("last", "every")
_QUERY_GAIN = 8  # attention logits start with a standard deviation of about 3
_EPSILON = 1e-8  # keeps the weighted mean of a slot that attends nowhere finite


class Slots(NamedTuple):
    """What slot attention finds. `codes` and `commitment` are None without a quantizer."""

    slots: Tensor  # (B, N, D) float32 as they came out of the last update, before any quantization
    quantized: Tensor  # (B, N, D) float32; `slots` itself without a quantizer
    attention: Tensor  # (B, N, h·w) float32 in [0, 1], sums to 1 over the slots
    codes: Tensor | None  # (B, N, M) int64
    commitment: Tensor | None  # scalar, of the last iteration


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

    Slots start as samples of one learned Gaussian (`slot_init="random"`), or from one learned embedding each
    (`"learned"`). In eval mode the samples are the same for every image and every call, so that an image always gets
    the same codes.

    Args:
        num_slots: N.
        slot_dim: D; `num_blocks` must divide it.
        input_dim: width of the inputs.
        num_iterations: attention iterations, at least 1.
        num_blocks: M; GRU and MLP are block-diagonal.
        hidden_dim: width of the residual MLP, all blocks together.
        slot_init: "random" or "learned".
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
        if not inhibition >= 0:
            raise ValueError(f"inhibition must not be negative, got {inhibition}")
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
        with torch.no_grad():
            # With the usual small start all slots attend to everything alike, become alike, and may stay so for good.
            self.to_query.weight.mul_(_QUERY_GAIN)
        self.to_salience = nn.Linear(input_dim, 1) if salience else None
        block_dim = slot_dim // num_blocks
        self.gru = BlockGRUCell(num_blocks, block_dim)
        self.mlp = BlockMLP(num_blocks, block_dim, max(block_dim, hidden_dim // num_blocks))
        if slot_init == "learned":
            self.initial_slots = nn.Parameter(torch.randn(num_slots, slot_dim))
        else:
            self.initial_mean = nn.Parameter(torch.zeros(slot_dim))
            self.initial_log_std = nn.Parameter(torch.zeros(slot_dim))
            self.register_buffer("eval_noise", torch.randn(num_slots, slot_dim))

    eval_noise: Tensor

    def forward(
        self,
        inputs: Tensor,
        quantizer: SemanticVectorQuantizer | None = None,
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
        quantizer: SemanticVectorQuantizer | None,
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
            weights = weights / weights.sum(dim=-1, keepdim=True)
        else:
            weights = attention * salience
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1)  # 1: one fully salient input
        per_block = (self.num_blocks, -1)
        blocks = self.gru(self.to_value(weights @ inputs).unflatten(-1, per_block), slots.unflatten(-1, per_block))
        slots = self.mlp(blocks).flatten(-2)
        if quantizer is None or not (last or self.quantize_at == "every"):
            return Slots(slots, slots, attention, None, None)
        quantized, codes, commitment = quantizer(slots)
        return Slots(slots, quantized, attention, codes, commitment)

    def _initial_slots(self, batch_size: int, noise: Tensor | None) -> Tensor:
        shape = (batch_size, self.num_slots, self.slot_dim)
        if self.slot_init == "learned":
            if noise is not None:
                raise ValueError("learned initial slots take no noise: leave it out, or use slot_init='random'")
            return self.initial_slots.expand(shape)
        if noise is None:
            noise = torch.randn(shape, device=self.initial_mean.device) if self.training else self.eval_noise
        elif noise.shape != shape:
            raise ValueError(f"noise had shape {tuple(noise.shape)} but expected {shape}")
        return self.initial_mean + self.initial_log_std.exp() * noise


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
    """Image → slots: four 5×5 convolutions, a position embedding, a residual MLP, and slot attention on its
    outputs.

    The feature grid has a quarter of the image's side (two convolutions of stride 2).

    Args:
        image_size: H = W, pixels; divisible by 4.
        num_slots: N.
        num_iterations: slot attention iterations.
        in_channels: image channels.
        slot_size: D.
        hidden_dim: width of the convolutions and of the features.
        num_blocks: M, blocks a slot; 1 gives the ordinary slot attention.
        slot_init, implicit, salience, inhibition, quantize_at: see `SlotAttention`.
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
    ) -> None:
        super().__init__()
        require_positive(image_size=image_size, in_channels=in_channels, hidden_dim=hidden_dim)
        require_multiple("image_size", image_size, 4)
        self.image_size, self.in_channels = image_size, in_channels
        self.grid_size = image_size // 4
        self.convolutions = nn.ModuleList(
            nn.Conv2d(in_channels if i == 0 else hidden_dim, hidden_dim, 5, stride=stride, padding=2)
            for i, stride in enumerate((2, 2, 1, 1))
        )
        self.register_buffer(
            "position", fourier_features(coordinate_grid(self.grid_size, self.grid_size), 4), persistent=False
        )
        self.embed_position = nn.Linear(self.position.shape[-1], hidden_dim)
        self.features = nn.Sequential(
            nn.LayerNorm(hidden_dim),
            nn.Linear(hidden_dim, 2 * hidden_dim),
            nn.ReLU(),
            nn.Linear(2 * hidden_dim, hidden_dim),
        )
        self.slot_attention = SlotAttention(
            num_slots,
            slot_size,
            hidden_dim,
            num_iterations,
            num_blocks,
            hidden_dim=2 * slot_size,
            slot_init=slot_init,
            implicit=implicit,
            salience=salience,
            inhibition=inhibition,
            quantize_at=quantize_at,
        )

    position: Tensor

    def forward(
        self, image: Tensor, quantizer: SemanticVectorQuantizer | None = None, noise: Tensor | None = None
    ) -> Slots:
        """`image` (B, in_channels, H, W) in [0, 1] → `Slots`, with h·w = (H / 4)² attention weights a slot."""
        return self.slot_attention(self.embed(image), quantizer, noise)

    def embed(self, image: Tensor) -> Tensor:
        """`image` (B, in_channels, H, W) in [0, 1] → inputs of slot attention (B, h·w, hidden_dim)."""
        require_image(image, self.in_channels, self.image_size)
        x = image.contiguous(memory_format=torch.channels_last)  # the layout in which CPUs and GPUs convolve fastest
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        x = x.flatten(2).mT + self.embed_position(self.position)  # (B, h·w, hidden_dim)
        return x + self.features(x)
