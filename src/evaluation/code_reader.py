"""What a slot's codes say of its object, and which codes a slot must have to be an object of some kind.

Learned from matched objects of the train split. Legend: B scenes, N slots, M blocks, K codes a block, S objects a scene
can hold, V values of a property, D slot width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.base import SceneDataset
from ..models.completion import Requirement
from ..models.slot_decoder import losses_only
from ..models.svq_model import SVQ
from ..utils.checkpoint_io import atomic_save
from ..utils.progress import progress_bar
from .passes import run_model
from .probes import HIDDEN, fit_probe

SCENES = 2000  # of the train split
SIDES = {"across": ("x", ("left", "right")), "down": ("y", ("top", "bottom"))}  # of the picture's middle
LEAST_LIFT, LEAST_EXPECTED = 0.05, 3.0  # see `_possible_codes`
VERSION = 1  # raise it with any change of what is learned: kept files are then made anew
FILE_FORMAT = "svq code reader"


class CodeReader:
    """Reads a slot's properties from its codes, by one probe each (`probes.fit_probe`) on the slot's vector.

    Args:
        model: whose codes they are.
        names: property → the words for its V values. Every probe has one class more: no object.
        state: the probes' weights, the statistics of their inputs and `possible`, the codes each value can have, a
            tensor (M, K, V) bool for each property; as `fit_reader` makes it.
        most_objects: S.
    """

    def __init__(
        self, model: SVQ, names: Mapping[str, tuple[str, ...]], state: Mapping[str, Any], most_objects: int
    ) -> None:
        self.model, self.names, self.most_objects = model, dict(names), most_objects
        self.state = dict(state)
        self.mean, self.scale = state["mean"].to(model.device), state["scale"].to(model.device)
        self.possible: dict[str, Tensor] = {name: one.to(model.device) for name, one in state["possible"].items()}
        self.probes: dict[str, nn.Module] = {}
        for name, values in self.names.items():
            width = len(self.mean)
            probe = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(values) + 1))
            probe.load_state_dict(state["probes"][name])
            self.probes[name] = probe.to(model.device).eval().requires_grad_(False)

    @torch.no_grad()
    def read(self, codes: Tensor, *properties: str) -> dict[str, Tensor]:
        """Codes (n, M) of slots → for each of the properties, or for all, the index of its value, -1 for no object."""
        vectors = slot_vectors(self.model, codes)
        with torch.autocast(codes.device.type, enabled=False):
            inputs = (vectors - self.mean) / self.scale
            found = {name: self.probes[name](inputs).argmax(dim=1) for name in properties or self.names}
        return {name: torch.where(value < len(self.names[name]), value, -1) for name, value in found.items()}

    def requirement(self, description: Mapping[str, int]) -> Requirement:
        """To be read as an object with these values of its properties, and to have codes that go with each of them.

        Raises:
            ValueError: a property or value that is not known.
        """
        for name, value in description.items():
            if name not in self.names or not 0 <= value < len(self.names[name]):
                raise ValueError(f"{name}={value} is not known; known are {', '.join(self.names)}")
        anything = torch.ones_like(next(iter(self.possible.values()))[..., 0])
        allowed = anything
        for name, value in description.items():
            allowed = allowed & self.possible[name][..., value]
        allowed = torch.where(allowed.any(dim=1, keepdim=True), allowed, anything)
        wanted = dict(description)

        def holds(codes: Tensor) -> Tensor:
            found = self.read(codes, *(wanted or [next(iter(self.names))]))
            return torch.stack([one == wanted[name] if wanted else one >= 0 for name, one in found.items()]).all(dim=0)

        return Requirement(allowed, holds)


def slot_vectors(model: SVQ, codes: Tensor) -> Tensor:
    """The vectors (n, D), float32, that the codes (n, M) of single slots stand for."""
    return model.embed(codes[:, None].expand(-1, model.num_slots, -1))[:, 0].float()


def fit_reader(
    model: SVQ,
    codes: Tensor,
    slot: Tensor,
    factors: Mapping[str, Tensor],
    class_names: Mapping[str, Any],
    seed: int = 0,
) -> CodeReader:
    """A reader of what is known of some scenes.

    Args:
        codes: (B, N, M).
        slot: (B, S), the slot of each object, -1 where none (`segmentation.match_objects`).
        factors: (B, S) each, as `SceneDataset.factors`; those of `class_names` and x and y are read, where they vary.
        class_names: `SceneDataset.class_names`.

    Raises:
        ValueError: nothing to read.
    """
    scene, k = torch.nonzero(slot >= 0, as_tuple=True)
    at = scene, slot[scene, k]
    known: dict[str, tuple[Tensor, tuple[str, ...]]] = {}
    for name, values in class_names.items():
        known[name] = factors[name][scene, k].long(), tuple(values)
    for name, (axis, values) in SIDES.items():
        if axis in factors:
            known[name] = (factors[axis][scene, k] >= 0.5).long(), values
    known = {name: found for name, found in known.items() if found[0].unique().numel() > 1}
    if not known:
        raise ValueError(f"{len(scene)} matched objects have no property that varies, so codes cannot say any")
    flat = codes.flatten(0, 1)
    vectors = slot_vectors(model, flat.to(model.device)).cpu().detach()
    mean, std = vectors.mean(dim=0), vectors.std(dim=0)
    scale = torch.where(std > 1e-6 * std.max().clamp(min=1e-12), std, torch.inf)
    probes, possible = {}, {}
    for name, (value, words) in known.items():
        labels = torch.full(codes.shape[:2], len(words))
        labels[at] = value
        probe = fit_probe((vectors - mean) / scale, labels.flatten(), len(words) + 1, seed)
        probes[name] = {key: weight.detach() for key, weight in probe.state_dict().items()}
        possible[name] = _possible_codes(flat, labels.flatten(), model.codebook_size, len(words))
    state = {"probes": probes, "mean": mean, "scale": scale, "possible": possible}
    return CodeReader(model, {name: words for name, (_, words) in known.items()}, state, slot.shape[1])


def _possible_codes(codes: Tensor, labels: Tensor, codebook_size: int, values: int) -> Tensor:
    """Which codes of each block go with each value, (M, K, V) bool, from codes (n, M) and labels (n,) in 0..V, V for
    no object.

    All do but those that all but exclude it: a code that would come with the value at least 3 times by chance, and
    came less than 5 % as often.
    """
    possible = []
    share = labels.bincount(minlength=values + 1)[:values] / len(labels)
    for block in codes.T:
        table = torch.bincount(block * (values + 1) + labels, minlength=codebook_size * (values + 1))
        table = table.view(codebook_size, values + 1).float()
        expected = table.sum(dim=1, keepdim=True) * share
        possible.append((expected < LEAST_EXPECTED) | (table[:, :values] >= LEAST_LIFT * expected))
    return torch.stack(possible)


# ------------------------------------------------------------------ kept in a file


def code_reader(
    model: SVQ,
    data: SceneDataset,
    key: str,
    cache_dir: str | Path,
    autocast: AbstractContextManager | None = None,
    progress: bool = True,
) -> CodeReader:
    """The reader of a model's codes: from its file, or learned now from the first 2,000 scenes of `data` and kept.

    Args:
        model: in eval mode.
        data: its train split, with ground truth.
        key: what stands for the model's weights and the data's settings (`key_of`).
        cache_dir: where `code_reader_<key>.pth` is kept. A file that is damaged is made anew.
    """
    path = Path(cache_dir) / f"code_reader_{key}.pth"
    kept = _load(path)
    if kept is not None:
        return CodeReader(model, {name: tuple(words) for name, words in kept["names"].items()}, *_rest(kept))
    data = data.first(SCENES)
    with progress_bar("reading codes", len(data), unit="scene", enabled=progress) as bar, losses_only(model):
        found = run_model(model, data, model.device, autocast, on_batch=bar.update)
    assert found.slot is not None
    reader = fit_reader(model, found.codes, found.slot, data.factors, data.class_names)
    names = {name: list(words) for name, words in reader.names.items()}
    content = {"names": names, "state": reader.state, "most_objects": reader.most_objects}
    atomic_save({"format": FILE_FORMAT, **content}, path)
    return reader


def _rest(kept: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    return kept["state"], kept["most_objects"]


def key_of(checkpoint: str | Path, data: Mapping[str, Any]) -> str:
    """A name for the weights in a file, settings of data and the version of the reader, 12 characters."""
    digest = hashlib.sha256(Path(checkpoint).read_bytes())
    digest.update(repr((VERSION, SCENES, sorted(data.items()))).encode())
    return digest.hexdigest()[:12]


def _load(path: Path) -> dict[str, Any] | None:
    try:
        kept = torch.load(path, weights_only=True)
    except Exception:  # torch raises anything for damaged files; then it is made anew
        return None
    return kept if isinstance(kept, dict) and kept.get("format") == FILE_FORMAT else None
