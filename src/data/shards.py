"""Rendered scenes in files: shards of a few hundred scenes, and a manifest that says which there are and how they were
made.

    <folder>/manifest.json
    <folder>/train-00000.npz   images (n, 3, H, W) uint8, instances (n, H, W) uint8, factors (n, S) each

A shard is written whole or not at all, and counts only once the manifest lists it. Scene i of a split never depends on
how many there are, so a folder can be given more scenes later.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .base import SPLITS

MANIFEST = "manifest.json"
SHARD_SIZE = 250  # scenes
RENDERED = ("val", "test", "train")  # the order: the small splits first, so that an unfinished folder can be trained on


@dataclass(frozen=True)
class Source:
    """What the pixels depend on besides split and index; folders whose sources differ hold different pictures."""

    variant: str
    seed: int
    image_size: int
    samples: int
    definition: int  # of clevr_scenes.py
    mitsuba: str  # version of the renderer


class Shard(NamedTuple):
    """Scenes `start` to `stop` of a split, in one file."""

    split: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.start // SHARD_SIZE:05d}.npz"


@dataclass
class Manifest:
    """What a folder holds, or will: `shards` are the files written so far, with their number of scenes and SHA-256."""

    source: Source
    counts: dict[str, int]  # scenes of each split when finished
    shards: dict[str, tuple[int, str]] = field(default_factory=dict)

    def plan(self, *splits: str) -> Iterator[Shard]:
        """All shards of the splits (of every split in the order of rendering, if none is given)."""
        for split in splits or RENDERED:
            count = self.counts[split]
            for start in range(0, count, SHARD_SIZE):
                yield Shard(split, start, min(start + SHARD_SIZE, count))

    def has(self, shard: Shard) -> bool:
        """Whether the shard was written, with all of its scenes."""
        return self.shards.get(shard.name, (0, ""))[0] == shard.stop - shard.start

    @property
    def missing(self) -> list[Shard]:
        return [shard for shard in self.plan() if not self.has(shard)]

    def command(self, folder: Path) -> str:
        """The command that makes the folder, or goes on with it."""
        counts = {f"num_{split}": self.counts[split] for split in SPLITS}
        return render_command(
            variant=self.source.variant,
            image_size=self.source.image_size,
            samples=self.source.samples,
            seed=self.source.seed,
            **counts,
            output=folder,
        )


def render_command(**settings: object) -> str:
    """`python -m src.render` with these settings, as the shell takes it."""
    words = (shlex.quote(f"{key}={value}") for key, value in settings.items())
    return " ".join(("python -m src.render", *words))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be understood.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {MANIFEST}; give a folder that `python -m src.render` has written")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(
            source=Source(**stored["source"]),
            counts={split: int(stored["counts"][split]) for split in SPLITS},
            shards={name: (int(entry["scenes"]), str(entry["sha256"])) for name, entry in stored["shards"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no manifest of rendered scenes ({error!r}); render into another folder") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest of a folder, whole or not at all."""
    stored = {
        "source": asdict(manifest.source),
        "counts": manifest.counts,
        "shards": {name: {"scenes": n, "sha256": digest} for name, (n, digest) in sorted(manifest.shards.items())},
    }
    _replace(folder / MANIFEST, (json.dumps(stored, indent=1) + "\n").encode())


def write_shard(folder: Path, shard: Shard, arrays: Mapping[str, Any], manifest: Manifest) -> None:
    """Writes a shard and then lists it in the manifest."""
    part = folder / f"{shard.name}.part"
    with part.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    manifest.shards[shard.name] = (shard.stop - shard.start, _sha256(part))
    part.replace(folder / shard.name)
    write_manifest(folder, manifest)


def read_split(folder: Path, manifest: Manifest, split: str, count: int) -> dict[str, np.ndarray]:
    """The arrays of the first `count` scenes of a split, shards joined.

    Raises:
        ValueError: a shard is not the one that the manifest lists.
    """
    parts = []
    for shard in manifest.plan(split):
        if shard.start < count:
            check_shard(folder, manifest, shard)
            with np.load(folder / shard.name, allow_pickle=False) as stored:
                parts.append({key: stored[key] for key in stored.files})
    return {key: np.concatenate([part[key] for part in parts])[:count] for key in parts[0]}


def check_shard(folder: Path, manifest: Manifest, shard: Shard) -> None:
    """Holds a file against the manifest.

    Raises:
        ValueError: it is missing or differs.
    """
    path = folder / shard.name
    if not path.is_file():
        raise ValueError(f"{path} is missing, though {MANIFEST} lists it; render it again with the same command")
    if _sha256(path) != manifest.shards[shard.name][1]:
        raise ValueError(
            f"{path} is not the file that {MANIFEST} lists (its SHA-256 differs); delete it and render it again with "
            "the same command"
        )


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
