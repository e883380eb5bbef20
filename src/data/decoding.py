"""One picture file → square uint8 pixels. Imports no torch, so that worker processes start at once.

A picture is turned as its EXIF entry says, its central square is cut out and resized to the wanted side (bicubic, with
anti-aliasing when it shrinks), which leaves a square picture of that size as it is.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # others may start programs, such as Ghostscript
MIN_SIDE = 16  # pixels; what is smaller shows no scene
MAX_PIXELS = 2**26  # 8192 × 8192, which take 256 MB decoded
WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # 16 bits a pixel, in one channel


class PictureError(ValueError):
    """A file that cannot be used; the message is one line: the file and why."""


def decode_picture(path: str | Path, image_size: int) -> NDArray[np.uint8]:
    """The picture in a file, see `decode_file`; the messages of its errors begin with the path."""
    try:
        return decode_file(path, image_size)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error.__cause__


def decode_file(file: str | Path | BinaryIO, image_size: int) -> NDArray[np.uint8]:
    """The picture as (3, H, W) uint8 with H = W = `image_size`.

    Grey and palette pictures get three channels, CMYK becomes RGB, 16 bits become 8; what is transparent lies on black;
    of several frames the first counts.

    Raises:
        PictureError: damaged, no picture, too small, too large, or of numbers without a known range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit comes with a warning first
            with Image.open(file, formats=FORMATS) as opened:
                check_size(opened.size)
                # JPEG decodes large photographs at 1/2, 1/4 or 1/8
                opened.draft(None, (2 * image_size, 2 * image_size))
                rgb = as_rgb(ImageOps.exif_transpose(opened))
        square = rgb.resize((image_size, image_size), Image.Resampling.BICUBIC, central_square(rgb.size))
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except IsADirectoryError:
        raise PictureError("is a folder; expected the file of a picture") from None
    except Image.UnidentifiedImageError:
        raise PictureError(f"not a picture, or damaged; expected one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"has more than {MAX_PIXELS:,} pixels; make it smaller") from None
    except Exception as error:  # decoders raise anything for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"cannot be decoded ({reason})") from error
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def check_size(size: tuple[int, int]) -> None:
    """Refuses what shows nothing and what would fill the memory; width and height come from the head of the file."""
    width, height = size
    if min(size) < MIN_SIDE:
        raise PictureError(f"has {width}×{height} pixels; expected at least {MIN_SIDE} on the shorter side")
    if width * height > MAX_PIXELS:
        raise PictureError(f"has {width}×{height} pixels, more than {MAX_PIXELS:,}; make it smaller")


def central_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest centred square of a picture (width, height), in pixels."""
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode → RGB."""
    if image.mode in WIDE:
        return _narrowed(image).convert("RGB")
    if image.mode == "F":
        raise PictureError("has floating-point pixels of unknown range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")


def _narrowed(image: Image.Image) -> Image.Image:
    """16 bits a pixel → 8, rounded."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise PictureError("has integer pixels beyond 16 bits, of unknown range; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))
