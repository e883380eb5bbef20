"""The objects in CLEVR's scene files → factors. Legend: S objects a scene can hold.

Imports no torch (see decoding.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .decoding import central_square

KEYS = {"colour": "color", "shape": "shape", "material": "material", "size": "size"}  # our factor → their key


def read_json(path: str | Path) -> Any:
    """The content of a file; raises ValueError with one line if it is no JSON, FileNotFoundError if it is not there."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no JSON ({error})") from error


def objects_beside(picture: str) -> list[dict[str, Any]]:
    """The objects in scenes/NAME.json of images/NAME.png.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or none with a list of objects.
    """
    path = scene_of(picture)
    content = read_json(path)
    objects = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise ValueError(f"{path} has no list of objects; expected a scene as CLEVR writes it")
    return objects


def scene_of(picture: str) -> str:
    """The scene file of a picture."""
    return str(Path(picture).parent.parent / "scenes" / f"{Path(picture).stem}.json")


def picture_size(path: str) -> tuple[int, int]:
    """Width and height from the head of the file."""
    with Image.open(path) as file:
        return file.size


def scene_factors(
    scenes: Sequence[tuple[Sequence[Mapping[str, Any]], tuple[int, int]]],
    class_names: Mapping[str, Sequence[str]],
    numbers: Sequence[str],
    source: str | Path,
    keep_hidden: bool,
) -> dict[str, NDArray]:
    """The factors (num, S) of the objects of each scene, which comes with the size (width, height) of its picture.

    x and y come from ``pixel_coords``, as fractions of the central square that is cut out of the picture.

    Args:
        class_names: the categorical factors to read, with the names of their classes.
        numbers: the continuous ones, besides x and y.
        source: the file or folder that errors name.
        keep_hidden: also objects whose centre lies outside that square; else they count as absent.

    Raises:
        ValueError: an object lacks one of the factors, or has a class that is unknown.
    """
    grid = (len(scenes), max((len(objects) for objects, _ in scenes), default=0))
    factors: dict[str, NDArray] = {"present": np.zeros(grid, bool)}
    factors |= {name: np.full(grid, -1, np.int64) for name in class_names}
    factors |= {name: np.full(grid, np.nan, np.float32) for name in (*numbers, "x", "y")}
    for row, (objects, size) in enumerate(scenes):
        left, top, right, _ = central_square(size)
        for k, one in enumerate(objects):
            try:
                found = {name: list(names).index(one[KEYS[name]]) for name, names in class_names.items()}
                found |= {name: float(one[KEYS[name]]) for name in numbers}
                x, y = (float(one["pixel_coords"][axis]) for axis in (0, 1))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(f"{source}: object {k} of scene {row} cannot be read ({error!r})") from error
            found |= {"x": (x - left) / (right - left), "y": (y - top) / (right - left)}
            if keep_hidden or (0 <= found["x"] <= 1 and 0 <= found["y"] <= 1):
                factors["present"][row, k] = True
                for name, value in found.items():
                    factors[name][row, k] = value
    return factors
