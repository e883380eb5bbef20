"""The Autoregressive LoT Prior: a causal transformer over the N·M codes of a scene (section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import (
    require_choice,
    require_codes,
    require_divisible,
    require_flag,
    require_positive,
    require_share,
    require_temperature,
)
from .relations import Relations
from .transformer import KnowsItsHeads, SelfAttention, Steps, TransformerLayer, draw

STYLES = ("default", "paper")


class AutoregressiveTransformer(KnowsItsHeads):
    """p(codes) = Π p(code_t | codes before t), slot by slot and, within a slot, block by block.

    Every block has its own embeddings and its own output layer over its K codes, so a position can only ever
    emit codes of its own codebook.

    Args:
        num_slots, num_codebooks, codebook_size: N, M, K.
        embed_dim: width E of the transformer; `num_heads` must divide it.
        num_heads, num_layers: its size.
        dropout: probability, in [0, 1).
        style: "default", pre-norm layers with GELU and a last norm; "paper", the official code's: post-norm layers
            with ReLU (`nn.TransformerEncoderLayer`), embeddings times √E before positions are added, no last norm.
        relations: whether it is told which slots have codes alike, and may point at slots whose codes are to be
            repeated: see `Relations`. A rule over who shares a colour or a shape with whom is hard to learn without.
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
        style: str = "default",
        relations: bool = False,
    ) -> None:
        super().__init__(num_heads, "prior")
        require_choice("style", style, STYLES)
        require_positive(
            num_slots=num_slots,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
            embed_dim=embed_dim,
            num_heads=num_heads,
            num_layers=num_layers,
        )
        require_divisible("embed_dim", embed_dim, "num_heads", num_heads)
        require_share(dropout=dropout)
        require_flag(relations=relations)
        self.num_slots, self.num_codebooks, self.codebook_size = num_slots, num_codebooks, codebook_size
        length = num_slots * num_codebooks
        self.code_embedding = nn.Parameter(torch.randn(num_codebooks, codebook_size, embed_dim) * 0.02)
        self.begin = nn.Parameter(torch.randn(embed_dim) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(length, embed_dim) * 0.02)
        self.drop = nn.Dropout(dropout)
        norm, activation = ("post", "relu") if style == "paper" else ("pre", "gelu")
        self.layers = nn.ModuleList(
            TransformerLayer(embed_dim, num_heads, dropout, norm, activation) for _ in range(num_layers)
        )
        self.norm = nn.Identity() if style == "paper" else nn.LayerNorm(embed_dim)
        self.head = nn.Parameter(torch.randn(num_codebooks, embed_dim, codebook_size) * 0.02)
        # Standard deviations of embeddings and output weights whose codes are alike, and what multiplies embeddings.
        self._start_scales, self._embedding_scale = (0.5, 0.02), 1.0
        if style == "paper":
            self._start_scales, self._embedding_scale = (1.0, (3 * embed_dim) ** -0.5), embed_dim**0.5
            self._start_as_the_paper()
        self.relations: Relations | None = None
        if relations:  # what is read is large enough not to be overlooked beside the embeddings
            reading_scale, pointing_scale = 6 * self._start_scales[0], self._start_scales[1]
            self.relations = Relations(num_slots, num_codebooks, embed_dim, reading_scale, pointing_scale)

    @torch.no_grad()
    def _start_as_the_paper(self) -> None:
        """The distributions that the official weights are drawn from."""
        width = self.begin.shape[0]
        self.code_embedding.normal_()
        self.begin.uniform_(-1, 1).mul_((3 / width) ** 0.5)
        nn.init.trunc_normal_(self.position_embedding)
        self.head.uniform_(-1, 1).mul_(width**-0.5)
        for module in self.modules():
            if isinstance(module, SelfAttention):
                nn.init.xavier_uniform_(module.to_query_key_value.weight)
                nn.init.zeros_(module.to_query_key_value.bias)
                nn.init.zeros_(module.project.bias)

    @torch.no_grad()
    def start_from(self, codebook: Tensor) -> None:
        """Lets codes that are alike start with embeddings and output weights that are alike.

        What is learned of one code then holds for its neighbours, although a code as such is a mere number: two
        codes of almost the same place, say. `codebook` (M, K, C), of any scale, enters through random projections.
        """
        codebook = codebook - codebook.mean(dim=1, keepdim=True)
        codebook = codebook / codebook.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)
        for weight, scale in zip((self.code_embedding, self.head.mT), self._start_scales, strict=True):
            projection = torch.randn(*codebook.shape[::2], weight.shape[-1], device=codebook.device)
            weight.copy_(codebook @ projection * (scale * codebook.shape[-1] ** -0.5))

    def forward(self, codes: Tensor) -> Tensor:
        """Teacher forcing: `codes` (B, N, M) → logits (B, N, M, K), those of a position given all before it."""
        return self._logits_of_blocks(codes).unflatten(1, codes.shape[:2]).movedim(0, 2)

    def _logits_of_blocks(self, codes: Tensor) -> Tensor:
        """`codes` (B, N, M) → logits (M, B·N, K) float32: as the output layers, one a block, make them."""
        require_codes(codes, self.num_slots, self.num_codebooks, self.codebook_size)
        blocks = torch.arange(self.num_codebooks, device=codes.device)
        embedded = self.code_embedding[blocks, codes]  # (B, N, M, E)
        likeness = None
        if self.relations is not None:
            likeness = self.relations.likeness(self.code_embedding, embedded.flatten(0, 1).transpose(0, 1))
            likeness = likeness.unflatten(1, codes.shape[:2])  # (M, B, N, K)
            embedded = embedded + self.relations.read(likeness, codes)
        embedded = embedded.flatten(1, 2)
        begin = self.begin.expand(embedded.shape[0], 1, -1)
        x = self.drop(self.scaled(torch.cat([begin, embedded[:, :-1]], dim=1)) + self.position_embedding)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x).unflatten(1, (self.num_slots, self.num_codebooks)).flatten(0, 1)  # (B·N, M, E)
        states = x.transpose(0, 1)
        logits = (states @ self.head).float()
        if self.relations is not None and likeness is not None:
            logits = logits + self.relations.point(states, likeness)
        return logits

    def scaled(self, embedded: Tensor) -> Tensor:
        return embedded if self._embedding_scale == 1 else embedded * self._embedding_scale

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
        require_temperature(temperature)
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
        writer = Writer(self, batch_size)
        with torch.inference_mode(), torch.autocast(writer.codes.device.type, enabled=False):
            for _ in range(self.num_slots * self.num_codebooks):
                writer.write(draw(writer.logits(), temperature, top_k, generator))
        return writer.codes


