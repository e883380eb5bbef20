"""Completions follow the prior given what was asked for: held against all scenes of a tiny one, listed."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from src.models import completion
from src.models.completion import NothingFound, Requirement, complete
from src.models.transformer_decoder import AutoregressiveTransformer

from .test_transformer_decoder import make_prior

SLOTS, BLOCKS, CODES = 3, 2, 3
SLOT_NUMBER = torch.tensor([CODES, 1])


@pytest.fixture
def prior() -> AutoregressiveTransformer:
    return make_prior(num_slots=SLOTS, num_codebooks=BLOCKS, codebook_size=CODES)


def all_scenes() -> Tensor:
    return torch.tensor(list(itertools.product(range(CODES), repeat=SLOTS * BLOCKS))).view(-1, SLOTS, BLOCKS)


def probabilities(prior: AutoregressiveTransformer, temperature: float = 1.0) -> Tensor:
    scenes = all_scenes()
    logits = torch.cat([prior(some) for some in scenes.split(256)]) / temperature
    return logits.log_softmax(-1).gather(-1, scenes[..., None]).sum((1, 2, 3)).exp().detach().double()


def holding(given: Tensor, wanted: list[Requirement]) -> Tensor:
    """Which scenes hold the given slots, in this order, and what is wanted in others: by trying all placements."""
    scenes = all_scenes()
    found = torch.zeros(len(scenes), dtype=torch.bool)
    for places in itertools.permutations(range(SLOTS), len(given) + len(wanted)):
        first, rest = places[: len(given)], places[len(given) :]
        if sorted(first) == list(first):
            met = [(scenes[:, n] == codes).all(dim=1) for n, codes in zip(first, given, strict=True)]
            met += [one.met_by(scenes[:, n]) for n, one in zip(rest, wanted, strict=True)]
            found |= torch.stack(met).all(dim=0)
    return found


def some_of(*codes_of_blocks: tuple[int, ...], holds=None) -> Requirement:
    allowed = torch.zeros(BLOCKS, CODES, dtype=torch.bool)
    for block, codes in enumerate(codes_of_blocks):
        allowed[block, list(codes)] = True
    return Requirement(allowed.float(), holds)


FIRST_IS_0 = some_of((0,), (0, 1, 2))
ALIKE = some_of((0, 1, 2), (0, 1, 2), holds=lambda codes: codes[:, 0] == codes[:, 1])
BIASED = Requirement(torch.tensor([[1.0, 5.0, 0.3], [2.0, 0.5, 1.0]]), ALIKE.holds)
CASES = {
    "one slot": ([[1, 2]], []),
    "two slots": ([[0, 1], [2, 2]], []),
    "the same slot twice": ([[1, 1], [1, 1]], []),
    "some codes": ([], [FIRST_IS_0]),
    "two of a kind": ([], [FIRST_IS_0, FIRST_IS_0]),
    "what no single block says": ([], [ALIKE]),
    "the same, proposed unevenly": ([], [BIASED]),
    "all of it": ([[1, 2]], [FIRST_IS_0, ALIKE]),
}


@pytest.mark.parametrize(("case", "temperature"), [*((case, 1.0) for case in CASES), ("all of it", 0.6)])
def test_scenes_follow_the_prior_given_what_is_asked_for(prior, case, temperature) -> None:
    given, wanted = torch.tensor(CASES[case][0], dtype=torch.int64).view(-1, BLOCKS), CASES[case][1]
    holds, chances = holding(given, wanted), probabilities(prior, temperature)
    evidence = chances[holds].sum()
    exact = torch.where(holds, chances, 0.0) / evidence
    count = 5000
    done = complete(
        prior,
        count,
        given,
        wanted,
        temperature,
        generator=torch.Generator().manual_seed(0),
        particles=20_000,
        rounds=1,
    )
    assert done.codes.shape == (count, SLOTS, BLOCKS) and done.effective > 2000
    assert done.log_probability == pytest.approx(math.log(evidence), abs=0.05)
    number = (done.codes @ SLOT_NUMBER) @ (CODES**BLOCKS) ** torch.arange(SLOTS - 1, -1, -1)
    shares = number.bincount(minlength=len(exact)).double() / count
    assert (shares[~holds] == 0).all()
    # Standard errors of draws, and of the particles that they are drawn from.
    deviation = (exact * (1 - exact) * (1 / count + 1 / done.effective)).sqrt()
    assert ((shares - exact).abs() <= 5 * deviation + 1e-4).all()
    if evidence < 0.9:  # and it matters: the prior itself draws something else
        assert (shares - chances).abs().sum() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one slot", "two of a kind"])
def test_scenes_of_a_prior_with_relations_follow_it_too(case) -> None:
    """On average over seeds: a single round's particles have common ancestors."""
    prior = make_prior(num_slots=SLOTS, num_codebooks=BLOCKS, codebook_size=CODES, relations=True)
    assert prior.relations is not None
    for weights in (prior.relations.reading, prior.relations.pointing):
        torch.nn.init.normal_(weights, std=0.2)
    given, wanted = torch.tensor(CASES[case][0], dtype=torch.int64).view(-1, BLOCKS), CASES[case][1]
    holds, chances = holding(given, wanted), probabilities(prior)
    exact = torch.where(holds, chances, 0.0) / chances[holds].sum()
    shares = []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        done = complete(prior, 2000, given, wanted, generator=generator, particles=10_000, rounds=1)
        number = (done.codes @ SLOT_NUMBER) @ (CODES**BLOCKS) ** torch.arange(SLOTS - 1, -1, -1)
        shares.append(number.bincount(minlength=len(exact)).double() / 2000)
    found = torch.stack(shares)
    error = found.std(dim=0) / len(found) ** 0.5
    frequent = exact > 0.01
    assert frequent.sum() > 5
    assert ((found.mean(dim=0) - exact).abs() <= 6 * error + 1e-3)[frequent].all()


