"""A picture with the file of its masks → pixels and owners. Imports no torch (see decoding.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .decoding import PictureError, central_square, decode_picture
from .scene_json import objects_beside, picture_size

MASK = "_mask.png"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))  # of the first, second and third object of the scene


def mask_of(picture: str) -> str:
    """The file of the masks of a picture."""
    return str(Path(picture).with_name(Path(picture).stem + MASK))


def decode_with_mask(path: str, image_size: int) -> NDArray[np.uint8]:
    """Picture and instances, (4, H, W) uint8: red, green, blue, number of the object that owns the pixel (0 none).

    The mask is cut and resized as the picture, by nearest pixels.

    Raises:
        PictureError: picture, mask or scene is missing or cannot be used, or they do not belong together.
    """
    pixels = decode_picture(path, image_size)
    try:
        owner = read_mask(mask_of(path), objects=len(objects_beside(path)))
    except (FileNotFoundError, ValueError) as error:
        raise PictureError(f"{path}: {error}") from error
    height, width = owner.shape
    if (width, height) != picture_size(path):
        raise PictureError(f"{path}: its mask has another size, {width}×{height} pixels")
    square = central_square((width, height))
    small = Image.fromarray(owner).resize((image_size, image_size), Image.Resampling.NEAREST, square)
    return np.concatenate([pixels, np.asarray(small)[None]])


def read_mask(path: str, objects: int) -> NDArray[np.uint8]:
    """The number of the object that owns each pixel, (height, width), 0 where none does.

    In a grey or palette picture that is the pixel's value; in a coloured one `COLOURS` are the objects.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or shows more objects than there are, or cannot show so many.
    """
    try:
        with Image.open(path, formats=("PNG",)) as file:
            coloured = file.mode not in ("L", "P")
            values = np.asarray(file.convert("RGB") if coloured else file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except Exception as error:  # decoders raise anything for damaged files
        raise ValueError(f"{path} cannot be decoded ({' '.join(str(error).split())})") from error
    owner = values
    if coloured:
        owner = np.zeros(values.shape[:2], np.uint8)
        for number, colour in enumerate(COLOURS, start=1):
            owner[(values == colour).all(axis=2)] = number
    if owner.max() > objects or (coloured and objects > len(COLOURS)):
        raise ValueError(f"{path} does not show the {objects} objects of the scene; docs/data.md describes masks")
    return owner
