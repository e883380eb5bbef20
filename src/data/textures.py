"""Seeded textured backgrounds in muted colours: smooth noise and soft stripes.

Legend: B pictures, H = W = image_size. Defined on the unit square, so a picture is the same in every size. Only
element-wise IEEE arithmetic, as in rendering.py.
"""

from __future__ import annotations

import numpy as np

from .scenes import BACKGROUND_MAX, uniform

DARK_MAX = 0.12  # channels of the darker colour: 0..0.12; of the brighter one: 0.12..BACKGROUND_MAX
CELLS = (3, 7)  # of the coarse and the fine noise, along each side
CONTRAST = 1.6  # of the noise about its middle
MAX_STRIPES = 3  # across the picture, in each direction
_NOISE, _COLOUR, _STRIPES = 11, 12, 13  # fields of the random stream (scenes.py uses 0..9)


def textures(keys: np.ndarray, image_size: int) -> np.ndarray:
    """Backgrounds of the pictures with these keys (`scenes.image_keys`), (B,) uint64 -> (B, 3, H, W) float32.

    A map t in [0, 1] blends a dark and a brighter colour: t = noise + share * (stripes - noise). The noise is
    smoothly interpolated between random values on two lattices, two parts coarse and one part fine; the stripes
    run in a random direction, bent by the coarse noise.
    """
    coarse, fine = (_noise(keys, octave, image_size) for octave in range(len(CELLS)))
    half, one, two = (np.float32(value) for value in (0.5, 1, 2))
    noise = np.clip(((two * coarse + fine) / np.float32(3) - half) * np.float32(CONTRAST) + half, 0, 1)
    across, down, share = (_draw(keys, _STRIPES, number)[:, None, None] for number in range(3))
    position = ((np.arange(image_size) + 0.5) / image_size).astype(np.float32)
    turns = np.float32(2 * MAX_STRIPES)
    phase = turns * (across - half) * position + turns * (down - half) * position[:, None] + coarse
    stripes = _smooth(np.abs(two * (phase - np.floor(phase)) - one))
    blend = (noise + share * (stripes - noise))[:, None]
    dark = np.stack([_draw(keys, _COLOUR, channel) for channel in range(3)], 1) * np.float32(DARK_MAX)
    bright = np.stack([_draw(keys, _COLOUR, 3 + channel) for channel in range(3)], 1)
    bright = np.float32(DARK_MAX) + bright * np.float32(BACKGROUND_MAX - DARK_MAX)
    return dark[:, :, None, None] + blend * (bright - dark)[:, :, None, None]


def _noise(keys: np.ndarray, octave: int, image_size: int) -> np.ndarray:
    """Random values on a lattice, smoothly interpolated: (B, H, W) float32 in [0, 1]."""
    cells = CELLS[octave]
    lattice = np.empty((len(keys), cells + 1, cells + 1), np.float32)
    for row in range(cells + 1):
        for column in range(cells + 1):
            lattice[:, row, column] = uniform(keys, _NOISE, row, column, octave)
    position = (np.arange(image_size) + 0.5) / image_size * cells
    cell = np.floor(position).astype(np.int64)
    weight = _smooth((position - cell).astype(np.float32))
    rows = lattice[:, cell] + weight[:, None] * (lattice[:, cell + 1] - lattice[:, cell])
    return rows[:, :, cell] + weight * (rows[:, :, cell + 1] - rows[:, :, cell])


def _draw(keys: np.ndarray, field: int, number: int) -> np.ndarray:
    return uniform(keys, field, number).astype(np.float32)


def _smooth(share: np.ndarray) -> np.ndarray:
    """0..1 to 0..1, flat at both ends."""
    return share * share * (np.float32(3) - np.float32(2) * share)
