"""Textured backgrounds: their range, their variety, and that they are one picture in every size."""

import numpy as np

from src.data.scenes import BACKGROUND_MAX, image_keys
from src.data.textures import textures

KEYS = image_keys(3, 0, "train", np.arange(60))


def test_muted_and_never_flat():
    pictures = textures(KEYS, 64)
    assert pictures.shape == (60, 3, 64, 64) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= BACKGROUND_MAX + 1e-6
    contrast = np.ptp(pictures, axis=(2, 3)).max(1)
    assert contrast.min() > 0.04 and np.median(contrast) > 0.12
    steps = np.abs(np.diff(pictures, axis=3)).max()
    assert steps < 0.08  # soft: an object's edge is a step of at least 1 - BACKGROUND_MAX


def test_every_picture_has_a_texture_of_its_own():
    light = textures(KEYS, 16).mean(1).reshape(60, -1)
    light = light - light.mean(1, keepdims=True)
    alike = np.corrcoef(light)[np.triu_indices(60, 1)]
    assert np.abs(alike).mean() < 0.3 and alike.max() < 0.95


def test_the_same_texture_in_every_size():
    large, small = textures(KEYS[:8], 128), textures(KEYS[:8], 64)
    halved = large.reshape(8, 3, 64, 2, 64, 2).mean((3, 5))
    assert np.abs(halved - small).max() < 0.02
