"""The outlines of the twelve sprites: areas by hand, true distances, boxes, mirrors, and how unlike they are."""

import math
from itertools import combinations

import numpy as np
import pytest

from src.data.sprite_shapes import SPRITES

SIDE = 280
LINE = (np.arange(SIDE) + 0.5) / SIDE * 1.4 - 0.7
RIGHT, UP = np.meshgrid(LINE, -LINE)
PIXEL = (1.4 / SIDE) ** 2
DISTANCES = {shape.name: shape.distance(RIGHT, UP) for shape in SPRITES}

AREAS = {
    "circle": math.pi / 4,
    "square": 1,
    "triangle": math.sqrt(3) / 4,
    "cross": 2 * 0.32 - 0.32**2,
    "saltire": 2 * (0.2 * 0.8) * 2 - 0.08,  # two bars of 0.2 sqrt(2) by 0.8 sqrt(2), and the square both cover
    "heart": (0.5 + math.pi / 8) * (3 - math.sqrt(2)) ** 2 / 4,
    "half disc": math.pi / 8,
    "bow tie": 2 * 0.5 * (0.2 + 0.9) / 2,
    "cup": 1 - 0.4 * 0.7,
    "star": 5 * 0.45 * (0.5 / math.cos(math.pi / 10)) ** 2 * math.sin(math.pi / 5),
    "ring": math.pi * (0.5**2 - 0.25**2),
    "arrow": 0.5 * 0.5 + 0.34 * 0.5,
}


@pytest.mark.parametrize("name", AREAS)
def test_area(name):
    assert (DISTANCES[name] < 0).sum() * PIXEL == pytest.approx(AREAS[name], abs=0.008)


@pytest.mark.parametrize("name", AREAS)
def test_distances_are_true_at_the_outline(name):
    distance = DISTANCES[name]
    down, across = np.gradient(distance, 1.4 / SIDE)
    slope = np.hypot(down, across)[np.abs(distance) < 0.015]
    assert np.median(slope) == pytest.approx(1, abs=1e-3)
    assert np.mean(np.abs(slope - 1) < 0.02) > 0.85  # all but what is near a corner


@pytest.mark.parametrize("name", AREAS)
def test_shapes_are_mirrored_and_fill_the_width_of_their_box(name):
    inside = DISTANCES[name] < 0
    assert np.mean(inside != inside[:, ::-1]) < 5e-3
    rows, columns = np.nonzero(inside)
    assert LINE[columns].max() == pytest.approx(0.5, abs=0.04) and LINE[columns].max() < 0.5
    assert np.abs(LINE[rows]).max() < 0.5 and abs(LINE[rows].max() + LINE[rows].min()) < 0.13


def test_any_two_shapes_differ_by_an_eighth_of_their_box():
    moves = range(-28, 29, 7)
    for one, other in combinations(AREAS, 2):
        inside = DISTANCES[one] < 0
        moved = [np.roll(DISTANCES[other] < 0, (up, right), (0, 1)) for up in moves for right in moves]
        assert min((inside != there).sum() for there in moved) * PIXEL > 0.125, (one, other)
