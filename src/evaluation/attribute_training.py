"""Training, measuring and keeping the attribute network.

Everything here depends on the data set's definition only, never on a model: the network is trained once for a
data set, its errors are measured on the test split, and both are kept in one file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.toy_datasets import ToyDataset
from ..utils.checkpoint_io import atomic_save, load_kept
from ..utils.progress import progress_bar
from .attribute_network import GRID, AttributeNetwork, obeying, read_images
from .intervals import share
from .malformed import KINDS, TOO_FEW, LayerPool, Layers, clean, degrade, malform

# Networks of the usual data sets, made by `python -m benchmarks.attribute_networks`: everybody's scenes are judged by
# the same one, and nobody waits for it.
SHIPPED = Path(__file__).parent / "attribute_networks"
VERSION = 3  # raise it with any change of the network, its training or its examples: kept files are then made anew
FILE_FORMAT = "svq attribute network"
PLACEMENTS = 6144  # scenes of the train split that examples are made from
STEPS, BATCH = 2000, 128
EXAMPLES = 5120  # made anew after every ROUND steps; each is used twice, with another degradation
ROUND = 2 * EXAMPLES // BATCH
# How often each kind is shown: what is hard to see, more often. Errors are measured on equally many of each.
KIND_WEIGHTS = dict.fromkeys(KINDS, 2.0) | {"merged": 5.0, "blurred": 1.0, "ghost": 1.0, "empty": 0.5, TOO_FEW: 1.0}
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-3
TEST_SCENES = 3000
TEST_PER_KIND = 500


@dataclass
class Examples:
    """E pictures and what is in them.

    images (E, 3, 64, 64) uint8; is_clean (E,) bool; known (E,) bool: but for the fault, the objects below are
    all there is; shape, colour (E, S) int64 (-1: absent or not clean); x, y (E, S) float32; fault (E, 2): x,
    y of the malformed object, nan where there is none.
    """

    images: Tensor
    is_clean: Tensor
    known: Tensor
    shape: Tensor
    colour: Tensor
    x: Tensor
    y: Tensor
    fault: Tensor

    def __getitem__(self, index: Tensor) -> Examples:
        return Examples(**{name: value[index] for name, value in vars(self).items()})


def attribute_network(
    dataset: ToyDataset,
    cache_dir: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: torch.device | str = "cpu",
    autocast: AbstractContextManager | None = None,
    progress: bool = True,
) -> tuple[AttributeNetwork, dict[str, Any]]:
    """The attribute network of a data set and its measured errors: shipped with this package for the usual data sets;
    else from its file, or trained now and then kept.

    Args:
        dataset: gives the definition; its own scenes are not used but the train split's to fit, the test
            split's to measure.
        cache_dir: where `attribute_network_<key>.pth` is kept; the key is a hash of the data set's
            definition, the network's version, seed and steps. A file that is missing, damaged or of something
            else is made anew. None: train, keep nothing.
        seed: of weights and examples.
        steps: of `BATCH` pictures; None: `STEPS`.
        autocast: the context to compute the network in, such as `torch.autocast("cpu", torch.bfloat16)`.

    Returns:
        the network in eval mode on `device`, and the report of `measure` with `steps` and `seconds` of training added.

    Raises:
        TypeError: not a toy data set.
    """
    wanted = network_definition(dataset, seed, steps)
    path = None if cache_dir is None else Path(cache_dir) / file_name(wanted)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        network = AttributeNetwork(dataset.max_shapes, dataset.shape_names, dataset.colour_names, dataset.min_shapes)
    # PyTorch's annotations lack the overload that its documentation has.
    network = network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    kept = _load(SHIPPED / file_name(wanted), wanted) or _load(path, wanted)
    if kept is not None:
        network.load_state_dict(kept["state_dict"])
        return network.eval(), kept["report"]
    start = time.perf_counter()
    network = train(network, dataset, seed, wanted["steps"], device, autocast, progress)
    report = {"steps": wanted["steps"], "seconds": time.perf_counter() - start, **measure(network, dataset, seed)}
    if path is not None:
        state = {name: value.cpu() for name, value in network.state_dict().items()}
        atomic_save({"format": FILE_FORMAT, "definition": wanted, "state_dict": state, "report": report}, path)
    return network, report


def is_kept(dataset: ToyDataset, cache_dir: str | Path | None = None) -> bool:
    """Whether `attribute_network` of the same arguments has a file to open, and nothing to train."""
    wanted = network_definition(dataset)
    folders = [SHIPPED] if cache_dir is None else [SHIPPED, Path(cache_dir)]
    return any(_load(folder / file_name(wanted), wanted) is not None for folder in folders)


def usual_minutes() -> float:
    """How long the networks that come along took to train, their median."""
    kept = (load_kept(path, FILE_FORMAT) for path in sorted(SHIPPED.glob("*.pth")))
    return float(np.median([each["report"]["seconds"] for each in kept if each is not None] or [np.nan])) / 60


def train(
    network: AttributeNetwork,
    dataset: ToyDataset,
    seed: int,
    steps: int,
    device: torch.device | str = "cpu",
    autocast: AbstractContextManager | None = None,
    progress: bool = True,
) -> AttributeNetwork:
    """Fits the network, in place, to scenes of the train split; returns it in eval mode."""
    generator = torch.Generator(device).manual_seed(seed)
    _initialise(network, seed)
    pool = LayerPool(dataset.unruled("train", PLACEMENTS), device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.15)
    network.train()
    with progress_bar("attribute network", steps, enabled=progress) as bar:
        for batch in _batches(pool, steps, generator):
            with autocast or nullcontext():
                outputs = network(degrade(batch.images.float() / 255, generator))
            loss = objective(outputs, batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.update()
    return network.eval()


def _batches(pool: LayerPool, steps: int, generator: torch.Generator) -> Iterator[Examples]:
    """`steps` batches; each round has new examples, and uses them all equally often."""
    for first in range(0, steps, ROUND):
        examples = make_examples(pool, EXAMPLES, generator)
        count, device = len(examples.images), pool.coverage.device
        wanted = BATCH * min(ROUND, steps - first)
        uses = -(-wanted // count)
        order = [torch.randperm(count, generator=generator, device=device) for _ in range(uses)]
        for index in torch.cat(order)[:wanted].split(BATCH):
            yield examples[index]


def make_examples(pool: LayerPool, count: int, generator: torch.Generator) -> Examples:
    """About `count` pictures, not degraded: half clean scenes, half malformed ones of all kinds."""
    parts = []
    for _ in range(4):  # in parts, to keep the memory small
        part = pool.draw(_any_scene(pool, count // 8, generator), generator)
        parts.append(_clean_examples(part))
        weights = {kind: KIND_WEIGHTS[kind] for kind in pool.kinds}
        for kind, weight in weights.items():
            wanted = round(count / 8 * weight / sum(weights.values()))
            parts.append(_malformed_examples(pool, kind, wanted, generator))
    return _join(parts)


def objective(outputs: tuple[Tensor, ...], batch: Examples) -> Tensor:
    """Verdict (cross-entropy) + centres and faults (focal, Lin et al. 2017, Zhou et al. 2019) + what is at
    centres.

    Centres count where all clean objects are known, and not near a fault: what a malformed object is, is
    undefined.
    """
    verdict, centre, fault, offset, shape, colour = outputs
    loss = F.binary_cross_entropy_with_logits(verdict, batch.is_clean.float())
    position = (torch.arange(GRID, device=centre.device) + 0.5) / GRID
    from_fault = torch.hypot(
        position - batch.fault[:, 0, None, None], position[:, None] - batch.fault[:, 1, None, None]
    )
    from_fault = from_fault.nan_to_num(9.0) * GRID  # cells, (E, G, G)
    loss = loss + _focal(fault, from_fault < 1.5, (from_fault > 4) & batch.known[:, None, None])
    scene, k = torch.nonzero(batch.shape >= 0, as_tuple=True)
    x, y = batch.x[scene, k], batch.y[scene, k]
    column, row = (x * GRID).long().clamp(0, GRID - 1), (y * GRID).long().clamp(0, GRID - 1)
    target, around = torch.zeros_like(centre, dtype=torch.bool), torch.zeros_like(centre, dtype=torch.bool)
    target[scene, row, column] = True
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):  # next to a centre neither yes nor no is asked for
        around[scene, (row + down).clamp(0, GRID - 1), (column + right).clamp(0, GRID - 1)] = True
    loss = loss + _focal(centre, target, ~around & (from_fault > 3) & batch.known[:, None, None])
    if len(scene):
        wanted = torch.stack([x * GRID - column - 0.5, y * GRID - row - 0.5], dim=1)
        loss = loss + F.l1_loss(offset[scene, :, row, column], wanted)
        loss = loss + F.cross_entropy(shape[scene, :, row, column], batch.shape[scene, k])
        loss = loss + F.cross_entropy(colour[scene, :, row, column], batch.colour[scene, k])
    return loss


def _focal(logits: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Focal loss (gamma 2) over the cells that should say yes and those that should say no, per yes."""
    probability = logits.sigmoid()
    hit = (1 - probability) ** 2 * F.softplus(-logits) * yes
    miss = probability**2 * F.softplus(logits) * (no & ~yes)
    return (hit + miss).sum() / yes.sum().clamp(min=1)


