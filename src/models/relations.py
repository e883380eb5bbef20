"""Who is like whom in a scene, for a prior to read and to write as such."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_STRICTNESS = 8.0  # at the start: codes a quarter as far apart as two random ones count as alike by e^-0.5


class Relations(nn.Module):
    """What a code's likeness to those of earlier slots, in the same block, adds to a prior.

    Two codes of one block are alike by exp(-strictness · d²), in (0, 1], where d is the distance of their embeddings
    and d² is 1 on average for two random codes of the block. To the embedding of slot n's code c_n

        Σ_{j<n} alike(c_n, c_j) · reading_j

    is added, and to the logit of each code k that slot n may have, where h is the state that predicts it,

        Σ_{j<n} (h · pointing_j) · alike(k, c_j):

    "one like slot j's", whatever that is (compare pointer networks, Vinyals et al. 2015). A rule over who shares a
    colour with whom is one rule then, not one for each colour.

    Args:
        num_slots, num_codebooks: N, M.
        embed_dim: E, width of the prior.
        reading_scale, pointing_scale: standard deviations that the weights start with.
    """

    def __init__(
        self, num_slots: int, num_codebooks: int, embed_dim: int, reading_scale: float, pointing_scale: float
    ) -> None:
        super().__init__()
        self.reading = nn.Parameter(torch.randn(num_codebooks, num_slots, embed_dim) * reading_scale)
        self.pointing = nn.Parameter(torch.randn(num_codebooks, num_slots, embed_dim) * pointing_scale)
        self.log_strictness = nn.Parameter(torch.full((num_codebooks,), math.log(_STRICTNESS)))

    def likeness(self, embeddings: Tensor, some: Tensor) -> Tensor:
        """How like `some` embeddings (M, S, E) are to all those of their block, `embeddings` (M, K, E): (M, S, K)."""
        with torch.autocast(some.device.type, enabled=False):  # differences of rounded squares would be noise
            spread = 2 * embeddings.detach().var(dim=1, correction=0).sum(-1)
            strictness = self.log_strictness.exp() / spread.clamp(min=1e-12)
            squares = some.square().sum(-1)[:, :, None] + embeddings.square().sum(-1)[:, None, :]
            distances = (squares - 2 * some @ embeddings.mT).clamp(min=0)
            return torch.exp(-strictness[:, None, None] * distances)

    def read(self, likeness: Tensor, codes: Tensor) -> Tensor:
        """What is added to the embeddings of `codes` (B, N, M) that are by `likeness` (M, B, N, K) like all others:
        (B, N, M, E)."""
        of_slots = codes.permute(2, 0, 1).unsqueeze(2).expand(-1, -1, codes.shape[1], -1)  # (M, B, N, N)
        alike = likeness.gather(-1, of_slots).mT.tril(-1)  # of a slot to those before it
        return (alike.flatten(1, 2) @ self.reading).unflatten(1, codes.shape[:2]).permute(1, 2, 0, 3)

    def point(self, states: Tensor, likeness: Tensor) -> Tensor:
        """What is added to the logits of `states` (M, B·N, E), where earlier slots' codes are by `likeness`
        (M, B, N, K) like all others: (M, B·N, K)."""
        pointed = (states @ self.pointing.mT).unflatten(1, likeness.shape[1:3]).tril(-1)  # (M, B, N, N)
        return (pointed @ likeness.to(pointed.dtype)).flatten(1, 2)

    def read_next(self, alike: Tensor, block: int) -> Tensor:
        """`read` of one code that is `alike` (B, n) those of the n slots before: (B, E)."""
        return alike @ self.reading[block, : alike.shape[1]]

    def point_next(self, states: Tensor, likeness: Tensor, block: int) -> Tensor:
        """`point` of one slot's `states` (B, E), where the codes of the n slots before are by `likeness` (B, n, K) like
        all others: (B, K)."""
        pointed = states @ self.pointing[block, : likeness.shape[1]].T
        return (pointed.unsqueeze(1) @ likeness).squeeze(1)
