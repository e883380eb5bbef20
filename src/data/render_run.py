"""Renders CLEVR-like scenes into a folder of shards on several processes; goes on where an earlier run was stopped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..utils.progress import progress_bar
from ..utils.workers import follow_the_parent, processors
from . import mitsuba_renderer
from .base import SPLITS, check_choice
from .clevr_scenes import DEFINITION, VARIANTS, noise_seed, sample_scene, scene_factors
from .shards import MANIFEST, Manifest, Source, check_shard, read_manifest, write_manifest, write_shard

CHUNK = 4  # scenes a worker takes at once


class Task(NamedTuple):
    """One picture."""

    source: Source
    split: str
    index: int


def render_scenes(
    folder: Path,
    *,
    variant: str,
    image_size: int,
    samples: int,
    counts: Mapping[str, int],
    seed: int = 0,
    workers: int | None = None,
    show: bool = True,
) -> Manifest:
    """Renders what the folder lacks of the first `counts[split]` scenes of each split; returns its finished manifest.

    The bytes do not depend on the number of workers, nor on where the command was stopped and went on.

    Args:
        variant: "easy" or "hard".
        samples: light paths a pixel and source of light.
        workers: processes; None: one a core.
        show: with a progress bar.

    Raises:
        ImportError: Mitsuba is not installed.
        ValueError: the folder holds something else, or its files differ from its manifest.
    """
    check_choice("variant", variant, VARIANTS)
    version = mitsuba_renderer.load_mitsuba().__version__
    wanted = Manifest(Source(variant, seed, image_size, samples, DEFINITION, version), {s: counts[s] for s in SPLITS})
    manifest = _go_on(folder, wanted)
    missing = manifest.missing
    total = sum(manifest.counts.values())
    left = sum(shard.stop - shard.start for shard in missing)
    tasks = [Task(manifest.source, shard.split, i) for shard in missing for i in range(shard.start, shard.stop)]
    with (
        progress_bar("rendering", total, initial=total - left, unit="image", enabled=show) as bar,
        _pool(min(workers or processors(), left)) as run,
    ):
        scenes = run(render_one, tasks)
        for shard in missing:
            rows = []
            for row in islice(scenes, shard.stop - shard.start):
                rows.append(row)
                bar.update()
            write_shard(folder, shard, {key: np.stack([row[key] for row in rows]) for key in rows[0]}, manifest)
    return manifest


def render_one(task: Task) -> dict[str, np.ndarray]:
    """image (3, H, W) uint8, instance (H, W) uint8 and the factors (S,) of a scene, under the names of the shards."""
    source = task.source
    variant = VARIANTS[source.variant]
    scene = sample_scene(variant, source.seed, task.split, task.index)
    noise = noise_seed(variant, source.seed, task.split, task.index)
    image, owners = mitsuba_renderer.render(variant, scene, source.image_size, source.samples, noise)
    return {"images": image, "instances": owners, **scene_factors(variant, scene)}


def _go_on(folder: Path, wanted: Manifest) -> Manifest:
    """The manifest that the folder has, with the wanted number of scenes; a new one where there is none.

    A listed shard that is gone is rendered again.
    """
    if not (folder / MANIFEST).exists():
        _check_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(folder, wanted)
        return wanted
    manifest = read_manifest(folder)
    for key, value in vars(wanted.source).items():
        there = getattr(manifest.source, key)
        if there != value:
            raise ValueError(f"{folder} holds scenes of {key}={there}, not {key}={value}; give another output folder")
    for split, count in wanted.counts.items():
        if count < manifest.counts[split]:
            raise ValueError(
                f"{folder} is for {manifest.counts[split]} {split} scenes, more than num_{split}={count}; training "
                f"takes fewer with data.num_{split}={count}"
            )
    manifest.counts = wanted.counts
    for shard in manifest.plan():
        if manifest.has(shard):
            if (folder / shard.name).exists():
                check_shard(folder, manifest, shard)
            else:
                del manifest.shards[shard.name]
    write_manifest(folder, manifest)
    return manifest


def _check_free(folder: Path) -> None:
    """Refuses a place where something else is: shards and preview.png would lie among it, or on it."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output={folder} is a file; give an empty or a new folder")
    draft = f"{MANIFEST}.part"  # all that a run stopped at its very start leaves
    if folder.exists() and (others := sorted(path.name for path in folder.iterdir() if path.name != draft)):
        raise ValueError(
            f"output={folder} holds other files ({others[0]}) and no {MANIFEST}; give an empty or a new folder"
        )


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Something like `map` that works in so many processes (with one, in this one) and keeps the order."""
    if workers <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=follow_the_parent)
    try:
        yield lambda function, tasks: pool.map(function, tasks, chunksize=CHUNK)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