@torch.inference_mode()
def measure(network: AttributeNetwork, dataset: ToyDataset, seed: int = 0) -> dict[str, Any]:
    """The network's own errors, on scenes of the test split.

    Returns:
        shares with their n and Wilson intervals (`intervals.share`): `false_reject` on the data's own
        pictures and `false_reject_degraded` on mildly degraded ones; `false_accept` over all kinds and
        `false_accept_by_kind` (degraded the same way); `count_accuracy`, `shape_accuracy`, `colour_accuracy`,
        `detected` (share of objects found), and `position_error`, the mean distance of found centres in
        fractions of the image. Where the data obey a rule, also `rule_missed`, the share of the data's own pictures
        that are not read as well-formed scenes that obey it, and `rule_imagined`, the share of those that miss it by
        one object (`_near_misses`) that are.
    """
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed + 1)
    test = dataset.of_split("test", TEST_SCENES)
    images = test.images.to(device)
    softened = torch.cat([degrade(part.float() / 255, generator) for part in images.split(512)])
    plain, soft = read_images(network, images), read_images(network, softened)
    pool = LayerPool(test if dataset.rule is None else dataset.unruled("test", TEST_SCENES), device)
    by_kind, of_rule = {}, {}
    if dataset.rule is not None:
        broken = read_images(network, _near_misses(dataset, seed))
        of_rule = {
            "rule_missed": share(~obeying(plain, dataset.rule)),
            "rule_imagined": share(obeying(broken, dataset.rule)),
        }
    for kind in pool.kinds:
        wrong = _malformed_examples(pool, kind, TEST_PER_KIND, generator).images.float() / 255
        by_kind[kind] = read_images(network, degrade(wrong, generator)).well_formed
    return {
        "false_reject": share(~plain.well_formed),
        "false_reject_degraded": share(~soft.well_formed),
        "false_accept": share(torch.cat(list(by_kind.values()))),
        "false_accept_by_kind": {kind: share(accepted) for kind, accepted in by_kind.items()},
        **_reading_errors(plain, test),
        **of_rule,
    }


