"""The decoder's frames: the formula of its docstring, and that an object looks the same wherever it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from src.models.frame_attention_decoder import (
    DAMPING,
    NEAR_REACH,
    NEAR_WAVES,
    WIDE_REACH,
    WIDE_WAVES,
    ZOOM,
    FrameAttentionDecoder,
)

BATCH, SLOTS, DIM, SIZE = 2, 3, 6, 16


@pytest.fixture
def decoder() -> FrameAttentionDecoder:
    return FrameAttentionDecoder(DIM, 12, SIZE, channels=2)


def test_equals_its_formula_pixel_by_pixel(decoder: FrameAttentionDecoder) -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    pictures, logits = decoder(slots)
    painted = torch.cat([pictures, logits], dim=2).detach().numpy()
    frames = decoder.to_frame(slots).detach().double().numpy()
    coefficients = decoder.to_coefficients(slots).detach().double().numpy()
    for scene, slot, row, column in [(0, 0, 0, 0), (1, 2, 5, 11), (0, 1, 15, 3), (1, 0, 8, 8)]:
        x, y, size = frames[scene, slot]
        zoom = math.exp(ZOOM[0] + ZOOM[1] * math.tanh(size))
        place_x = ((column + 0.5) * 2 / SIZE - 1 - x) * zoom
        place_y = ((row + 0.5) * 2 / SIZE - 1 - y) * zoom
        weights = coefficients[scene, slot].reshape(3, -1)
        total = np.zeros(3)
        for i in range(WIDE_WAVES):
            for j in range(WIDE_WAVES):
                u, v = math.tanh(place_y / WIDE_REACH), math.tanh(place_x / WIDE_REACH)
                wave = math.cos(i * math.pi * (u + 1) / 2) * math.cos(j * math.pi * (v + 1) / 2)
                total += DAMPING ** (i + j) * wave * weights[:, i * WIDE_WAVES + j]
        for i in range(NEAR_WAVES):
            for j in range(NEAR_WAVES):
                u, v = place_y / NEAR_REACH, place_x / NEAR_REACH
                if max(abs(u), abs(v)) < 1:
                    window = (1 + math.cos(math.pi * u)) * (1 + math.cos(math.pi * v)) / 4
                    wave = math.cos(i * math.pi * (u + 1) / 2) * math.cos(j * math.pi * (v + 1) / 2)
                    total += DAMPING ** (i + j) * window * wave * weights[:, WIDE_WAVES**2 + i * NEAR_WAVES + j]
        np.testing.assert_allclose(painted[scene, slot, :, row, column], total, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (-4, 5)])
def test_moving_a_frame_moves_what_is_painted(decoder: FrameAttentionDecoder, right: int, down: int) -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    before = torch.cat(decoder(slots), dim=2)
    with torch.no_grad():
        assert decoder.to_frame.bias is not None
        decoder.to_frame.bias[:2] += torch.tensor([right, down]) * (2 / SIZE)
    after = torch.cat(decoder(slots), dim=2)

    def seen_twice(shift: int) -> tuple[slice, slice]:
        """The part of a side that is in the image before and after: where it is afterwards, and where it was."""
        return slice(max(shift, 0), SIZE + min(shift, 0)), slice(max(-shift, 0), SIZE + min(-shift, 0))

    (x_after, x_before), (y_after, y_before) = seen_twice(right), seen_twice(down)
    torch.testing.assert_close(after[..., y_after, x_after], before[..., y_before, x_before], rtol=1e-4, atol=1e-5)


def test_size_scales_what_is_painted_about_its_centre(decoder: FrameAttentionDecoder) -> None:
    slots = torch.zeros(1, 1, DIM)
    with torch.no_grad():
        decoder.to_frame.bias.copy_(torch.tensor([0.0, 0.0, -10.0]))  # tanh: as wide as frames get
        wide = torch.cat(decoder(slots), dim=2)
        decoder.to_frame.bias[2] = 10.0
        decoder.pixels /= math.exp(2 * ZOOM[1])  # what lies as much nearer to the centre
        narrow = torch.cat(decoder(slots), dim=2)
    torch.testing.assert_close(narrow, wide, rtol=1e-4, atol=1e-5)


def test_positions_stay_exact_under_autocast(decoder: FrameAttentionDecoder) -> None:
    """A frame far from the origin, as small as frames get: rounded to bf16, its centre would be off by pixels."""
    with torch.no_grad():
        decoder.to_frame.bias.copy_(torch.tensor([0.9, -0.9, 10.0]))
    slots = torch.zeros(1, 1, DIM)
    exact = torch.cat(decoder(slots), dim=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pictures, logits = decoder(slots)
    assert pictures.dtype == logits.dtype == torch.float32
    assert (torch.cat([pictures, logits], dim=2) - exact).abs().max() < 0.02 * exact.abs().max()
