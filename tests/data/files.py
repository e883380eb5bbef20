"""Small data sets in files, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
SHAPES = ("cube", "cylinder", "sphere")


def noise(number: int, width: int = 20, height: int = 20, channels: int = 3) -> np.ndarray:
    """(height, width, channels) uint8, another for each number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, channels), dtype=np.uint8)


def write_pictures(folder: Path, count: int, **size: int) -> list[Path]:
    """`count` PNG files of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture_{number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(noise(number, **size)).save(path)
    return paths


def an_object(number: int, x: float = 10, y: float = 10) -> dict:
    """An object as in CLEVR's scene files."""
    return {
        **{"shape": SHAPES[number % 3], "color": COLOURS[number % 8], "material": ("rubber", "metal")[number % 2]},
        **{"size": ("small", "large")[number % 2], "pixel_coords": [x, y, 9.5], "3d_coords": [1.0, 2.0, 0.35]},
        "rotation": 30.0,
    }


def write_clevr(folder: Path, counts: dict[str, int]) -> None:
    """CLEVR's layout, pictures of 30 × 20 pixels; scene i holds i % 3 + 1 objects. The test split has no scenes."""
    for split, count in counts.items():
        images = folder / "images" / split
        images.mkdir(parents=True)
        scenes = []
        for number in range(count):
            name = f"CLEVR_{split}_{number:06d}.png"
            Image.fromarray(noise(number, 30, 20)).convert("RGBA").save(images / name)
            objects = [an_object(number + k, x=7.0 + 8 * k, y=5.0 + k) for k in range(number % 3 + 1)]
            scenes.append({"image_filename": name, "image_index": number, "split": split, "objects": objects})
        if split != "test":
            (folder / "scenes").mkdir(exist_ok=True)
            text = json.dumps({"info": {}, "scenes": scenes})
            (folder / "scenes" / f"CLEVR_{split}_scenes.json").write_text(text)


def write_sysbinder(folder: Path, count: int, side: int = 32) -> None:
    """SysBinder's layout: two squares a picture, their masks red and green, their scene beside."""
    for name in ("images", "scenes"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        picture, mask = np.zeros((2, side, side, 3), np.uint8)
        objects = []
        for k, left in enumerate((2, side // 2)):
            top, width = int(rng.integers(2, side // 2)), int(rng.integers(6, side // 2 - 3))
            area = slice(top, top + width), slice(left, left + width)
            one = an_object(int(rng.integers(24)), x=left + width / 2, y=top + width / 2)
            picture[area] = 40 + 25 * COLOURS.index(one["color"])
            mask[area] = np.eye(3, dtype=np.uint8)[k] * 255
            objects.append(one)
        stem = f"CLEVR_new_{number:06d}"
        Image.fromarray(picture).save(folder / "images" / f"{stem}.png")
        Image.fromarray(mask).save(folder / "images" / f"{stem}_mask.png")
        (folder / "scenes" / f"{stem}.json").write_text(json.dumps({"objects": objects}))
