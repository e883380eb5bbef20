"""Scenes that hold what was asked for: a particle filter over the prior's codes.

The prior writes slots in one order, so an object that is given may stand anywhere in it, and what comes before it has
to leave it room. Every way of placing what is asked for gets a particle filter of its own (sequential Monte Carlo,
Doucet, de Freitas & Gordon 2001): where a slot has to be something, codes that make it so are proposed more often, and
the particle's weight makes up for that. A scene that several ways lead to counts once. So scenes come out as the prior
writes them *given that* they hold what was asked for, exactly so with many particles.

Legend: N slots, M blocks, K codes a block, R requirements, G of them given slots, W ways, P particles a way.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import require_positive, require_temperature
from .transformer import draw
from .transformer_decoder import AutoregressiveTransformer, Writer

PARTICLES = 1024  # of a round, for all ways together
ROUNDS = 8  # at most
PLENTY = 4  # times as many effective particles as scenes: then few are drawn twice
MOST_WAYS = 64  # of a round; where there are more, each round draws others
_LISTED = 5040  # more ways than that are drawn without being listed


@dataclass(frozen=True)
class Requirement:
    """What one slot of a scene has to be.

    Attributes:
        proposal: how many times as often as the prior would each code is proposed, (M, K), finite, up to a factor a
            block; 0 for codes that the slot must not have, of which a block must not have all. The other numbers decide
            how many particles are of use, not what scenes come out.
        holds: whether slots with the codes (n, M) are what is asked for, (n,) bool; None: all that are proposed are.
    """

    proposal: Tensor
    holds: Callable[[Tensor], Tensor] | None = None

    def met_by(self, codes: Tensor) -> Tensor:
        """Which slots (n, M) meet it, (n,) bool."""
        blocks = torch.arange(codes.shape[1], device=codes.device)
        met = (self.proposal[blocks, codes] > 0).all(dim=1)
        return met if self.holds is None else met & self.holds(codes)


@dataclass(frozen=True)
class Completion:
    """Scenes that hold what was asked for.

    Attributes:
        codes: (count, N, M) int64, slots as the prior wrote them.
        effective: how many independent scenes the particles are worth (Kong 1992); with fewer than `count`, scenes
            are repeated in whole or in part.
        log_probability: of a scene of the prior to hold what was asked for, in nats, at most 0 (the estimate of the
            probability itself is unbiased).
    """

    codes: Tensor
    effective: float
    log_probability: float


class NothingFound(ValueError):
    """No particle came to hold what was asked for."""


@torch.no_grad()
def complete(
    prior: AutoregressiveTransformer,
    count: int,
    given: Tensor | None = None,
    wanted: Sequence[Requirement] = (),
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    particles: int = PARTICLES,
    rounds: int = ROUNDS,
) -> Completion:
    """Draws scenes of the prior that hold the slots `given` and, in other slots, what is `wanted`.

    Args:
        count: scenes to draw.
        given: (G, M) codes of slots, in the prior's order (`CodeModel.in_order`), which they keep.
        wanted: each met by a slot of its own.
        temperature, top_k: as in `AutoregressiveTransformer.sample`; `top_k` for slots of which nothing is asked.
        generator: source of randomness, on the prior's device.
        particles: of a round, at least one for each way of placing.
        rounds: rounds are added until they are worth `PLENTY` · `count` independent scenes, at most so many.

    Raises:
        TypeError: `given` is no int64 tensor of two dimensions, or `wanted` holds something else than requirements.
        ValueError: codes that are none, nothing or more asked for than there are slots, an empty set of codes.
        NothingFound: not one particle holds what was asked for.
    """
    require_positive(count=count, particles=particles, rounds=rounds)
    require_temperature(temperature)
    if top_k is not None:
        require_positive(top_k=top_k)
    if given is not None and not (isinstance(given, Tensor) and given.dtype == torch.int64 and given.ndim == 2):
        got = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise TypeError(f"given must be an int64 tensor (G, {prior.num_codebooks}), got {got}")
    for requirement in wanted:
        if not isinstance(requirement, Requirement):
            raise TypeError(f"wanted must hold Requirement objects, got {requirement!r}")
    device = prior.head.device
    fixed = [] if given is None else [_exactly(codes, prior) for codes in given.to(device)]
    requirements = [*fixed, *wanted]
    for requirement in requirements:
        expected = (prior.num_codebooks, prior.codebook_size)
        proposal = requirement.proposal
        usable = proposal.shape == expected and proposal.isfinite().all() and (proposal >= 0).all()
        if not usable or not proposal.any(dim=1).all():
            raise ValueError(
                f"the proposal had shape {tuple(proposal.shape)} but expected {expected}, finite numbers of at least 0 "
                "with one above 0 in every row"
            )
    if not 0 < len(requirements) <= prior.num_slots:
        raise ValueError(f"{len(requirements)} slots are asked for but a scene has 1 to {prior.num_slots} of them")
    kinds = list(range(len(fixed)))
    kinds += [len(fixed) + min(k for k, other in enumerate(wanted) if other is each) for each in wanted]
    all_ways = _list_ways(prior.num_slots, len(fixed), kinds)
    was_training = prior.training
    prior.eval()
    try:
        codes, log_weights, effective = [], [], 0.0
        for _ in range(rounds):
            ways = _choose_ways(all_ways, prior.num_slots, len(fixed), len(kinds), generator, device)
            drawn, weights = _filter(prior, requirements, ways, particles, temperature, top_k, generator)
            codes.append(drawn)
            log_weights.append(weights - _log_ways_met(drawn, requirements, len(fixed)))
            effective = _effective(torch.cat(log_weights))
            if effective >= PLENTY * count:
                break
    finally:
        prior.train(was_training)
    weights = torch.cat(log_weights)
    if effective == 0:
        raise NothingFound(f"none of {len(weights)} scenes begun came to hold what was asked for")
    # All particles of a round say the same about the scenes; their sum over the ways is the probability.
    placings = math.perm(prior.num_slots, len(kinds)) / math.factorial(len(fixed))
    log_probability = float(weights.logsumexp(0)) - math.log(len(weights)) + math.log(placings)
    picked = _systematic(weights.softmax(0)[None], count, generator)[0]
    picked = picked[torch.randperm(count, generator=generator, device=device)]
    return Completion(torch.cat(codes)[picked], effective, min(log_probability, 0.0))


def _exactly(codes: Tensor, prior: AutoregressiveTransformer) -> Requirement:
    """To be this slot (M,)."""
    if codes.shape != (prior.num_codebooks,) or codes.min() < 0 or codes.max() >= prior.codebook_size:
        raise ValueError(
            f"a given slot had the codes {codes.tolist()} but expected {prior.num_codebooks} of 0 to "
            f"{prior.codebook_size - 1}"
        )
    return Requirement(F.one_hot(codes, prior.codebook_size).float())


# ------------------------------------------------------------------ ways of placing


def _list_ways(slots: int, ordered: int, kinds: Sequence[int]) -> list[tuple[int, ...]] | None:
    """All ways of giving each requirement a slot of its own: for every slot the kind of its requirement, -1 for none.

    The first `ordered` requirements keep their order; requirements of one kind are alike. None: too many to list.
    """
    if math.perm(slots, len(kinds)) > _LISTED * math.factorial(ordered):
        return None
    ways = set()
    for first in itertools.combinations(range(slots), ordered):
        free = [n for n in range(slots) if n not in first]
        for rest in itertools.permutations(free, len(kinds) - ordered):
            way = [-1] * slots
            for place, kind in zip((*first, *rest), kinds, strict=True):
                way[place] = kind
            ways.add(tuple(way))
    return sorted(ways)


def _choose_ways(
    ways: list[tuple[int, ...]] | None,
    slots: int,
    ordered: int,
    requirements: int,
    generator: torch.Generator | None,
    device: torch.device,
) -> Tensor:
    """Those of a round, (W, N) int64: all, or `MOST_WAYS` at random, each as likely as any other."""
    if ways is not None:
        listed = torch.tensor(ways, device=device)
        if len(listed) <= MOST_WAYS:
            return listed
        return listed[torch.randperm(len(listed), generator=generator, device=device)[:MOST_WAYS]]
    order = torch.rand(MOST_WAYS, slots, generator=generator, device=device).argsort(dim=1)[:, :requirements]
    order[:, :ordered] = order[:, :ordered].sort(dim=1).values
    drawn = torch.full((MOST_WAYS, slots), -1, device=device)
    return drawn.scatter(1, order, torch.arange(requirements, device=device).expand(MOST_WAYS, -1))


def _log_ways_met(codes: Tensor, requirements: Sequence[Requirement], ordered: int) -> Tensor:
    """Logarithm of the number of ways in which scenes (n, N, M) hold what is asked for, (n,); at least 1 way each.

    Slots are gone through from the first to the last; what matters is how many of the ordered requirements, and which
    of the others, are met so far.
    """
    slots = codes.shape[1]
    met = torch.stack([each.met_by(codes.flatten(0, 1)).view(-1, slots) for each in requirements])
    met = met.cpu().double()  # small, and not every device has float64
    others = len(requirements) - ordered
    ways = {(0, 0): torch.ones_like(met[0, :, 0])}
    for n in range(slots):
        grown: dict[tuple[int, int], Tensor] = defaultdict(lambda: torch.zeros_like(met[0, :, 0]))
        for (done, taken), number in ways.items():
            grown[done, taken] += number
            if done < ordered:
                grown[done + 1, taken] += number * met[done, :, n]
            for k in range(others):
                if not taken >> k & 1:
                    grown[done, taken | 1 << k] += number * met[ordered + k, :, n]
        ways = grown
    return ways[ordered, 2**others - 1].clamp(min=1).log().float().to(codes.device)


# ------------------------------------------------------------------ particles


def _filter(
    prior: AutoregressiveTransformer,
    requirements: Sequence[Requirement],
    ways: Tensor,
    particles: int,
    temperature: float,
    top_k: int | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """One round: codes (W·P, N, M) and the logarithms of their weights (W·P,), whose mean over a way's particles
    estimates the probability that a scene of the prior meets the requirements in that way."""
    slots, blocks, device = prior.num_slots, prior.num_codebooks, prior.head.device
    groups, each = len(ways), max(1, particles // len(ways))
    total = groups * each
    anything = torch.ones(blocks, prior.codebook_size, device=device)
    liking = torch.stack([*(one.proposal.to(anything) for one in requirements), anything]).log()  # the last: of way -1
    log_weights = torch.zeros(groups, each, device=device)
    writer = Writer(prior, total)
    first = torch.arange(groups, device=device)[:, None] * each  # row of each group's first particle
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for n in range(slots):
            free = (ways[:, n] < 0).repeat_interleave(each)
            for block in range(blocks):
                logits = writer.logits() / temperature
                liked = liking[ways[:, n], block].repeat_interleave(each, dim=0)  # (W·P, K)
                proposed = logits + liked
                drawn = draw(proposed, 1.0, None, generator)
                if top_k is not None and free.any():
                    drawn = torch.where(free, draw(logits, 1.0, top_k, generator), drawn)
                weighed = proposed.logsumexp(-1) - logits.logsumexp(-1) - liked.gather(1, drawn[:, None])[:, 0]
                log_weights += weighed.view(groups, each)
                writer.write(drawn)
            for number, requirement in enumerate(requirements):
                asked = (ways[:, n] == number).nonzero()[:, 0]
                if requirement.holds is not None and len(asked):
                    holds = requirement.holds(writer.codes.view(groups, each, slots, blocks)[asked, :, n].flatten(0, 1))
                    log_weights[asked] += holds.float().log().view(len(asked), each)
            if n + 1 < slots:
                picked, log_weights = _resample(log_weights, generator)
                writer.select((first + picked).flatten())
    return writer.codes.clone(), log_weights.flatten().clone()


def _resample(log_weights: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Particles that go on, (W, P) indices of each group's own, and their weights (W, P): where few carry most of the
    weight, those multiply and the others end."""
    groups, each = log_weights.shape
    sums = log_weights.logsumexp(-1, keepdim=True)
    share = (log_weights - sums).exp().nan_to_num(0.0)  # a group may have lost all
    worth = share.sum(-1).square() / share.square().sum(-1).clamp(min=1e-30)
    poor = ((worth < each / 2) & (sums[:, 0] > -torch.inf))[:, None]
    stay = torch.arange(each, device=share.device).expand(groups, -1)
    picked = torch.where(poor, _systematic(share, each, generator), stay)
    return picked, torch.where(poor, sums - math.log(each), log_weights)


def _systematic(shares: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` draws from each row of `shares` (W, P), (W, count): each index as often as its share says, up to
    rounding (Kitagawa 1996)."""
    start = torch.rand(len(shares), 1, generator=generator, device=shares.device)
    points = (torch.arange(count, device=shares.device) + start) / count
    ends = shares.cpu().double().cumsum(-1)  # see `_log_ways_met`
    points = points.cpu().double() * ends[:, -1:]
    found = torch.searchsorted(ends, points.contiguous(), right=True).clamp(max=shares.shape[1] - 1)
    return found.to(shares.device)


def _effective(log_weights: Tensor) -> float:
    """The effective sample size of weights (n,): (Σ w)² / Σ w², 0 if all are 0."""
    if not log_weights.max() > -torch.inf:
        return 0.0
    weights = (log_weights - log_weights.max()).cpu().double().exp()
    return float(weights.sum().square() / weights.square().sum())
