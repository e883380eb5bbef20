"""Whatever a file holds: a picture of the right size, or one line that names it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src.data.decoding import MAX_PIXELS, PictureError, central_square, decode_picture

from .files import noise


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def test_a_square_picture_of_the_wanted_size_is_left_as_it_is(tmp_path):
    pixels = noise(0)
    decoded = decode_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"), 20)
    assert decoded.dtype == np.uint8 and np.array_equal(decoded, pixels.transpose(2, 0, 1))


def test_the_central_square_is_cut_out_and_resized_with_antialiasing(tmp_path):
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 16:48] = np.indices((32, 32)).sum(0)[..., None] % 2 * 255  # a chequerboard, averaged to grey
    pixels[:, :16] = pixels[:, 48:] = (255, 0, 0)
    inside = decode_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"), 16)[:, 2:-2, 2:-2]
    assert np.abs(inside.astype(int) - 127).max() <= 2
    assert central_square((64, 32)) == (16, 0, 48, 32) and central_square((3, 4)) == (0, 0.5, 3, 3.5)


def test_small_pictures_grow(tmp_path):
    decoded = decode_picture(saved(Image.new("RGB", (17, 16), (9, 8, 7)), tmp_path / "a.png"), 32)
    assert decoded.shape == (3, 32, 32) and (decoded == np.array([9, 8, 7])[:, None, None]).all()


GREY = np.arange(400, dtype=np.uint8).reshape(20, 20)


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("grey.png", Image.fromarray(GREY), GREY),
        ("bits.png", Image.fromarray(GREY > 100), (GREY > 100) * 255),
        ("wide.png", Image.fromarray(GREY.astype(np.uint16) * 257), GREY),
        ("wide.tif", Image.fromarray(GREY.astype(np.uint16) * 257), GREY),
        ("long.tif", Image.fromarray(GREY.astype(np.int32) * 257), GREY),
        ("palette.gif", Image.fromarray(GREY).convert("P"), GREY),
        ("alpha_grey.png", Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (20, 20), 255)]), GREY),
        ("transparent.png", Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (20, 20), 0)]), GREY * 0),
        ("inverted.tif", Image.merge("CMYK", [Image.fromarray(255 - GREY)] * 3 + [Image.new("L", (20, 20))]), GREY),
    ],
)
def test_every_mode_becomes_three_channels_of_eight_bits(tmp_path, name, image, expected):
    decoded = decode_picture(saved(image, tmp_path / name), 20)
    assert decoded.shape == (3, 20, 20)
    for channel in decoded:
        assert np.abs(channel.astype(int) - expected).max() <= 1, name


def test_half_transparent_pixels_are_half_dark_and_so_is_a_palette_with_a_clear_colour(tmp_path):
    half = Image.new("RGBA", (16, 16), (200, 100, 0, 128))
    assert decode_picture(saved(half, tmp_path / "half.png"), 16)[:, 0, 0].tolist() == [100, 50, 0]
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 250, 250, 250])
    assert decode_picture(saved(palette, tmp_path / "clear.png", transparency=1), 16).max() == 0
    assert decode_picture(saved(palette, tmp_path / "plain.png"), 16).min() == 250


def test_a_photograph_is_turned_as_its_camera_was(tmp_path):
    upright = np.zeros((24, 24, 3), np.uint8)
    upright[:12] = 255  # light above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90° clockwise to see it upright
    stored = Image.fromarray(np.rot90(upright).copy())
    decoded = decode_picture(saved(stored, tmp_path / "a.jpg", exif=exif, quality=95), 24)
    assert decoded[:, :8].min() > 240 and decoded[:, 16:].max() < 15


def test_a_large_photograph_comes_out_as_if_all_of_it_had_been_decoded(tmp_path):
    smooth = Image.fromarray(noise(3, 12, 9)).resize((1200, 900), Image.Resampling.BICUBIC)
    from_png = decode_picture(saved(smooth, tmp_path / "a.png"), 32)
    from_jpeg = decode_picture(saved(smooth, tmp_path / "a.jpg", quality=95), 32)
    assert np.abs(from_png.astype(int) - from_jpeg).mean() < 2


def test_of_several_frames_the_first_counts(tmp_path):
    frames = [Image.new("L", (16, 16), value) for value in (10, 200)]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode_picture(path, 16).max() == 10


def huge_png(width: int, height: int) -> bytes:
    """A few bytes whose head promises that many pixels."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a picture, or damaged"),
        (b"hello", "not a picture, or damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not a picture, or damaged"),
        (huge_png(9000, 9000), f"has 9000×9000 pixels, more than {MAX_PIXELS:,}; make it smaller"),
        (huge_png(60000, 60000), f"has more than {MAX_PIXELS:,} pixels; make it smaller"),
        (huge_png(100, 15), "has 100×15 pixels; expected at least 16 on the shorter side"),
        (huge_png(100, 100), "cannot be decoded"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(tmp_path, content, said):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(PictureError) as error:
        decode_picture(path, 16)
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value) and "\n" not in str(error.value)


def test_numbers_without_a_range_are_refused(tmp_path):
    for name, values in (("a.tif", np.float32(GREY)), ("b.tif", np.int32(GREY) - 5), ("c.tif", np.int32(GREY) << 16)):
        with pytest.raises(PictureError, match="unknown range; save it with 8 or 16 bits"):
            decode_picture(saved(Image.fromarray(values), tmp_path / name), 16)
    with pytest.raises(PictureError, match="missing.png: no such file"):
        decode_picture(tmp_path / "missing.png", 16)


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    files = {}
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(noise(1, 24, 18)).save(buffer, kind)
        files[kind] = buffer.getvalue()
    return files


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_gives_a_picture_or_one_line(tmp_path_factory, whole, data):
    content = bytearray(whole[data.draw(st.sampled_from(sorted(whole)))])
    del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content))
    try:
        decoded = decode_picture(path, 16)
    except PictureError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert decoded.shape == (3, 16, 16) and decoded.dtype == np.uint8
