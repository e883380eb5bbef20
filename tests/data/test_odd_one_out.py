"""The rule on scenes decided by hand, and the enumeration of all that obey it against brute force."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from src.data.odd_one_out import assign, obeys_rule, odd_one_out, patterns

BY_HAND = [  # shapes, colours, the odd object
    ((0, 0, 1, 0), (3, 3, 3, 3), 2),  # another shape
    ((0, 0, 0, 0), (3, 5, 3, 3), 1),  # another colour
    ((4, 0, 0, 0), (1, 2, 2, 2), 0),  # both at once
    ((0, 0, 1, 1), (3, 3, 3, 5), 3),  # two pairs of shapes, one colour alone
    ((0, 0, 0, 1), (3, 5, 3, 5), 3),  # two pairs of colours, one shape alone
    ((0, 0, 0, 1), (5, 3, 3, 3), -1),  # two odd ones: the last by shape, the first by colour
    ((0, 0, 1, 1), (3, 5, 3, 5), -1),  # pairs only
    ((0, 0, 0, 0), (3, 3, 3, 3), -1),  # all alike
    ((0, 1, 2, 2), (3, 3, 3, 3), -1),  # two shapes alone
    ((0, 1, 2, 3), (0, 1, 2, 3), -1),  # all different
]


def test_scenes_decided_by_hand():
    shape, colour = (torch.tensor([row[k] for row in BY_HAND]) for k in range(2))
    present = torch.ones_like(shape, dtype=torch.bool)
    expected = torch.tensor([odd for *_, odd in BY_HAND])
    assert torch.equal(odd_one_out(shape, colour, present), expected)
    assert torch.equal(obeys_rule(shape, colour, present), expected >= 0)
    order = torch.tensor([2, 0, 3, 1])
    moved = odd_one_out(shape[:, order], colour[:, order], present)
    assert torch.equal(torch.where(moved >= 0, order[moved.clamp(min=0)], -1), expected)


def test_absent_objects_do_not_count():
    present = torch.tensor([[True, True, True, False], [True, False, True, False], [False] * 4])
    shape = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])
    colour = torch.zeros(3, 4, dtype=torch.long)
    assert odd_one_out(shape, colour, present).tolist() == [1, -1, -1]  # of two objects none is the odd one
    assert odd_one_out(shape.where(present, -1), colour.where(present, -1), present).tolist() == [1, -1, -1]


def test_arguments_of_different_shapes():
    with pytest.raises(ValueError, match=r"^shape \(1, 4\), colour \(1, 3\) and present \(1, 4\) must all be \(B, S\)"):
        odd_one_out(torch.zeros(1, 4), torch.zeros(1, 3), torch.ones(1, 4, dtype=torch.bool))


@pytest.mark.parametrize(("objects", "shapes", "colours"), [(3, 4, 3), (4, 3, 3), (3, 1, 2)])
def test_patterns_are_all_scenes_that_obey(objects, shapes, colours):
    every = torch.tensor(list(product(product(range(shapes), repeat=objects), product(range(colours), repeat=objects))))
    obeying = every[obeys_rule(every[:, 0], every[:, 1], torch.ones(len(every), objects, dtype=torch.bool))]
    groups, ways = patterns(objects, shapes, colours)
    assert ways.sum() == len(obeying)

    def pattern(row: list[int]) -> tuple[int, ...]:
        return tuple(list(dict.fromkeys(row)).index(value) for value in row)

    counted = Counter((pattern(shape), pattern(colour)) for shape, colour in obeying.tolist())
    assert counted == {(tuple(s), tuple(c)): n for (s, c), n in zip(groups.tolist(), ways.tolist(), strict=True)}


def test_the_number_of_scenes():
    # One of k objects is odd in shape, in colour or in both; the other property has no object of its own.
    both, one_shape, one_colour = 12 * 11 * 7 * 6, 12 * 11 * 7, 7 * 6 * 12
    assert patterns(3, 12, 7)[1].sum() == 3 * (both + one_shape + one_colour)
    pairs = 3  # ways to split four objects into two pairs
    one_shape, one_colour = 12 * 11 * (7 + pairs * 7 * 6), 7 * 6 * (12 + pairs * 12 * 11)
    assert patterns(4, 12, 7)[1].sum() == 4 * (both + one_shape + one_colour) == 160_944


def test_assignments_are_equally_likely():
    steps = (np.arange(60) + 0.5) / 60  # a grid hits every pair of draws equally often
    draws = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    values = assign(np.tile([0, 1, 0], (len(draws), 1)), draws, 5)
    assert (values[:, 0] == values[:, 2]).all() and (values[:, 0] != values[:, 1]).all()
    counts = Counter(map(tuple, values[:, :2].tolist()))
    assert set(counts.values()) == {len(draws) // 20} and len(counts) == 20
