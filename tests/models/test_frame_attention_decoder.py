"""The decoder's frames: the formula of its docstring, and that an object looks the same wherever it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from src.models.frame_attention_decoder import (
    COLOUR_WAVES,
    DAMPING,
    HALF_SIZE,
    NEAR_REACH,
    NEAR_WAVES,
    SHADE,
    WIDE_REACH,
    WIDE_WAVES,
    ZOOM,
    FrameAttentionDecoder,
    blocks_of,
)

BATCH, SLOTS, DIM, SIZE = 2, 3, 10, 16


@pytest.fixture(params=[(5, True), (2, True), (5, False)], ids=["five_blocks", "two_blocks", "flat"])
def decoder(request: pytest.FixtureRequest) -> FrameAttentionDecoder:
    num_blocks, shading = request.param
    return FrameAttentionDecoder(DIM, 12, SIZE, channels=2, num_blocks=num_blocks, shading=shading)


def test_equals_its_formula_pixel_by_pixel(decoder: FrameAttentionDecoder) -> None:
    slots = torch.randn(BATCH, SLOTS, DIM)
    pictures, logits = decoder(slots)
    painted = torch.cat([pictures, logits], dim=2).detach().numpy()
    parts = decoder.parts(slots)
    frames, colours, outlines = (
        values.detach().double().numpy()
        for values in (decoder.frames(slots), decoder.to_colour(parts.colour), decoder.to_outline(parts.outline))
    )
    for scene, slot, row, column in [(0, 0, 0, 0), (1, 2, 5, 11), (0, 1, 15, 3), (1, 0, 8, 8)]:
        x, y, half_size = frames[scene, slot]
        place_x = ((column + 0.5) * 2 / SIZE - 1 - x) * HALF_SIZE / half_size
        place_y = ((row + 0.5) * 2 / SIZE - 1 - y) * HALF_SIZE / half_size
        colour = colours[scene, slot].reshape(2, -1)
        *shade, key = outlines[scene, slot].reshape(2 if decoder.shading else 1, -1)
        wide, near = np.zeros((WIDE_WAVES, WIDE_WAVES)), np.zeros((NEAR_WAVES, NEAR_WAVES))
        u, v = math.tanh(place_y / WIDE_REACH), math.tanh(place_x / WIDE_REACH)
        for i in range(WIDE_WAVES):
            for j in range(WIDE_WAVES):
                wave = math.cos(i * math.pi * (u + 1) / 2) * math.cos(j * math.pi * (v + 1) / 2)
                wide[i, j] = DAMPING ** (i + j) * wave
        u, v = place_y / NEAR_REACH, place_x / NEAR_REACH
        for i in range(NEAR_WAVES):
            for j in range(NEAR_WAVES):
                if max(abs(u), abs(v)) < 1:
                    window = (1 + math.cos(math.pi * u)) * (1 + math.cos(math.pi * v)) / 4
                    wave = math.cos(i * math.pi * (u + 1) / 2) * math.cos(j * math.pi * (v + 1) / 2)
                    near[i, j] = DAMPING ** (i + j) * window * wave
        query = np.concatenate([wide.ravel(), near.ravel()])
        coarse = wide[:COLOUR_WAVES, :COLOUR_WAVES].ravel()
        flat = colour[:, 0]
        varied = [each @ coarse * (1 + SHADE * np.tanh(one @ query)) for one in shade for each in colour]
        expected = [*(varied if decoder.shading else flat), key @ query]
        np.testing.assert_allclose(painted[scene, slot, :, row, column], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("num_blocks", range(1, 17))
def test_every_block_tells_a_part_and_neighbours_share_none_where_there_are_enough(num_blocks: int) -> None:
    blocks = [list(range(start, stop)) for start, stop in blocks_of(num_blocks)]
    assert all(blocks) and {block for part in blocks for block in part} == set(range(num_blocks))
    if num_blocks >= 5:
        assert sum(map(len, blocks)) == num_blocks
        assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


def test_four_blocks_are_colour_outline_with_size_and_places() -> None:
    assert blocks_of(4) == [(0, 1), (1, 2), (1, 2), (2, 3), (3, 4)]


def test_each_block_changes_its_own_part() -> None:
    decoder = FrameAttentionDecoder(DIM, 12, SIZE, channels=2, num_blocks=5)
    slots = torch.randn(1, 1, DIM)
    pictures, logits = decoder(slots)
    frame = decoder.frames(slots)[0, 0]
    for block, (colour_alone, moved) in enumerate([(True, []), (False, []), (False, [2]), (False, [0]), (False, [1])]):
        other = slots.clone()
        other[..., 2 * block : 2 * block + 2] += 1
        new_pictures, new_logits = decoder(other)
        assert torch.nonzero(decoder.frames(other)[0, 0] != frame).flatten().tolist() == moved
        assert not torch.equal(new_pictures, pictures)
        assert torch.equal(new_logits, logits) == colour_alone  # which leaves masks as they are


def rectangles(*sides: tuple[slice, slice]) -> torch.Tensor:
    """Masks (1, N, 1, SIZE, SIZE) of a background and of what `sides` (rows, columns) cover on it."""
    masks = torch.zeros(1, len(sides) + 1, 1, SIZE, SIZE)
    masks[:, 0] = 0.5
    for slot, (rows, columns) in enumerate(sides, 1):
        masks[0, slot, 0, rows, columns] = 0.9
    return masks


def test_boxes_are_those_of_what_masks_claim(decoder: FrameAttentionDecoder) -> None:
    masks = rectangles((slice(2, 6), slice(8, 14)), (slice(10, 16), slice(0, 4)), (slice(0, 0), slice(0, 0)))
    masks[0, 1, 0, 3, 9] = 0.1  # a hole
    smallest, largest = (HALF_SIZE / math.exp(ZOOM[0] + sign * ZOOM[1]) for sign in (1, -1))
    expected = [[0.0, 0.0, largest], [0.375, -0.5, 0.375], [-0.75, 0.625, 0.375], [0.0, 0.0, smallest]]
    torch.testing.assert_close(decoder.boxes(masks)[0], torch.tensor(expected))


def test_frames_learn_to_be_the_boxes(decoder: FrameAttentionDecoder) -> None:
    masks = rectangles((slice(2, 6), slice(9, 14)), (slice(0, 0), slice(0, 0))).requires_grad_()
    slots = torch.randn(1, SLOTS, DIM, requires_grad=True)
    error = (decoder.frames(slots) - decoder.boxes(masks)).abs()
    pixel = 2 / SIZE
    error = torch.where(error < pixel, error.square() / (2 * pixel), error - pixel / 2).mean()
    assert decoder.frame_loss(slots, masks).item() == pytest.approx(error.item())
    optimizer = torch.optim.LBFGS([slots], max_iter=100, line_search_fn="strong_wolfe")

    def step() -> float:
        optimizer.zero_grad()
        loss = decoder.frame_loss(slots, masks)
        loss.backward()
        assert slots.grad is not None and slots.grad.isfinite().all() and masks.grad is None
        return loss.item()

    optimizer.step(step)
    torch.testing.assert_close(decoder.frames(slots), decoder.boxes(masks), atol=0.01, rtol=0)


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
