"""What codes mean is read off objects whose properties are known."""

from __future__ import annotations

import numpy as np
import torch

from src.editor.meaning import SHOWN, learn_meanings

RNG = np.random.default_rng(0)
COLOUR, PLACE = RNG.integers(0, 3, 400), RNG.random(400)
# Codes 0..5 are colours, two for each; codes 0..39 are places, from right to left; the third block says nothing.
CODES = np.stack(
    [2 * COLOUR + RNG.integers(0, 2, 400), 39 - (PLACE * 40).astype(int), RNG.integers(0, 40, 400)], axis=1
)
FACTORS = {"colour": COLOUR, "x": PLACE.astype(np.float32)}
NAMES = {"colour": ("red", "green", "blue")}


def test_blocks_are_named_after_what_they_tell():
    blocks = learn_meanings(CODES, None, 64, CODES, FACTORS, NAMES)
    assert [block.factor for block in blocks] == ["colour", "x", None]


def test_codes_of_a_class_are_in_the_order_of_its_values():
    colour = learn_meanings(CODES, None, 64, CODES, FACTORS, NAMES)[0]
    assert [colour.words[code] for code in colour.shown] == ["red"] * 2 + ["green"] * 2 + ["blue"] * 2


def test_codes_of_a_number_go_from_small_to_large_and_are_spread_evenly():
    place = learn_meanings(CODES, None, 64, CODES, FACTORS, NAMES)[1]
    assert len(place.shown) == SHOWN
    assert list(place.shown) == sorted(place.shown, reverse=True)
    assert place.shown[0] == 39 and place.shown[-1] == 0 and place.words[0] in ("98%", "99%")


def test_two_blocks_of_one_factor_are_told_apart():
    twice = np.stack([CODES[:, 1], CODES[:, 1]], axis=1)
    blocks = learn_meanings(twice, None, 64, twice, FACTORS, NAMES)
    assert [(block.factor, block.nth) for block in blocks] == [("x", 1), ("x", 2)]


def test_without_known_properties_codes_are_ordered_by_their_vectors():
    vectors = torch.arange(64.0)[torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    codebook = torch.stack([vectors, vectors.roll(1), vectors.roll(2)]).unsqueeze(-1)
    blocks = learn_meanings(CODES, codebook, 64, np.empty((0, 3), np.int64), {}, {})
    assert [block.factor for block in blocks] == [None] * 3
    for block, vectors in zip(blocks, codebook, strict=True):
        along = [float(vectors[code]) for code in block.shown]
        assert along in (sorted(along), sorted(along, reverse=True)) and block.words == {}
