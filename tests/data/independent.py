"""A second renderer, sharing only the scene descriptions with src/data: exact outlines, brute force."""

import math

import numpy as np


def inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Is (u, v) inside the shape? Frame: size 1, centre (0, 0), v up; names of both data sets."""
    if shape == "circle":
        return u**2 + v**2 < 0.25
    if shape == "square":
        return (abs(u) < 0.5) & (abs(v) < 0.5)
    if shape == "triangle":
        height = math.sqrt(3) / 2
        return (v > -height / 2) & (abs(u) < (height / 2 - v) / math.sqrt(3))
    if shape == "turned square":
        return (abs(u) < 0.5 / math.sqrt(2)) & (abs(v) < 0.5 / math.sqrt(2))
    if shape == "ellipse":
        return (u / 0.5) ** 2 + (v / 0.25) ** 2 < 1
    if shape == "heart":
        diameter = 2 / (3 - math.sqrt(2))  # of the circle around the heart whose square has the diagonal 1
        u, v = u * diameter, v * diameter + diameter / 2
        disc = (abs(u) - 0.25) ** 2 + (v - 0.75) ** 2 < 1 / 8
        return disc | (abs(u) + abs(v - 0.5) < 0.5)
    raise KeyError(shape)


def object_points(dataset, i: int, k: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which of the points (x, y), fractions of the image with y down, lie inside object k, hidden or not."""
    truth = {key: float(value[i, k]) for key, value in dataset.factors.items()}
    name = dataset.shape_names[int(truth["shape"])]
    if dataset.name == "multi_dsprites" and name == "square":
        name = "turned square"
    # bring the point into the object's frame by turning it back, clockwise
    offset = ((x - truth["x"]) - 1j * (y - truth["y"])) / truth["size"] * np.exp(-1j * truth["rotation"])
    return inside(name, offset.real, offset.imag)


def owners(dataset, i: int, resolution: int) -> tuple[np.ndarray, dict[int, int]]:
    """Owner of each point of a square grid (0 background, k + 1 object k), and each object's point count."""
    line = (np.arange(resolution) + 0.5) / resolution
    x, y = np.meshgrid(line, line)
    owner = np.zeros((resolution, resolution), dtype=int)
    area = {}
    for k in np.flatnonzero(dataset.factors["present"][i]):
        points = object_points(dataset, i, int(k), x, y)
        owner[points] = k + 1
        area[int(k)] = int(points.sum())
    return owner, area
