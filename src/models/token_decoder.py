"""Slots → image, token by token: the paper's decoder, a causal transformer that looks at the blocks of the slots."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .block_layers import BlockLinear
from .checks import (
    require_divisible,
    require_multiple,
    require_positive,
    require_slots,
    require_temperature,
    require_tokens,
)
from .dvae import DVAE
from .transformer import Dropout, KnowsItsHeads, SelfAttention, Steps, TransformerLayer, draw

_COUPLER_HEADS = 4
_PAINTED_AT_ONCE = 32  # images; the keys and values of 1,024 tokens at the paper's sizes are 13 MB each


class TokenDecoder(KnowsItsHeads):
    """p(tokens | slots) = Π p(token_t | tokens before t, slots), tokens being those of a dVAE; row by row.

    Every block of every slot is a token of the memory that the transformer attends to. The blocks of one slot meet in
    the coupler, those of different slots in the transformer only.

    Args:
        slot_dim, num_slots, num_blocks: D, N, M.
        image_size: H = W, pixels; divisible by 4. L = (H / 4)² tokens make an image.
        channels: of the image.
        vocab_size: V.
        embed_dim: width E; `num_heads` and the coupler's 4 heads must divide it.
        num_heads, num_layers: of the transformer.
        dropout: probability, in [0, 1); there is none in the coupler and the dVAE.

    Raises:
        ValueError: sizes that are not positive or do not divide.
    """

    def __init__(
        self,
        slot_dim: int,
        num_slots: int,
        num_blocks: int,
        image_size: int,
        channels: int = 3,
        vocab_size: int = 4096,
        embed_dim: int = 192,
        num_heads: int = 4,
        num_layers: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(num_heads, "decoder")
        require_positive(
            slot_dim=slot_dim,
            num_slots=num_slots,
            num_blocks=num_blocks,
            embed_dim=embed_dim,
            num_heads=num_heads,
            num_layers=num_layers,
        )
        require_divisible("slot_dim", slot_dim, "num_blocks", num_blocks)
        require_divisible("embed_dim", embed_dim, "num_heads", num_heads)
        require_multiple("embed_dim", embed_dim, _COUPLER_HEADS)
        self.slot_dim, self.num_slots, self.num_blocks = slot_dim, num_slots, num_blocks
        self.dvae = DVAE(image_size, channels, vocab_size)
        self.length = self.dvae.grid**2

        self.from_block = BlockLinear(num_blocks, slot_dim // num_blocks, embed_dim)
        self.block_position = nn.Parameter(torch.zeros(num_blocks, embed_dim))
        self.position_mlp = nn.Sequential(
            BlockLinear(num_blocks, embed_dim, embed_dim), nn.ReLU(), BlockLinear(num_blocks, embed_dim, embed_dim)
        )
        self.coupler = TransformerLayer(
            embed_dim, _COUPLER_HEADS, norm="stream", activation="relu", attention_bias=False, causal=False
        )
        self.coupler_norm = nn.LayerNorm(embed_dim)

        self.token_embedding = nn.Parameter(torch.empty(vocab_size, embed_dim))
        self.begin = nn.Parameter(torch.empty(embed_dim))
        self.position_embedding = nn.Parameter(torch.empty(self.length, embed_dim))
        self.drop = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                embed_dim,
                num_heads,
                dropout,
                norm="pre" if number else "stream",
                activation="relu",
                attention_bias=False,
                cross_attention=True,
            )
            for number in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, vocab_size, bias=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """The distributions that the official weights are drawn from."""
        for layer in self.modules():
            if isinstance(layer, BlockLinear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, TransformerLayer):
                _initialise_layer(layer, len(self.layers) if layer.cross is not None else 1)
        nn.init.normal_(self.token_embedding)
        nn.init.uniform_(self.begin, -((3 / len(self.begin)) ** 0.5), (3 / len(self.begin)) ** 0.5)
        nn.init.trunc_normal_(self.position_embedding)
        nn.init.xavier_uniform_(self.head.weight)

    # ------------------------------------------------------------------ likelihood

    def memory(self, slots: Tensor) -> Tensor:
        """Slots (B, N, D) → what the transformer attends to (B, N·M, E).

        Raises:
            ValueError: slots of another shape.
        """
        require_slots(slots, self.num_slots, self.slot_dim)
        position = self.position_mlp(self.block_position[None])  # (1, M, E)
        blocks = self.from_block(slots.unflatten(-1, (self.num_blocks, -1)).flatten(0, 1)) + position  # (B·N, M, E)
        return self.coupler_norm(self.coupler(blocks)).view(len(slots), self.num_slots * self.num_blocks, -1)

    def logits(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: the logits (B, L, V) of every token (B, L), given the slots and the tokens before it."""
        return self.head(self._states(self.memory(slots), tokens)).float()

    def _states(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Memory (B, N·M, E) and tokens (B, L) → what the head turns into logits (B, L, E)."""
        require_tokens(tokens, self.length, self.dvae.vocab_size)
        begin = self.begin.expand(len(tokens), 1, -1)
        embedded = torch.cat([begin, F.embedding(tokens[:, :-1], self.token_embedding)], dim=1)
        x = self.drop(embedded + self.position_embedding)
        for layer in self.layers:
            x = layer(x, memory)
        return self.norm(x)

    def nll(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Negative log-likelihood of all tokens (B, L) of an image given its slots, (B,) in nats."""
        states = self._states(self.memory(slots), tokens)
        # The logits of one image at a time, computed anew for the gradient: a batch of them takes more room than
        # everything else.
        recompute = partial(checkpoint, self._nll, use_reentrant=False, preserve_rng_state=False)
        return torch.stack([recompute(*of_image) for of_image in zip(states, tokens, strict=True)])

    def _nll(self, states: Tensor, tokens: Tensor) -> Tensor:
        return F.cross_entropy(self.head(states).float(), tokens, reduction="sum")

    def losses(self, slots: Tensor, image: Tensor, keys: Tensor | None = None) -> dict[str, Tensor]:
        """What the dVAE and the transformer are trained on.

        Args:
            slots: (B, N, D).
            image: (B, channels, H, W), float32 in [0, 1].
            keys: see `DVAE.forward`.

        Returns:
            dvae_loss, squared error of the dVAE's own reconstruction, and token_loss, nats of the dVAE's tokens given
            the slots: sums over an image, means over the batch.
        """
        recon, tokens = self.dvae(image, keys)
        return {
            "dvae_loss": (recon - image).square().sum() / len(image),
            "token_loss": self.nll(slots, tokens).mean(),
        }

    # ------------------------------------------------------------------ generation

    @torch.no_grad()
    def generate(
        self, slots: Tensor, temperature: float | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Slots (B, N, D) → tokens (B, L), one after another, with cached keys and values.

        Args:
            slots: what to paint.
            temperature: tokens are drawn from logits divided by it; None takes the likeliest token each time.
            generator: source of randomness, on the decoder's device.

        Raises:
            TypeError: a temperature that is not a number.
            ValueError: a temperature that is not positive, slots of another shape.
        """
        if temperature is not None:
            require_temperature(temperature)
        was_training = self.training
        self.eval()  # no dropout
        try:
            return self._write(self.memory(slots), temperature, generator)
        finally:
            self.train(was_training)

    def _write(self, memory: Tensor, temperature: float | None, generator: torch.Generator | None) -> Tensor:
        tokens = torch.empty(len(memory), self.length, dtype=torch.int64, device=memory.device)
        step = Steps(self.layers, len(memory), self.length, memory)
        head = self.head.weight.T.contiguous().to(step.dtype)
        with torch.inference_mode(), torch.autocast(memory.device.type, enabled=False):
            x = self.begin.expand(len(memory), -1)
            for position in range(self.length):
                states = self.norm(step(x + self.position_embedding[position]))
                drawn = draw((states.to(step.dtype) @ head).float(), temperature, None, generator)
                tokens[:, position] = drawn
                x = F.embedding(drawn, self.token_embedding)
        return tokens

    @torch.no_grad()
    def paint(
        self, slots: Tensor, temperature: float | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Slots (B, N, D) → image (B, channels, H, W), about [0, 1], not clamped; see `generate`."""
        some = slots.split(_PAINTED_AT_ONCE)
        return torch.cat([self.dvae.decode(self.generate(each, temperature, generator)) for each in some])


def _initialise_layer(layer: TransformerLayer, num_layers: int) -> None:
    """Xavier, Kaiming before the ReLU; what is added to the stream is the smaller the more layers and branches add."""
    attentions = [module for module in (layer.attention, layer.cross) if module is not None]
    gain = ((1 + len(attentions)) * num_layers) ** -0.5
    for attention in attentions:
        if isinstance(attention, SelfAttention):
            parts = attention.to_query_key_value.weight.chunk(3)
        else:
            parts = (attention.to_query.weight, *attention.to_key_value.weight.chunk(2))
        for weight in parts:
            nn.init.xavier_uniform_(weight)
        nn.init.xavier_uniform_(attention.project.weight, gain)
    hidden, out = (module for module in layer.mlp if isinstance(module, nn.Linear))
    nn.init.kaiming_uniform_(hidden.weight, nonlinearity="relu")
    nn.init.xavier_uniform_(out.weight, gain)
    nn.init.zeros_(hidden.bias)
    nn.init.zeros_(out.bias)