@pytest.mark.slow
def test_few_particles_and_many_rounds_follow_it_too(prior) -> None:
    given = torch.tensor([[1, 2]])
    holds, chances = holding(given, []), probabilities(prior)
    exact = torch.where(holds, chances, 0.0) / chances[holds].sum()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([complete(prior, 10, given, generator=generator, particles=48).codes for _ in range(120)])
    number = (drawn @ SLOT_NUMBER) @ (CODES**BLOCKS) ** torch.arange(SLOTS - 1, -1, -1)
    shares = number.bincount(minlength=len(exact)).double() / len(drawn)
    assert 0.5 * (shares - exact).abs().sum() < 0.1
    assert 0.5 * (chances - exact).abs().sum() > 0.5


def test_more_ways_than_are_tried_at_once_are_tried_in_turn(prior, monkeypatch) -> None:
    wanted = [FIRST_IS_0, ALIKE]
    holds, chances = holding(torch.empty(0, BLOCKS), wanted), probabilities(prior)
    evidence = math.log(chances[holds].sum())
    for listed in (5040, 1):  # 1: ways are drawn without being listed
        monkeypatch.setattr(completion, "MOST_WAYS", 2)
        monkeypatch.setattr(completion, "_LISTED", listed)
        done = complete(
            prior, 2000, wanted=wanted, generator=torch.Generator().manual_seed(0), particles=400, rounds=40
        )
        assert done.log_probability == pytest.approx(evidence, abs=0.15)
        number = (done.codes @ SLOT_NUMBER) @ (CODES**BLOCKS) ** torch.arange(SLOTS - 1, -1, -1)
        assert holds[number].all()


def test_ways_of_placing() -> None:
    assert completion._list_ways(3, 2, [0, 1]) == [(-1, 0, 1), (0, -1, 1), (0, 1, -1)]
    assert completion._list_ways(2, 0, [0, 0]) == [(0, 0)]
    ways = completion._list_ways(5, 1, [0, 1, 1])
    assert ways is not None and len(ways) == 5 * 4 * 3 // 2 and all(sorted(way)[2:] == [0, 1, 1] for way in ways)
    assert completion._list_ways(11, 0, list(range(8))) is None
    drawn = completion._choose_ways(None, 11, 3, 8, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert drawn.shape == (completion.MOST_WAYS, 11)
    for way in drawn.tolist():
        assert sorted(way) == [-1, -1, -1, *range(8)] and way.index(0) < way.index(1) < way.index(2)


def test_the_seed_decides_and_the_mode_is_kept(prior) -> None:
    prior.train()
    drawn = [
        complete(prior, 8, torch.tensor([[1, 2]]), generator=torch.Generator().manual_seed(seed)).codes
        for seed in (1, 1, 2)
    ]
    assert prior.training and torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_top_k_leaves_what_is_asked_for_alone(prior) -> None:
    done = complete(prior, 50, torch.tensor([[2, 0]]), top_k=1, generator=torch.Generator().manual_seed(0))
    assert (done.codes == torch.tensor([2, 0])).all(-1).any(-1).all()
    assert len(done.codes.unique(dim=0)) <= SLOTS  # one scene a way


def test_a_group_that_dies_leaves_the_others_as_they_are(prior) -> None:
    never_first = some_of((0, 1, 2), (0, 1, 2), holds=lambda codes: codes[:, 0] == 2)
    with torch.no_grad():
        prior.head[0, :, 2] = 0
        prior.position_embedding[0] *= 50  # the first slot's first code is decided, and it is not 2
    done = complete(prior, 20, wanted=[never_first], generator=torch.Generator().manual_seed(0))
    assert (done.codes[..., 0] == 2).any(-1).all()


def test_what_cannot_be() -> None:
    prior = make_prior(num_slots=SLOTS, num_codebooks=BLOCKS, codebook_size=CODES)
    never = some_of((0,), (0,), holds=lambda codes: torch.zeros(len(codes), dtype=torch.bool))
    with pytest.raises(NothingFound, match="none of 204 scenes begun came to hold"):
        complete(prior, 4, wanted=[never], particles=102, rounds=2)
    with pytest.raises(ValueError, match="4 slots are asked for but a scene has 1 to 3"):
        complete(prior, 4, wanted=[FIRST_IS_0] * 4)
    with pytest.raises(ValueError, match="0 slots are asked for"):
        complete(prior, 4)
    with pytest.raises(ValueError, match=r"codes \[0, 3\] but expected 2 of 0 to 2"):
        complete(prior, 4, torch.tensor([[0, 3]]))
    with pytest.raises(ValueError, match="with one above 0 in every row"):
        complete(prior, 4, wanted=[some_of((0,), ())])
    with pytest.raises(ValueError, match="count must be an integer of at least 1"):
        complete(prior, 0, torch.tensor([[0, 0]]))
    with pytest.raises(ValueError, match="temperature must be greater than 0"):
        complete(prior, 1, torch.tensor([[0, 0]]), temperature=0)
