"""The model behind the page: pictures to codes, codes to pictures, and edits that need to look at a scene.

Legend: B scenes, N slots, M blocks, K codes a block, H = W image.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.base import SceneDataset
from ..data.decoding import PictureError, decode_file
from ..models.completion import NothingFound
from ..models.svq_model import SVQ
from .meaning import BlockMeaning, learn_meanings
from .reference import BATCH, reference
from .scene import Codes, EditableScene, Slot
from .texts import Refused

CANDIDATES = 8  # empty slots that are tried in place of an object, and objects in place of an empty slot
CLAIM = 0.002  # of the pixels: a slot that shows in fewer is empty
SHOWS = 0.1  # of a channel's range: what a pixel must differ by from what would be there without the slot
RING = 0.5  # of the picture's edge: who owns more of it is the background
CROP = 0.6  # of the picture: what is shown of a code that says nothing about places
SAMPLES, COMPLETIONS = 8, 4  # scenes that the prior writes at once
PARTICLES = 96  # of a completion: few, so that it takes a second or two
MOST_UPLOAD = 8 * 2**20  # bytes of a picture
OBJECT, BACKGROUND, EMPTY = "object", "background", "empty"

Pixels = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class View:
    """What codes look like.

    Attributes:
        picture: (H, W, 3).
        roles: of each slot: "object", "background" or "empty".
        owner: (H, W), the slot that owns each pixel; None where the decoder makes no masks.
        claims: (N,) share of the pixels that each slot owns and that would look different without it, so that a slot
            which paints background on background claims nothing; None likewise.
        parts: (N, H, W, 4), what each slot paints, as opaque as its mask; None likewise.
    """

    picture: Pixels
    roles: tuple[str, ...]
    owner: NDArray[np.uint8] | None = None
    claims: NDArray[np.float64] | None = None
    parts: NDArray[np.uint8] | None = None


@dataclass
class Studio:
    """A model in eval mode and what is known of its codes; `open_studio` makes one. Many threads may use it.

    Attributes:
        data: scenes to choose from; None: the prior writes them.
        meanings: of each block.
        objects: codes of objects that occur in scenes.
        blanks: codes of slots that hold nothing, the most common first.
        stage: a scene without objects, and the slot of it that an object is put into to be shown.
        model_object: the codes of that object.
    """

    model: SVQ
    autocast: AbstractContextManager
    data: SceneDataset | None
    meanings: Sequence[BlockMeaning]
    objects: Sequence[Slot]
    blanks: Sequence[Slot]
    stage: tuple[Codes, int] = ((), 0)
    model_object: Slot = ()
    _shown: dict[tuple[int, int], Pixels] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    # ------------------------------------------------------------------ codes to pictures

    def look(self, scenes: Sequence[Codes]) -> list[View]:
        """What each of the scenes looks like."""
        views: list[View] = []
        for start in range(0, len(scenes), BATCH):
            codes = torch.tensor(scenes[start : start + BATCH], device=self.model.device)
            with torch.inference_mode(), self.autocast:
                decoded = self.model.decode(codes)
            assert decoded.recon is not None
            pictures = _bytes(decoded.recon).permute(0, 2, 3, 1).numpy()
            if decoded.masks is None or decoded.slot_images is None:
                blanks = set(self.blanks)
                views += [
                    View(one, tuple(EMPTY if slot in blanks else OBJECT for slot in scene))
                    for one, scene in zip(pictures, scenes[start : start + BATCH], strict=True)
                ]
                continue
            masks = decoded.masks.float().cpu()
            owner = masks.squeeze(2).argmax(dim=1).numpy().astype(np.uint8)
            shows = _difference(masks, decoded.slot_images.float().cpu()).numpy() > SHOWS
            parts = torch.cat([_bytes(decoded.slot_images), _bytes(masks)], dim=2).permute(0, 1, 3, 4, 2).numpy()
            for i, picture in enumerate(pictures):
                slots = np.arange(len(masks[i]))[:, None, None]
                claims = ((owner[i] == slots) & shows[i]).mean(axis=(1, 2))
                views.append(View(picture, _roles(owner[i], claims), owner[i], claims, parts[i]))
        return views

    def thumbnails(self, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Pixels]:
        """(block, code) → a picture of one object with that code; painted once and kept."""
        wanted = list(dict.fromkeys(wanted))
        missing = [one for one in wanted if one not in self._shown]
        if missing:
            stage, slot = self.stage
            scenes = []
            for block, code in missing:
                shown = (*self.model_object[:block], code, *self.model_object[block + 1 :])
                scenes.append((*stage[:slot], shown, *stage[slot + 1 :]))
            for (block, code), view in zip(missing, self.look(scenes), strict=True):
                whole = self.meanings[block].factor in ("x", "y", None)
                self._shown[block, code] = view.picture if whole else _middle(view.picture)
        return {one: self._shown[one] for one in wanted}

    # ------------------------------------------------------------------ pictures to codes

    def random_picture(self, seed: int) -> Pixels | None:
        """A scene of the data; None: there are no data."""
        if self.data is None:
            return None
        row = seed % len(self.data)
        with self._lock:  # the first time draws them all
            image = self.data.images[row]
        return image.permute(1, 2, 0).numpy()

    def open_picture(self, data: bytes) -> Pixels:
        """A picture file, cut to a square of the model's size.

        Raises:
            Refused: too large, or no picture.
        """
        if len(data) > MOST_UPLOAD:
            raise Refused("too_large", limit=f"{MOST_UPLOAD // 2**20} MB")
        try:
            return decode_file(io.BytesIO(data), self.model.config["image_size"]).transpose(1, 2, 0)
        except PictureError as error:
            raise Refused("bad_picture", reason=str(error)) from error

    def read(self, picture: Pixels) -> Codes:
        """The codes of a picture, its slots in order."""
        image = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].to(self.model.device)
        with torch.inference_mode(), self.autocast:
            codes = self.model.in_order(self.model.encode(image.float() / 255))
        return _as_codes(codes)[0]

    # ------------------------------------------------------------------ edits that look at the scene

    def removed(self, scene: EditableScene, slot: int) -> EditableScene:
        """One slot emptied, by the empty codes that claim least there."""
        scene.check(slot)
        tries = [scene.with_slot(slot, blank) for blank in self.blanks[:CANDIDATES]]
        views = self.look([one.codes for one in tries])
        claims = [0.0 if view.claims is None else float(view.claims[slot]) for view in views]
        return tries[int(np.argmin(claims))]

    def added(self, scene: EditableScene, seed: int) -> tuple[EditableScene, int]:
        """One empty slot filled with an object of the data, where it hides least; and which slot that is.

        Raises:
            Refused: no slot is empty.
        """
        (view,) = self.look([scene.codes])
        if EMPTY not in view.roles:
            raise Refused("full", slots=len(scene.codes))
        slot = view.roles.index(EMPTY)
        rng = np.random.default_rng(seed)
        tries = [scene.with_slot(slot, self.objects[i]) for i in rng.permutation(len(self.objects))[:CANDIDATES]]
        hidden = []
        for after in self.look([one.codes for one in tries]):
            lost = 0.0
            if view.claims is not None and after.claims is not None:
                others = [n for n, role in enumerate(view.roles) if role == OBJECT]
                lost = float((view.claims - after.claims)[others].clip(min=0).sum())
                lost += after.roles[slot] != OBJECT
            hidden.append(lost)
        return tries[int(np.argmin(hidden))], slot

    # ------------------------------------------------------------------ the prior

    def sample(self, count: int, temperature: float, top_k: int | None, seed: int) -> list[Codes]:
        """New scenes. Raises Refused where there is no prior."""
        if self.model.prior is None:
            raise Refused("no_prior_here")
        generator = torch.Generator(self.model.device).manual_seed(seed)
        with torch.inference_mode(), self.autocast:
            return _as_codes(self.model.prior.sample(count, temperature, top_k, generator))

    def complete(
        self, kept: Sequence[Slot], count: int, temperature: float, top_k: int | None, seed: int
    ) -> list[Codes]:
        """New scenes with the slots `kept`, 1 to N - 1 of them.

        Raises:
            Refused: no prior, too few or too many slots, or the prior finds none.
        """
        if self.model.prior is None:
            raise Refused("no_prior_here")
        if not 0 < len(kept) < self.model.num_slots:
            raise Refused("tick_some", slots=self.model.num_slots)
        generator = torch.Generator(self.model.device).manual_seed(seed)
        given = torch.tensor(kept, device=self.model.device)
        try:
            with self.autocast:
                done = self.model.complete(count, given, (), temperature, top_k, generator, PARTICLES)
        except NothingFound:
            raise Refused("nothing_found") from None
        return _as_codes(done.codes)


def open_studio(
    model: SVQ,
    train_ds: SceneDataset | None,
    test_ds: SceneDataset | None,
    autocast: AbstractContextManager | None = None,
    cache_dir: str | Path | None = None,
) -> Studio:
    """Learns what the codes of `model` (in eval mode, with a prior where there are no data) mean from the scenes of
    `train_ds`, or from what the prior writes; scenes to choose from are those of `test_ds`. See `reference`."""
    autocast = autocast or nullcontext()
    studio = Studio(model, autocast, test_ds, (), (), ())
    known = reference(model, train_ds, autocast, cache_dir)
    scenes = _as_codes(known.scenes)
    views = studio.look(scenes)
    by_role = {role: Counter[Slot]() for role in (OBJECT, BACKGROUND, EMPTY)}
    for scene, view in zip(scenes, views, strict=True):
        for slot, role in zip(scene, view.roles, strict=True):
            by_role[role][slot] += 1
    everything = Counter(slot for scene in scenes for slot in scene)
    empty = by_role[EMPTY] or by_role[BACKGROUND] or everything
    studio.blanks = [slot for slot, _ in empty.most_common(CANDIDATES)]
    studio.objects = list(by_role[OBJECT]) or list(everything)
    studio.meanings = learn_meanings(
        np.array(studio.objects),
        model.codebook,
        model.codebook_size,
        known.labelled.numpy(),
        {name: values.numpy() for name, values in known.factors.items()},
        {} if train_ds is None else train_ds.class_names,
    )
    fewest = min(range(len(scenes)), key=lambda i: views[i].roles.count(OBJECT))
    bare = EditableScene(scenes[fewest], model.codebook_size)
    filled = [n for n, role in enumerate(views[fewest].roles) if role != BACKGROUND] or [0]
    for slot in filled:
        bare = studio.removed(bare, slot)
    studio.stage = bare.codes, filled[0]
    studio.model_object = _typical(studio)
    return studio


def _typical(studio: Studio) -> Slot:
    """An object of common size whose picture is nearest to the middle."""
    stage, slot = studio.stage
    some = studio.objects[: 2 * BATCH]
    views = studio.look([(*stage[:slot], one, *stage[slot + 1 :]) for one in some])
    if views[0].owner is None:
        return some[0]
    sizes = np.array([float(view.claims[slot]) for view in views if view.claims is not None])
    best, chosen = np.inf, some[0]
    for one, view, size in zip(some, views, sizes, strict=True):
        rows, columns = np.nonzero(view.owner == slot)
        if len(rows) == 0 or view.roles[slot] != OBJECT:
            continue
        side = len(view.picture)
        far = float(np.hypot(rows.mean() / side - 0.5, columns.mean() / side - 0.5))
        far += abs(size - float(np.median(sizes)))
        if far < best:
            best, chosen = far, one
    return chosen


def _roles(owner: NDArray[np.uint8], claims: NDArray[np.float64]) -> tuple[str, ...]:
    """Who owns most of the picture's edge is the background, who claims almost nothing is empty."""
    edge = np.concatenate([owner[0], owner[-1], owner[1:-1, 0], owner[1:-1, -1]])
    on_edge = np.bincount(edge, minlength=len(claims)) / len(edge)
    return tuple(
        BACKGROUND if ring > RING else EMPTY if claim < CLAIM else OBJECT
        for ring, claim in zip(on_edge, claims, strict=True)
    )


