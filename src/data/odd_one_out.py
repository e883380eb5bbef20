"""The odd-one-out rule of the sprites: who is the odd one of a scene, and scenes that have exactly one.

An object is *odd in a property* (shape or colour) if no other object of its scene has the same value of it. A scene
obeys the rule if it has at least three objects and exactly one of them is odd, in shape, in colour or in both. Hence
every other object shares its shape with some object, and its colour with some object.

Legend: B scenes, S objects a scene can hold.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import torch
from torch import Tensor


def odd_one_out(shape: Tensor, colour: Tensor, present: Tensor) -> Tensor:
    """The odd object of each scene that obeys the rule, -1 of the others.

    Args:
        shape, colour: (B, S) int64 class indices; what absent objects have there does not matter.
        present: (B, S) bool.

    Returns:
        (B,) int64 in -1..S - 1.

    Raises:
        ValueError: the three do not have one shape (B, S).
    """
    if not shape.shape == colour.shape == present.shape or present.dim() != 2:
        raise ValueError(
            f"shape {tuple(shape.shape)}, colour {tuple(colour.shape)} and present {tuple(present.shape)} must all be "
            "(B, S): one row a scene"
        )
    both = present[:, :, None] & present[:, None, :]
    odd = torch.zeros_like(present)
    for value in (shape, colour):
        alike = ((value[:, :, None] == value[:, None, :]) & both).sum(dim=2)  # with itself
        odd |= alike == 1
    decided = (odd.sum(dim=1) == 1) & (present.sum(dim=1) >= 3)
    return torch.where(decided, odd.int().argmax(dim=1), -1)


def obeys_rule(shape: Tensor, colour: Tensor, present: Tensor) -> Tensor:
    """Whether each scene has exactly one odd object, (B,) bool; see `odd_one_out`."""
    return odd_one_out(shape, colour, present) >= 0


@cache
def patterns(objects: int, shapes: int, colours: int) -> tuple[np.ndarray, np.ndarray]:
    """Who is like whom in the scenes that obey the rule.

    A pattern numbers the groups of objects with equal shape, and those with equal colour, in order of their first
    object: shapes 0 0 1 0 and colours 0 1 0 1 mean that the third object alone has another shape.

    Returns:
        (P, 2, objects) int64, the groups by shape and by colour; (P,) int64, in how many ways the groups of a pattern
        can be given different values out of so many shapes and colours. Their sum is the number of scenes.
    """
    found, ways = [], []
    groupings = [g for g in product(range(objects), repeat=objects) if _in_order_of_first(g)]
    for by_shape, by_colour in product(groupings, repeat=2):
        alone = {k for groups in (by_shape, by_colour) for k in range(objects) if groups.count(groups[k]) == 1}
        count = _ways(by_shape, shapes) * _ways(by_colour, colours)
        if len(alone) == 1 and count:
            found.append((by_shape, by_colour))
            ways.append(count)
    return np.array(found, np.int64), np.array(ways, np.int64)


def assign(groups: np.ndarray, draws: np.ndarray, values: int) -> np.ndarray:
    """Different values 0..values - 1 for the groups of each scene, all assignments equally likely.

    groups (B, S) int64; draws (B, G) uniform in [0, 1), one a group at least -> (B, S) int64.
    """
    chosen = np.empty((len(groups), int(groups.max(initial=0)) + 1), np.int64)
    for g in range(chosen.shape[1]):
        value = np.floor(draws[:, g] * (values - g)).astype(np.int64)  # the value-th of those still free
        for taken in np.sort(chosen[:, :g], axis=1).T:
            value += value >= taken
        chosen[:, g] = value
    return np.take_along_axis(chosen, groups, axis=1)


def _in_order_of_first(groups: tuple[int, ...]) -> bool:
    return all(group <= max(groups[:k], default=-1) + 1 for k, group in enumerate(groups))


def _ways(groups: tuple[int, ...], values: int) -> int:
    ways = 1
    for taken in range(max(groups) + 1):
        ways *= values - taken
    return ways
