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

BATCH, SLOTS, DIM, SIZE = 2, 3, 8, 16


@pytest.fixture(params=[4, 3], ids=["apart", "together"])
def decoder(request: pytest.FixtureRequest) -> FrameAttentionDecoder:
    return FrameAttentionDecoder(DIM, 12, SIZE, channels=2, num_blocks=request.param)


def test_equals_its_formula_pixel_by_pixel(decoder: FrameAttentionDecoder) -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    pictures, logits = decoder(slots)
    painted = torch.cat([pictures, logits], dim=2).detach().numpy()
    parts = decoder.parts(slots)
    assert parts.y.shape[-1] == (DIM // 4 if decoder.apart else DIM)
    centres, zooms, colours, outlines = (
        values.detach().double().numpy()
        for values in (
            decoder.centres(slots),
            decoder.to_zoom(parts.outline),
            decoder.to_colour(parts.colour),
            decoder.to_outline(parts.outline),
        )
    )
    for scene, slot, row, column in [(0, 0, 0, 0), (1, 2, 5, 11), (0, 1, 15, 3), (1, 0, 8, 8)]:
        x, y = centres[scene, slot]
        zoom = math.exp(ZOOM[0] + ZOOM[1] * math.tanh(zooms[scene, slot, 0]))
        place_x = ((column + 0.5) * 2 / SIZE - 1 - x) * zoom
        place_y = ((row + 0.5) * 2 / SIZE - 1 - y) * zoom
        colour, (shade, key) = colours[scene, slot].reshape(2, -1), outlines[scene, slot].reshape(2, -1)
        wide = np.zeros(WIDE_WAVES**2)
        for i in range(WIDE_WAVES):
            for j in range(WIDE_WAVES):
                u, v = math.tanh(place_y / WIDE_REACH), math.tanh(place_x / WIDE_REACH)
                wave = math.cos(i * math.pi * (u + 1) / 2) * math.cos(j * math.pi * (v + 1) / 2)
                wide[i * WIDE_WAVES + j] = DAMPING ** (i + j) * wave
        near = np.zeros(NEAR_WAVES**2)
        u, v = place_y / NEAR_REACH, place_x / NEAR_REACH
        for i in range(NEAR_WAVES):
            for j in range(NEAR_WAVES):
                if max(abs(u), abs(v)) < 1:
                    window = (1 + math.cos(math.pi * u)) * (1 + math.cos(math.pi * v)) / 4
                    wave = math.cos(i * math.pi * (u + 1) / 2) * math.cos(j * math.pi * (v + 1) / 2)
                    near[i * NEAR_WAVES + j] = DAMPING ** (i + j) * window * wave
        query = np.concatenate([wide, near])
        expected = [*(colour @ wide * (1 + shade @ query)), key @ query]
        np.testing.assert_allclose(painted[scene, slot, :, row, column], expected, rtol=1e-3, atol=1e-4)


def test_each_quarter_of_the_blocks_changes_its_own_part() -> None:
    decoder = FrameAttentionDecoder(DIM, 12, SIZE, channels=2, num_blocks=8)
    slots = torch.randn(1, 1, DIM)
    pictures, logits = decoder(slots)
    centres = decoder.centres(slots)
    for part in range(4):
        other = slots.clone()
        other[..., 2 * part : 2 * part + 2] += 1
        new_pictures, new_logits = decoder(other)
        moved = (decoder.centres(other) != centres)[0, 0].tolist()
        assert moved == [part == 2, part == 3]
        assert not torch.equal(new_pictures, pictures)
        assert torch.equal(new_logits, logits) == (part == 0)  # colour alone leaves masks as they are


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (-4, 5)])
def test_moving_a_frame_moves_what_is_painted(decoder: FrameAttentionDecoder, right: int, down: int) -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    before = torch.cat(decoder(slots), dim=2)
    with torch.no_grad():
        decoder.to_x.bias.add_(right * 2 / SIZE)
        decoder.to_y.bias.add_(down * 2 / SIZE)
    after = torch.cat(decoder(slots), dim=2)

    def seen_twice(shift: int) -> tuple[slice, slice]:
        """The part of a side that is in the image before and after: where it is afterwards, and where it was."""
        return slice(max(shift, 0), SIZE + min(shift, 0)), slice(max(-shift, 0), SIZE + min(-shift, 0))

    (x_after, x_before), (y_after, y_before) = seen_twice(right), seen_twice(down)
    torch.testing.assert_close(after[..., y_after, x_after], before[..., y_before, x_before], rtol=1e-4, atol=1e-5)


def test_size_scales_what_is_painted_about_its_centre(decoder: FrameAttentionDecoder) -> None:
    slots = torch.zeros(1, 1, DIM)
    with torch.no_grad():
        for bias in (decoder.to_x.bias, decoder.to_y.bias):
            bias.zero_()
        decoder.to_zoom.bias.fill_(-10.0)  # tanh: as wide as frames get
        wide = torch.cat(decoder(slots), dim=2)
        decoder.to_zoom.bias.fill_(10.0)
        decoder.pixels /= math.exp(2 * ZOOM[1])  # what lies as much nearer to the centre
        narrow = torch.cat(decoder(slots), dim=2)
    torch.testing.assert_close(narrow, wide, rtol=1e-4, atol=1e-5)


def test_positions_stay_exact_under_autocast(decoder: FrameAttentionDecoder) -> None:
    """A frame far from the origin, as small as frames get: rounded to bf16, its centre would be off by pixels."""
    with torch.no_grad():
        for layer, value in ((decoder.to_x, 0.9), (decoder.to_y, -0.9), (decoder.to_zoom, 10.0)):
            layer.bias.fill_(value)
    slots = torch.zeros(1, 1, DIM)
    exact = torch.cat(decoder(slots), dim=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pictures, logits = decoder(slots)
    assert pictures.dtype == logits.dtype == torch.float32
    assert (torch.cat([pictures, logits], dim=2) - exact).abs().max() < 0.02 * exact.abs().max()