def _difference(masks: Tensor, slot_images: Tensor) -> Tensor:
    """(B, N, H, W) in [0, 1]: how far what each slot paints is from what the others would paint there without it.

    Args:
        masks: (B, N, 1, H, W), summing to 1 over the slots.
        slot_images: (B, N, 3, H, W) in about [0, 1].
    """
    found = []
    for slot in range(masks.shape[1]):
        others = [n for n in range(masks.shape[1]) if n != slot]
        weights = masks[:, others]  # summed, and not 1 minus the slot's own mask, which rounding may make 1
        rest = (weights * slot_images[:, others]).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-30)
        found.append((slot_images[:, slot] - rest).abs().amax(dim=1))
    return torch.stack(found, dim=1)


def _middle(picture: Pixels) -> Pixels:
    """The middle of a picture, a square."""
    side = round(CROP * len(picture))
    start = (len(picture) - side) // 2
    return picture[start : start + side, start : start + side]


def _bytes(values: Tensor) -> Tensor:
    """[0, 1] → uint8, on the CPU."""
    return values.float().clamp(0, 1).mul(255).round().byte().cpu()


def _as_codes(codes: Tensor) -> list[Codes]:
    """(B, N, M) as plain tuples."""
    return [tuple(tuple(slot) for slot in scene) for scene in codes.tolist()]