def _near_misses(dataset: ToyDataset, seed: int) -> Tensor:
    """Pictures of test scenes in which one object was given another shape or another colour, so that they no longer
    obey the data set's rule."""
    assert dataset.rule is not None
    changed = dataset.of_split("test", TEST_SCENES)
    scenes, random = changed.scenes, np.random.default_rng(seed)
    rows, which = np.arange(TEST_SCENES), random.integers(dataset.max_shapes, size=TEST_SCENES)
    reshaped = random.random(TEST_SCENES) < 0.5
    for labels, names, chosen in (
        (scenes.shape, dataset.shape_names, reshaped),
        (scenes.colour, dataset.colour_names, ~reshaped),
    ):
        at = rows[chosen], which[chosen]
        labels[at] = (labels[at] + 1 + random.integers(len(names) - 1, size=len(at[0]))) % len(names)
    factors = changed.factors
    return changed.images[~dataset.rule(factors["shape"], factors["colour"], factors["present"])]


def _reading_errors(reading: Any, test: ToyDataset) -> dict[str, Any]:
    factors = test.factors
    present = factors["present"]
    far = torch.full((), 9.0)
    x, y = (torch.where(reading.found, value, far) for value in (reading.x, reading.y))
    distance = torch.hypot(factors["x"][..., None] - x[:, None], factors["y"][..., None] - y[:, None])  # (B, S, T)
    nearest, which = distance.nan_to_num(9.0).min(dim=2)
    seen = present & (nearest < 0.08)
    shape, colour = reading.shape.gather(1, which), reading.colour.gather(1, which)
    return {
        "count_accuracy": share(reading.count == present.sum(dim=1)),
        "detected": share(seen[present]),
        "shape_accuracy": share((shape == factors["shape"])[seen]),
        "colour_accuracy": share((colour == factors["colour"])[seen]),
        "position_error": float(nearest[seen].mean()) if seen.any() else None,
    }