class Writer:
    """Scenes in the making: the prior, code after code, with cached keys and values.

    It works in the precision of autocast as it is when this is made, and is best off afterwards, as in `Steps`.

    Args:
        prior: in eval mode; what it is like now counts.
        batch_size: B.

    Attributes:
        codes: (B, N, M) int64; what is not written yet is meaningless.
    """

    def __init__(self, prior: AutoregressiveTransformer, batch_size: int) -> None:
        self._prior, length = prior, prior.num_slots * prior.num_codebooks
        self._step = Steps(prior.layers, batch_size, length)
        self._head = prior.head.to(self._step.dtype)
        shape = (batch_size, prior.num_slots, prior.num_codebooks)
        self.codes = torch.empty(shape, dtype=torch.int64, device=prior.head.device)
        self._likeness: Tensor | None = None  # (M, K, K)
        if prior.relations is not None:
            self._likeness = prior.relations.likeness(prior.code_embedding, prior.code_embedding).detach()

    def logits(self) -> Tensor:
        """Of the next code, (B, K) float32; once for each, before it is written."""
        prior, position = self._prior, self._step.length
        slot, block = divmod(position, prior.num_codebooks)
        last = self._last() if position else prior.begin.expand(len(self.codes), -1)
        states = prior.norm(self._step(prior.scaled(last) + prior.position_embedding[position]))
        logits = (states.to(self._head.dtype) @ self._head[block]).float()
        if prior.relations is not None and self._likeness is not None and slot:
            of_earlier = self._likeness[block][self.codes[:, :slot, block]]
            logits += prior.relations.point_next(states, of_earlier, block)
        return logits

    def write(self, drawn: Tensor) -> None:
        """The next code of each scene, (B,)."""
        self.codes.view(len(self.codes), -1)[:, self._step.length - 1] = drawn

    def select(self, rows: Tensor) -> None:
        """Goes on with these scenes (B,), some of them perhaps several times."""
        self.codes = self.codes[rows]
        self._step.select(rows)

    def _last(self) -> Tensor:
        """What is known of the code written last, (B, E)."""
        prior = self._prior
        slot, block = divmod(self._step.length - 1, prior.num_codebooks)
        codes = self.codes[:, slot, block]
        embedded = prior.code_embedding[block][codes]
        if prior.relations is not None and self._likeness is not None:
            alike = self._likeness[block][codes[:, None], self.codes[:, :slot, block]]
            embedded = embedded + prior.relations.read_next(alike, block)
        return embedded
