"""What a slot's codes say of its object, and which codes a slot must have to be an object of some kind.

Learned from matched objects of the train split. Legend: B scenes, N slots, M blocks, K codes a block, S objects a scene
can hold, V values of a property, D slot width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.base import SceneDataset
from ..models.completion import Requirement
from ..models.slot_decoder import losses_only
from ..models.svq_model import SVQ
from ..utils.checkpoint_io import atomic_save, load_kept
from ..utils.pretrained import weights_file
from ..utils.progress import progress_bar
from .passes import Pass, run_model
from .probes import HIDDEN, fit_probe

SCENES = 2000  # of the train split
SIDES = {"across": ("x", ("left", "right")), "down": ("y", ("top", "bottom"))}  # of the picture's middle
EXAMPLES = 64  # objects whose blocks are changed, one at a time, to see what a code says
FLOOR = 0.02  # of a block's best code: least that a code is proposed
VERSION = 1  # raise it with any change of what is learned: kept files are then made anew
FILE_FORMAT = "svq code reader"


class CodeReader:
    """Reads a slot's properties from its codes, by one probe each (`probes.fit_probe`) on the slot's vector.

    Args:
        model: whose codes they are.
        names: property → the words for its V values. Every probe has one class more: no object.
        state: the probes' weights, the statistics of their inputs and the codes of some objects, `examples`
            (EXAMPLES, M); as `fit_reader` makes it.
        most_objects: S.
    """

    def __init__(
        self, model: SVQ, names: Mapping[str, tuple[str, ...]], state: Mapping[str, Any], most_objects: int
    ) -> None:
        self.model, self.names, self.most_objects = model, dict(names), most_objects
        self.state = dict(state)
        self.mean, self.scale = state["mean"].to(model.device), state["scale"].to(model.device)
        self.examples = state["examples"].to(model.device)
        self.probes: dict[str, nn.Module] = {}
        for name, values in self.names.items():
            width = len(self.mean)
            probe = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(values) + 1))
            probe.load_state_dict(state["probes"][name])
            self.probes[name] = probe.to(model.device).eval().requires_grad_(False)

    def read(self, codes: Tensor, *properties: str) -> dict[str, Tensor]:
        """Codes (n, M) of slots → for each of the properties, or for all, the index of its value, -1 for no object."""
        found = {name: shares.argmax(dim=1) for name, shares in self._shares(codes, properties or self.names).items()}
        return {name: torch.where(value < len(self.names[name]), value, -1) for name, value in found.items()}

    @torch.no_grad()
    def _shares(self, codes: Tensor, properties: Iterable[str]) -> dict[str, Tensor]:
        """The probability of each value of the properties, and of no object, (n, V + 1)."""
        vectors = slot_vectors(self.model, codes)
        with torch.autocast(codes.device.type, enabled=False):
            inputs = (vectors - self.mean) / self.scale
            return {name: self.probes[name](inputs).softmax(dim=1) for name in properties}

    def requirement(self, description: Mapping[str, int]) -> Requirement:
        """To be read as an object with these values of its properties; without any, as an object.

        Raises:
            ValueError: a property or value that is not known.
        """
        for name, value in description.items():
            if name not in self.names or not 0 <= value < len(self.names[name]):
                raise ValueError(f"{name}={value} is not known; known are {', '.join(self.names)}")
        wanted = dict(description)

        def holds(codes: Tensor) -> Tensor:
            found = self.read(codes, *(wanted or [next(iter(self.names))]))
            return torch.stack([one == wanted[name] if wanted else one >= 0 for name, one in found.items()]).all(dim=0)

        return Requirement(self._proposal(wanted), holds)

    def _proposal(self, wanted: Mapping[str, int]) -> Tensor:
        """How much each code speaks for what is wanted, (M, K): the mean probability that the probes give to it in
        objects of which one block was given that code, one property times the other."""
        blocks, size = self.model.num_codebooks, self.model.codebook_size
        proposal = torch.ones(blocks, size, device=self.examples.device)
        for block in range(blocks if wanted else 0):
            changed = self.examples.repeat(size, 1)  # (K·E, M)
            changed[:, block] = torch.arange(size, device=changed.device).repeat_interleave(len(self.examples))
            for name, shares in self._shares(changed, wanted).items():
                proposal[block] *= shares[:, wanted[name]].view(size, -1).mean(dim=1)
        return proposal.clamp(min=FLOOR * proposal.amax(dim=1, keepdim=True).clamp(min=1e-12))


def slot_vectors(model: SVQ, codes: Tensor) -> Tensor:
    """The vectors (n, D), float32, that the codes (n, M) of single slots stand for."""
    scenes = F.pad(codes, (0, 0, 0, -len(codes) % model.num_slots)).unflatten(0, (-1, model.num_slots))
    return model.embed(scenes).flatten(0, 1)[: len(codes)].float()


def fit_reader(
    model: SVQ, found: Pass, class_names: Mapping[str, tuple[str, ...]], most_objects: int, seed: int = 0
) -> CodeReader:
    """A reader of what `model` made of some scenes.

    Args:
        found: that pass; of the factors of its matched objects those of `class_names`, and x and y, are read where they
            vary.
        class_names: `SceneDataset.class_names`.
        most_objects: S.

    Raises:
        ValueError: nothing to read.
    """
    codes, at = found.codes, (torch.from_numpy(found.scene), torch.from_numpy(found.slot))
    known = _varying({name: torch.from_numpy(values) for name, values in found.factors.items()}, class_names)
    if not known:
        raise ValueError(f"{len(found.scene)} matched objects have no property that varies, so codes cannot say any")
    flat = codes.flatten(0, 1)
    vectors = slot_vectors(model, flat.to(model.device)).cpu().detach()
    mean, std = vectors.mean(dim=0), vectors.std(dim=0)
    scale = torch.where(std > 1e-6 * std.max().clamp(min=1e-12), std, torch.inf)
    probes = {}
    for name, (value, words) in known.items():
        labels = torch.full(codes.shape[:2], len(words))
        labels[at] = value
        probe = fit_probe((vectors - mean) / scale, labels.flatten(), len(words) + 1, seed)
        probes[name] = {key: weight.detach() for key, weight in probe.state_dict().items()}
    some = torch.randperm(len(found.scene), generator=torch.Generator().manual_seed(seed))[:EXAMPLES]
    examples = torch.from_numpy(found.object_codes)[some]
    state = {"probes": probes, "mean": mean, "scale": scale, "examples": examples}
    return CodeReader(model, {name: words for name, (_, words) in known.items()}, state, most_objects)


def what_data_shows(data: SceneDataset) -> tuple[dict[str, tuple[str, ...]], int]:
    """Property → the words for its values, as a reader may know them at most, and S: known before codes are read."""
    present = data.factors["present"]
    known = _varying({name: values[present] for name, values in data.factors.items()}, data.class_names)
    return {name: words for name, (_, words) in known.items()}, present.shape[1]


def _varying(
    factors: Mapping[str, Tensor], class_names: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """The properties that have words and vary among objects (O,): of each, the objects' values and the words."""
    known = {name: (factors[name].long(), tuple(words)) for name, words in class_names.items() if name in factors}
    for name, (axis, words) in SIDES.items():
        if axis in factors:
            known[name] = (factors[axis] >= 0.5).long(), words
    return {name: both for name, both in known.items() if both[0].unique().numel() > 1}


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
    kept = load_kept(path, FILE_FORMAT)
    if kept is not None:
        return CodeReader(model, {name: tuple(words) for name, words in kept["names"].items()}, *_rest(kept))
    data = data.first(SCENES)
    with progress_bar("reading codes", len(data), unit="scene", enabled=progress) as bar, losses_only(model):
        found = run_model(model, data, model.device, autocast, on_batch=bar.update)
    reader = fit_reader(model, found, data.class_names, data.factors["present"].shape[1])
    names = {name: list(words) for name, words in reader.names.items()}
    content = {"names": names, "state": reader.state, "most_objects": reader.most_objects}
    atomic_save({"format": FILE_FORMAT, **content}, path)
    return reader


def _rest(kept: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    return kept["state"], kept["most_objects"]


def key_of(checkpoint: str | Path, data: Mapping[str, Any]) -> str:
    """A name for the weights in a file, settings of data and the version of the reader, 12 characters."""
    digest = hashlib.sha256(weights_file(checkpoint).read_bytes())
    digest.update(repr((VERSION, SCENES, sorted(data.items()))).encode())
    return digest.hexdigest()[:12]