def _clean_examples(layers: Layers) -> Examples:
    everything = torch.ones(len(layers), dtype=torch.bool, device=layers.x.device)
    fault = torch.full((len(layers), 2), torch.nan, device=layers.x.device)
    return Examples(
        _bytes(clean(layers)), everything, everything, layers.shape, layers.colour, layers.x, layers.y, fault
    )


def _malformed_examples(pool: LayerPool, kind: str, count: int, generator: torch.Generator) -> Examples:
    """Up to `count` examples of one kind, those that came out as defined."""
    parts, found = [], 0
    for _ in range(8):
        base = _any_scene(pool, count + 8, generator, full=kind == "too many")
        layers = pool.draw(base, generator)
        made = malform(kind, layers, pool.draw(_any_scene(pool, len(base), generator), generator), generator)
        part = Examples(
            images=_bytes(made.images),
            is_clean=torch.zeros_like(made.valid),
            known=torch.ones_like(made.valid) if kind in ("empty", TOO_FEW) else ~made.fault[:, 0].isnan(),
            shape=torch.where(made.intact, layers.shape, -1),
            colour=torch.where(made.intact, layers.colour, -1),
            x=layers.x,
            y=layers.y,
            fault=made.fault,
        )
        parts.append(part[made.valid])
        found += int(made.valid.sum())
        if found >= count:
            break
    return _join(parts)[torch.arange(min(count, found), device=layers.x.device)]


def _join(parts: list[Examples]) -> Examples:
    return Examples(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def _any_scene(pool: LayerPool, count: int, generator: torch.Generator, full: bool = False) -> Tensor:
    device = pool.coverage.device
    draw = torch.rand(count, generator=generator, device=device)
    if not full:
        return (draw * len(pool)).long()
    crowded = torch.nonzero(pool.factors["present"].all(dim=1))[:, 0]
    return crowded[(draw * len(crowded)).long()] if len(crowded) else crowded


def _initialise(network: AttributeNetwork, seed: int) -> None:
    """The same weights for the same seed, without moving anyone else's random numbers."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            fan_in = parameter[0].numel()
            value = torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5
            if name.startswith("cells"):
                value *= 0.3
            with torch.no_grad():
                parameter.copy_(value)


def network_definition(dataset: ToyDataset, seed: int = 0, steps: int | None = None) -> dict[str, Any]:
    """All that a network depends on; raises TypeError for data that no network is defined for."""
    names = ("name", "image_size", "max_shapes", "seed", "background")
    try:
        definition = {name: getattr(dataset, name) for name in names}
    except AttributeError as error:
        raise TypeError(
            f"{type(dataset).__name__} cannot be evaluated: expected a toy data set with ground truth "
            "(ShapesDataset, MultiDspritesDataset or SpritesDataset)"
        ) from error
    chosen = STEPS if steps is None else steps
    return {**definition, "version": VERSION, "network_seed": seed, "steps": chosen}


def file_name(wanted: dict[str, Any]) -> str:
    """The name of the file of the network with this definition."""
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
    return f"attribute_network_{key}.pth"


def _load(path: Path | None, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The kept file if it is whole and of this definition, else None."""
    kept = load_kept(path, FILE_FORMAT)
    return kept if kept is not None and kept.get("definition") == wanted else None
