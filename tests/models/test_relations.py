"""Relations between codes, against their definition."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from src.models.relations import Relations

SCENES, SLOTS, BLOCKS, CODES, WIDTH = 4, 3, 2, 5, 16


@pytest.fixture
def relations() -> Relations:
    return Relations(SLOTS, BLOCKS, WIDTH, reading_scale=1.0, pointing_scale=1.0)


def alike(relations: Relations, embeddings: Tensor, block: int, one: int, other: int) -> Tensor:
    """exp(-strictness · d²), where d² is 1 on average over all pairs of the block's codes."""
    of_block = embeddings[block]
    pairs = torch.tensor([[(a - b).square().sum() for a in of_block] for b in of_block])
    return torch.exp(-relations.log_strictness[block].exp() * pairs[one, other] / pairs.mean())


def of_codes(relations: Relations, embeddings: Tensor, codes: Tensor) -> Tensor:
    """Likeness (M, B, N, K) of `codes` to all others."""
    some = torch.stack([embeddings[m, codes[..., m]] for m in range(BLOCKS)]).flatten(1, 2)
    return relations.likeness(embeddings, some).unflatten(1, codes.shape[:2])


def test_codes_are_alike_by_the_distance_of_their_embeddings(relations: Relations) -> None:
    embeddings = torch.randn(BLOCKS, CODES, WIDTH)
    torch.nn.init.normal_(relations.log_strictness)
    found = relations.likeness(embeddings, embeddings)
    for block, one, other in itertools.product(range(BLOCKS), range(CODES), range(CODES)):
        expected = alike(relations, embeddings, block, one, other)
        torch.testing.assert_close(found[block, one, other], expected, atol=1e-5, rtol=1e-4)
    assert found.diagonal(dim1=1, dim2=2).sub(1).abs().max() < 1e-4
    torch.testing.assert_close(relations.likeness(10 * embeddings, 10 * embeddings), found, atol=1e-4, rtol=1e-4)


def test_codes_that_are_all_the_same_are_alike_and_finite(relations: Relations) -> None:
    same = torch.ones(BLOCKS, CODES, WIDTH, requires_grad=True)
    found = relations.likeness(same, same)
    found.sum().backward()
    assert torch.equal(found, torch.ones_like(found)) and same.grad is not None and same.grad.isfinite().all()


def test_what_is_read_and_pointed_at_equals_its_definition(relations: Relations) -> None:
    embeddings, states = torch.randn(BLOCKS, CODES, WIDTH), torch.randn(BLOCKS, SCENES * SLOTS, WIDTH)
    codes = torch.randint(CODES, (SCENES, SLOTS, BLOCKS))
    likeness = of_codes(relations, embeddings, codes)
    read = relations.read(likeness, codes)
    pointed = relations.point(states, likeness).unflatten(1, (SCENES, SLOTS))
    for scene, slot, block in itertools.product(range(SCENES), range(SLOTS), range(BLOCKS)):
        expected_read, expected_pointed = torch.zeros(WIDTH), torch.zeros(CODES)
        for earlier in range(slot):
            of_earlier = int(codes[scene, earlier, block])
            likeness_of_two = alike(relations, embeddings, block, int(codes[scene, slot, block]), of_earlier)
            expected_read += likeness_of_two * relations.reading[block, earlier]
            weight = states[block, scene * SLOTS + slot] @ relations.pointing[block, earlier]
            for code in range(CODES):
                expected_pointed[code] += weight * alike(relations, embeddings, block, code, of_earlier)
        torch.testing.assert_close(read[scene, slot, block], expected_read, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(pointed[block, scene, slot], expected_pointed, atol=1e-4, rtol=1e-3)


def test_one_step_equals_all_at_once(relations: Relations) -> None:
    embeddings, states = torch.randn(BLOCKS, CODES, WIDTH), torch.randn(BLOCKS, SCENES * SLOTS, WIDTH)
    codes = torch.randint(CODES, (SCENES, SLOTS, BLOCKS))
    likeness, all_pairs = of_codes(relations, embeddings, codes), relations.likeness(embeddings, embeddings)
    read, pointed = relations.read(likeness, codes), relations.point(states, likeness).unflatten(1, (SCENES, SLOTS))
    for slot, block in itertools.product(range(SLOTS), range(BLOCKS)):
        now, before = codes[:, slot, block], codes[:, :slot, block]
        torch.testing.assert_close(
            relations.read_next(all_pairs[block][now[:, None], before], block), read[:, slot, block]
        )
        of_slot = states[block].unflatten(0, (SCENES, SLOTS))[:, slot]
        torch.testing.assert_close(
            relations.point_next(of_slot, all_pairs[block][before], block),
            pointed[block][:, slot],
            atol=1e-5,
            rtol=1e-4,
        )


def test_gradients_reach_all_of_it(relations: Relations) -> None:
    embeddings = torch.randn(BLOCKS, CODES, WIDTH, requires_grad=True)
    codes = torch.randint(CODES, (SCENES, SLOTS, BLOCKS))
    likeness = of_codes(relations, embeddings, codes)
    states = torch.randn(BLOCKS, SCENES * SLOTS, WIDTH)
    (relations.read(likeness, codes).square().mean() + relations.point(states, likeness).square().mean()).backward()
    for weights in (embeddings, relations.log_strictness):
        assert weights.grad is not None and (weights.grad != 0).any()
    for weights in (relations.reading, relations.pointing):
        assert weights.grad is not None
        assert (weights.grad.abs().amax((0, 2)) > 0).tolist() == [True] * (SLOTS - 1) + [
            False
        ]  # nobody follows the last
