"""What every section of a report looks at: a model, its data, and what it made of them in one pass.

A section is a function of a `Subject` that returns a dictionary for JSON; what it cannot say is None there, and a line
of `notes` says why. Legend: B scenes, O matched objects, N slots, M blocks, K codes a block, D slot width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.base import SceneDataset
from ..data.toy_datasets import ToyDataset
from ..models.code_model import CodeModel
from ..models.slot_decoder import losses_only
from ..utils.progress import progress_bar
from .attribute_network import AttributeNetwork, read_images
from .attribute_training import attribute_network
from .generation import draw_scenes
from .passes import Pass, run_model

FIT_SCENES = 5000  # of the train split, for the probes
GENERATE_BATCH = 250


@dataclass
class Subject:
    """A model in eval mode on `device`, and what is known of it; `look_at` makes one.

    Attributes:
        train_ds, test_ds: the data that probes are fitted to, and those that are scored.
        fit, test: what it made of the first 5,000 train scenes and of all test scenes.
        network, network_report: the judge of the test data's scenes and its own errors; None where there is none.
        autocast: the context to compute in, reusable; see `computing`.
        seed: of sampling, permutations, probes and edits.
        cache_dir: where judges are kept.
        progress: whether bars are shown.
        trained_on: all that it was trained on, whatever `train_ds` is; None where that is not known or not here.
        notes: one line for everything that is skipped or undefined.
        seconds: how long each part took.
    """

    model: CodeModel
    train_ds: SceneDataset
    test_ds: SceneDataset
    fit: Pass
    test: Pass
    network: AttributeNetwork | None
    network_report: dict[str, Any] | None
    device: torch.device
    autocast: AbstractContextManager | None = None
    batch_size: int = 256
    seed: int = 0
    cache_dir: str | Path | None = None
    progress: bool = True
    trained_on: SceneDataset | None = None
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    _drawn: dict[tuple[int, float, int | None], tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def computing(self) -> AbstractContextManager:
        """The context to run the model in."""
        return self.autocast or nullcontext()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds what happens inside to `seconds`."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 2)

    @property
    def has_objects(self) -> bool:
        """Whether there are slots and true objects to be compared."""
        return self.test_ds.has_ground_truth and self.test.vectors.shape[1] > 0

    def scenes_drawn(self, count: int, temperature: float = 1.0, top_k: int | None = None) -> tuple[Tensor, Tensor]:
        """`count` new scenes: codes (count, N, M) and images (count, 3, H, W) in [0, 1]; see `draw_scenes`. The same
        ones whoever asks, and drawn once."""
        asked = (count, temperature, top_k)
        if asked not in self._drawn:
            with self.computing():
                self._drawn[asked] = draw_scenes(
                    self.model, count, temperature, top_k, self.seed, batch_size=GENERATE_BATCH, progress=self.progress
                )
        return self._drawn[asked]


def look_at(
    model: CodeModel,
    train_ds: SceneDataset,
    test_ds: SceneDataset,
    *,
    device: torch.device | str = "cpu",
    autocast: AbstractContextManager | None = None,
    batch_size: int = 256,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: bool = True,
    judged: bool = True,
    trained_on: SceneDataset | None = None,
) -> Subject:
    """Runs `model`, which is in eval mode and on `device`, over the data; finds or trains their judge before.

    The arguments are those of `evaluate_model`; without `judged` there is no judge; `trained_on`: see `Subject`.
    """
    notes: list[str] = []
    seconds: dict[str, float] = {}
    network, network_report = None, None
    start = time.perf_counter()
    if judged and isinstance(test_ds, ToyDataset):
        network, network_report = attribute_network(
            test_ds, cache_dir, device=device, autocast=autocast, progress=progress
        )
        seconds["attribute_network"] = round(time.perf_counter() - start, 2)
    start = time.perf_counter()
    settings: dict[str, Any] = {"device": device, "autocast": autocast, "batch_size": batch_size}
    fit_ds = train_ds.first(FIT_SCENES)
    with progress_bar("scoring scenes", len(fit_ds) + len(test_ds), unit="scene", enabled=progress) as bar:
        with losses_only(model):  # what the probes are fitted to needs no picture
            fit = run_model(model, fit_ds, on_batch=bar.update, **settings)
        judge = None if network is None else _judge(network)
        test = run_model(model, test_ds, judge=judge, on_batch=bar.update, **settings)
    seconds["scenes"] = round(time.perf_counter() - start, 2)
    return Subject(
        model=model,
        train_ds=train_ds,
        test_ds=test_ds,
        fit=fit,
        test=test,
        network=network,
        network_report=network_report,
        device=torch.device(device),
        autocast=autocast,
        batch_size=batch_size,
        seed=seed,
        cache_dir=cache_dir,
        progress=progress,
        trained_on=trained_on,
        notes=notes,
        seconds=seconds,
    )


def _judge(network: AttributeNetwork):
    return lambda images: read_images(network, images).well_formed
