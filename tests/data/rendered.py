"""Folders as `python -m src.render` writes them, with real descriptions and pictures of noise: quick to make."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from src.data.clevr_scenes import DEFINITION, VARIANTS, Scene, sample_scene, scene_factors
from src.data.shards import Manifest, Source, write_manifest, write_shard


def picture(split: str, index: int, size: int) -> np.ndarray:
    """(3, size, size) uint8, another for each scene."""
    return np.random.default_rng([len(split), index]).integers(0, 256, (3, size, size), dtype=np.uint8)


@functools.cache
def scene_of(variant: str, split: str, index: int) -> Scene:
    """The same scene for every folder; drawing one takes longer than writing it."""
    return sample_scene(VARIANTS[variant], 0, split, index)


def owners(objects: int, size: int) -> np.ndarray:
    """(size, size) uint8: the ground, and below it an equal stripe for every object."""
    rows = np.arange(size) * (objects + 1) // size
    return np.repeat(rows[:, None], size, 1).astype(np.uint8)


def write_rendered(folder: Path, size: int = 16, variant: str = "easy", train: int = 24, others: int = 8) -> Manifest:
    """A finished folder of so many training scenes, and so many of each other split."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"train": train, "val": others, "test": others}
    manifest = Manifest(Source(variant, 0, size, 1, DEFINITION, "none"), counts)
    write_manifest(folder, manifest)
    for shard in manifest.plan():
        rows = []
        for index in range(shard.start, shard.stop):
            scene = scene_of(variant, shard.split, index)
            images = {"images": picture(shard.split, index, size), "instances": owners(len(scene), size)}
            rows.append({**images, **scene_factors(VARIANTS[variant], scene)})
        write_shard(folder, shard, {key: np.stack([row[key] for row in rows]) for key in rows[0]}, manifest)
    return manifest
