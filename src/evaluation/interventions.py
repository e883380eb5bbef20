"""Do codes do what they say? One code of one object is changed, the scene is decoded, and its judge reads it again.

The block that says most about a factor is taken for the factor's own; an edit puts another of its codes, which stands
for another value of the factor, into an object's slot; a swap exchanges the codes of two objects of a scene.
docs/evaluation.md defines what is counted. Legend: E edits, one a scene at most, N slots, M blocks, K codes a block, T
objects read in a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..utils.progress import progress_bar
from ..utils.visualization import edit_grid
from .attribute_network import AttributeNetwork, Reading, read_images
from .code_values import bin_limits, code_values, informative_blocks
from .codes import factor_labels
from .intervals import few, mean, share
from .subject import FIT_SCENES, Subject

SCENES = 500  # that are edited, for each factor once
CLASSES, PLACES = ("colour", "shape"), ("x", "y")  # what the judge reads
READ = (*CLASSES, *PLACES)
MIN_USES, MIN_PURITY = 10, 0.5  # of a code that stands for a value, among the objects of the fit set
FOUND = 0.08  # of the image: an object is read where a centre is found no farther away
TOLERANCE = 0.95  # quantile of the errors of places read in unedited pictures
MARGIN = 2 / 64  # around an object's box, beyond which nothing belongs to it
MISMATCH = 0.25  # of the image: how far apart two objects count as for each label that differs
NONE, EDIT, NEAREST, RANDOM, SWAP = KINDS = ("none", "edit", "nearest", "random", "swap")
CHANGES = (*READ, "others", "count")

Objects = dict[str, NDArray]  # colour, shape (T,) int64, x, y (T,) as fractions of the image


@dataclass(frozen=True)
class Picture:
    """A decoded scene: its image (3, H, W) in [0, 1], the objects read in it, and whether it is well-formed."""

    image: Tensor
    read: Objects
    well_formed: bool


@dataclass(frozen=True)
class Handle:
    """The block that a factor is edited by, and the codes of it that stand for a value.

    value (K,): the label, -1 where the code stands for none; uses (K,): by objects of the fit set; vectors (K, C) of
    the codes; place (K,): where those objects are on average, and limits of the labels' bins; both None of classes.
    """

    factor: str
    block: int
    information: float
    value: NDArray[np.int64]
    uses: NDArray[np.int64]
    vectors: NDArray[np.float32]
    place: NDArray[np.float64] | None
    limits: NDArray[np.float64] | None


@dataclass(frozen=True)
class Scene:
    """A test scene before any edit.

    row: in the split; true: its S objects, with their size; slot (S,): of each, -1 where none holds it; codes (N, M),
    and what they look like; seen (S,): which of the objects read there is which, -1 where it is not found.
    """

    row: int
    true: Objects
    slot: NDArray[np.int64]
    codes: NDArray[np.int64]
    decode: Picture
    seen: NDArray[np.int64]


@dataclass(frozen=True)
class Edit:
    """New codes (N, M) of a scene, and what they should do.

    factor: what should change; of: the scene's objects concerned; low, high: between which it should be read then, of
    each (of classes both are the label); moved: (x, y) where each should then be.
    """

    scene: Scene
    factor: str
    codes: NDArray[np.int64]
    of: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    moved: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Outcome:
    """What an edit did: whether all that it should, what else changed (see `CHANGES`), how much the picture changed
    outside the object (None: not looked at), and whether the picture is well-formed."""

    intended: bool
    changed: frozenset[str]
    outside: float | None
    well_formed: bool


def intervention_scores(subject: Subject, scenes: int = SCENES) -> dict[str, Any] | None:
    """How often edited codes do what they say, and nothing else.

    Args:
        scenes: of the test split, at random, that are edited: each once, and swapped once, for each factor.

    Returns:
        `tolerance`, `scenes`, `factors` (factor → its `block`, `information`, `shares_block_with`, `codes`, and the
        counts of each of the `KINDS`; None where no block stands for it) and `pooled` (the same counts
        of all factors together). Counts: `intended`, `changed`, `well_formed` (shares), `changed_by` (how often each
        thing changed, numbers), `outside` (a mean). None where there is nothing to edit or nobody to judge.
    """
    lacking = _lacking(subject)
    if lacking or subject.network is None:
        subject.notes.append(f"interventions: {lacking}")
        return None
    with subject.timed("interventions"):
        looked_at, tolerance = look_at_scenes(subject, subject.network, scenes)
        outcomes: dict[str, dict[str, list[Outcome]]] = {}
        factors: dict[str, Any] = {}
        handles = find_handles(subject)
        wanted = [factor for factor in READ if factor in subject.test.factors]
        with progress_bar("editing codes", len(wanted), unit="factor", enabled=subject.progress) as bar:
            for factor in wanted:
                handle = handles.get(factor)
                factors[factor] = None
                if handle is not None:
                    outcomes[factor] = try_edits(subject, subject.network, looked_at, handle, tolerance)
                    others = [name for name, other in handles.items() if other.block == handle.block]
                    factors[factor] = {
                        "block": handle.block,
                        "information": handle.information,
                        "shares_block_with": [name for name in others if name != factor],
                        "codes": int((handle.value >= 0).sum()),
                        **{kind: _counts(found, subject.seed) for kind, found in outcomes[factor].items()},
                    }
                bar.update(1)
    mute = [factor for factor, found in factors.items() if found is None]
    full = [factor for factor, found in factors.items() if found is not None and found[EDIT]["intended"]["n"] == 0]
    if mute:
        subject.notes.append(f"interventions: no block has codes that stand for two values of {' or '.join(mute)}")
    if full:
        subject.notes.append(f"interventions: none of {len(looked_at)} scenes has room for another {' or '.join(full)}")
    fitted = len(subject.fit.codes)
    if fitted < FIT_SCENES:
        subject.notes.append(
            f"interventions: what codes stand for is learned from {fitted:,} train scenes, the definition asks for "
            f"{FIT_SCENES:,}: with fewer, fewer edits come out as intended; raise data.num_train"
        )
    every = {kind: [one for found in outcomes.values() for one in found[kind]] for kind in KINDS}
    if every[EDIT]:
        subject.notes.extend(few("interventions", len(every[EDIT]), "edits"))
    return {
        "tolerance": tolerance,
        "scenes": len(looked_at),
        "factors": factors,
        "pooled": {kind: _counts(found, subject.seed) for kind, found in every.items()},
    }


def _lacking(subject: Subject) -> str | None:
    """Why there is nothing to edit, if so."""
    if not subject.model.has_codes:
        return "the model has no codes to edit"
    if not subject.has_objects:
        return f"there are no slots and true objects of {subject.test_ds.name} to edit"
    if subject.network is None:
        return f"no attribute network reads scenes of {subject.test_ds.name}"
    if len(subject.test.vectors) == 0 or len(subject.fit.vectors) == 0:
        return "no slot holds an object"
    return None


# ------------------------------------------------------------------------------------------------ before the edits


def find_handles(subject: Subject) -> dict[str, Handle]:
    """The factors that some block has codes for: codes that at least 10 objects of the fit set use, more than half of
    which have one label, two labels at least."""
    fit = subject.fit
    codebook = subject.model.codebook
    assert codebook is not None, "what has slots and codes has code vectors"
    blocks, matrix, _ = informative_blocks(fit.object_codes, fit.factors, subject.seed)
    labels = factor_labels(fit.factors)
    handles = {}
    for column, (factor, block) in enumerate(blocks.items()):
        if block is None:
            continue
        codes, number = fit.object_codes[:, block], factor not in subject.test_ds.class_names
        uses, value, purity = code_values(codes, labels[factor], subject.model.codebook_size)
        stands = (uses >= MIN_USES) & (np.nan_to_num(purity) > MIN_PURITY)
        if len(np.unique(value[stands])) < 2:
            continue
        totals = np.bincount(codes, weights=fit.factors[factor], minlength=len(uses)) if number else None
        handles[factor] = Handle(
            factor=factor,
            block=block,
            information=float(matrix[block, column]),
            value=np.where(stands, value, -1),
            uses=uses,
            vectors=codebook[block].float().cpu().numpy(),
            place=None if totals is None else totals / np.maximum(uses, 1),
            limits=bin_limits(factor, fit.factors[factor]) if number else None,
        )
    return handles


def look_at_scenes(subject: Subject, network: AttributeNetwork, count: int) -> tuple[list[Scene], float]:
    """`count` test scenes at random in which some slot holds an object, and the tolerance: the 95 % quantile of how far
    off their objects' x and y are read, in fractions of the image, half a pixel at least."""
    test, factors = subject.test, subject.test_ds.factors
    rows = np.random.default_rng(subject.seed).permutation(np.unique(test.scene))[:count]
    scenes, errors = [], []
    for row, picture in zip(rows.tolist(), look(subject, network, test.codes[rows].numpy()), strict=True):
        present = np.nonzero(factors["present"][row].numpy())[0]
        true = {name: factors[name][row].numpy()[present] for name in (*READ, "size")}
        slot = np.full(factors["present"].shape[1], -1)
        held = test.scene == row
        slot[test.number[held]] = test.slot[held]
        seen = _assign(true, picture.read, FOUND)
        scenes.append(Scene(row, true, slot[present], test.codes[row].numpy(), picture, seen))
        errors += [np.abs(picture.read[axis][seen[seen >= 0]] - true[axis][seen >= 0]) for axis in PLACES]
    errors = np.concatenate(errors) if errors else np.zeros(0)
    least = 0.5 / subject.test_ds.image_size
    return scenes, max(float(np.quantile(errors, TOLERANCE)) if len(errors) else least, least)


# ------------------------------------------------------------------------------------------------ edits


def make_edits(
    scene: Scene, k: int, handle: Handle, tolerance: float, rng: np.random.Generator
) -> tuple[Edit, Edit] | None:
    """Another value of the factor for object `k`: a code drawn by its uses among those whose value the object neither
    has nor is read to have, and that leave it whole and free of the others; and, of all these that stand for the value
    which was drawn, the one nearest to the object's code. None where there is no such code."""
    factor = handle.factor
    here = (scene.true[factor][k], scene.decode.read[factor][scene.seen[k]])
    codes = np.nonzero(handle.value >= 0)[0]
    place = np.broadcast_to([scene.true[name][k] for name in PLACES], (len(codes), 2)).copy()
    if handle.place is None or handle.limits is None:
        low = high = handle.value[codes].astype(float)
    else:
        place[:, PLACES.index(factor)] = handle.place[codes]
        low, high = (handle.limits[handle.value[codes] + end] for end in (0, 1))
        low, high = low - tolerance, high + tolerance
    other = np.logical_and.reduce([(value < low) | (value > high) for value in here])
    other &= _stands_free(scene, (k,), place[:, None])
    if not other.any():
        return None
    weights = handle.uses[codes] * other
    drawn = rng.choice(len(codes), p=weights / weights.sum())
    apart = np.square(handle.vectors[codes] - handle.vectors[scene.codes[scene.slot[k], handle.block]]).sum(axis=1)
    alike = other & (handle.value[codes] == handle.value[codes[drawn]])
    nearest = int(np.where(alike, apart, np.inf).argmin())

    def edit(chosen: int) -> Edit:
        edited = scene.codes.copy()
        edited[scene.slot[k], handle.block] = codes[chosen]
        x, y = place[chosen]
        return Edit(scene, factor, edited, (k,), (float(low[chosen]),), (float(high[chosen]),), ((x, y),))

    return edit(drawn), edit(nearest)


def make_swap(scene: Scene, i: int, j: int, handle: Handle, tolerance: float) -> Edit | None:
    """Objects `i` and `j` exchange the block's codes; None where the factor is read alike of both, or where one of them
    would not stand free then."""
    factor = handle.factor
    values = [float(scene.decode.read[factor][scene.seen[k]]) for k in (j, i)]
    places = [[scene.true[axis][k] for axis in PLACES] for k in (i, j)]
    slack = 0.0
    if handle.place is None:
        different = values[0] != values[1]
    else:
        axis, slack = PLACES.index(factor), tolerance
        different = abs(values[0] - values[1]) > 2 * tolerance
        places[0][axis], places[1][axis] = places[1][axis], places[0][axis]
    if not different or not _stands_free(scene, (i, j), np.array(places)[None])[0]:
        return None
    codes = scene.codes.copy()
    a, b = scene.slot[[i, j]]
    codes[[a, b], handle.block] = codes[[b, a], handle.block]
    (x, y), (u, v) = places
    low, high = (tuple(value + end for value in values) for end in (-slack, slack))
    return Edit(scene, factor, codes, (i, j), low, high, ((x, y), (u, v)))


def _stands_free(scene: Scene, of: Sequence[int], places: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the boxes of objects `of`, before and at `places` (E, len(of), 2), touch no other's and lie within the
    image; (E,)."""
    size, now = scene.true["size"], np.stack([scene.true[axis] for axis in PLACES], axis=1)
    then = np.repeat(now[None], len(places), axis=0)
    then[:, of] = places
    free = np.ones(len(places), bool)
    for k in of:
        free &= (np.abs(then[:, k] - 0.5) <= 0.5 - size[k] / 2).all(axis=1) | (then[:, k] == now[k]).all(axis=1)
        for where in (then, now[None]):
            apart = np.abs(where - where[:, k : k + 1]).max(axis=2) >= (size + size[k]) / 2
            apart[:, k] = True
            free &= apart.all(axis=1)
    return free


def try_edits(
    subject: Subject, network: AttributeNetwork, scenes: Sequence[Scene], handle: Handle, tolerance: float
) -> dict[str, list[Outcome]]:
    """Edits one object of each scene, where that can be done, by `handle`; and, for comparison, not at all and in
    another block; and swaps two objects."""
    rng = np.random.default_rng([subject.seed, READ.index(handle.factor)])
    kinds: dict[str, list[Edit]] = {EDIT: [], NEAREST: [], RANDOM: [], SWAP: []}
    blocks = [block for block in range(subject.model.num_codebooks) if block != handle.block]
    for scene in scenes:
        objects = rng.permutation(np.nonzero((scene.slot >= 0) & (scene.seen >= 0))[0]).tolist()
        tries = (make_edits(scene, k, handle, tolerance, rng) for k in objects)
        edits = next((edits for edits in tries if edits is not None), None)
        if edits is not None:
            kinds[EDIT].append(edits[0])
            kinds[NEAREST].append(edits[1])
            if blocks:
                kinds[RANDOM].append(_elsewhere(subject, edits[0], int(rng.choice(blocks)), rng))
        pairs = ((i, j) for i in objects for j in objects if i < j)
        swaps = (make_swap(scene, i, j, handle, tolerance) for i, j in pairs)
        kinds[SWAP] += [swap for swap in swaps if swap is not None][:1]
    found = {NONE: [_unedited(subject, edit, tolerance) for edit in kinds[EDIT]]}
    for kind, edits in kinds.items():
        found[kind] = _outcomes(subject, network, edits, tolerance)
    return found


def _elsewhere(subject: Subject, edit: Edit, block: int, rng: np.random.Generator) -> Edit:
    """In place of `edit` another code in another `block`, one that a random object of the fit set has; what was
    intended stays, so that it is counted how often that happens anyway."""
    codes, (k,) = edit.scene.codes.copy(), edit.of
    old, used = codes[edit.scene.slot[k], block], subject.fit.object_codes[:, block]
    others = used[used != old]
    codes[edit.scene.slot[k], block] = rng.choice(others) if len(others) else old
    here = tuple(float(edit.scene.true[axis][k]) for axis in PLACES)
    return Edit(edit.scene, edit.factor, codes, edit.of, edit.low, edit.high, ((here[0], here[1]),))


# ------------------------------------------------------------------------------------------------ pictures


def intervention_figures(subject: Subject, rows: int = 6) -> dict[str, Figure]:
    """`interventions`: a grid of scenes, one object of each edited twice by every factor; nothing where
    `intervention_scores` is None, or no scene can be edited so."""
    if _lacking(subject) or subject.network is None:
        return {}
    scenes, tolerance = look_at_scenes(subject, subject.network, 10 * rows)
    handles = [handle for factor, handle in find_handles(subject).items() if factor in READ]
    rng = np.random.default_rng(subject.seed)
    grid, labels, boxes = [], [], []
    for scene in scenes:
        edits = _examples(scene, handles, tolerance, rng)
        if not edits or len(grid) == rows:
            continue
        (k,), true = edits[0].of, scene.true
        reach = float(true["size"][k]) / 2 + MARGIN
        places = [(float(true["x"][k]), float(true["y"][k]))] * 2 + [edit.moved[0] for edit in edits]
        with torch.inference_mode(), subject.computing():
            codes = torch.from_numpy(np.stack([scene.codes, *(edit.codes for edit in edits)]))
            painted = subject.model.paint(codes.to(subject.device)).float().clamp(0, 1).cpu()
        grid.append(torch.cat([subject.test_ds.images[scene.row, None].float() / 255, painted]))
        labels.append(["original", "decoded", *(_says(edit, subject.test_ds.class_names) for edit in edits)])
        boxes.append([(x, y, reach) for x, y in places])
    if not grid:
        return {}
    title = "One code of the marked object changed: the block that says most about colour, shape, x or y"
    return {"interventions": edit_grid(torch.stack(grid), labels, boxes, title=title)}


def _examples(
    scene: Scene, handles: Sequence[Handle], tolerance: float, rng: np.random.Generator, tries: int = 20
) -> list[Edit]:
    """Two different edits of one object by every handle; none if no object has room for all."""
    for k in rng.permutation(np.nonzero((scene.slot >= 0) & (scene.seen >= 0))[0]).tolist():
        edits: list[Edit] = []
        for handle in handles:
            drawn = [make_edits(scene, k, handle, tolerance, rng) for _ in range(tries)]
            by_value = {edits[0].low: edits[0] for edits in drawn if edits is not None}
            edits += [by_value[low] for low in sorted(by_value)[:: max(1, len(by_value) - 1)][:2]]
        if edits and len(edits) == 2 * len(handles):
            return edits
    return []


def _says(edit: Edit, names: Mapping[str, Sequence[str]]) -> str:
    """What an edit should do, in a word: "→ red", "→ left 21 %", of the width of the picture."""
    if edit.factor in CLASSES:
        return f"→ {names[edit.factor][int(edit.low[0])]}"
    axis, (k,) = PLACES.index(edit.factor), edit.of
    far = float(edit.moved[0][axis] - edit.scene.true[edit.factor][k])
    return f"→ {(('left', 'right'), ('up', 'down'))[axis][far > 0]} {100 * abs(far):.0f} %"


# ------------------------------------------------------------------------------------------------ outcomes


def compare(
    before: Objects, after: Objects, of: Sequence[int], edit: Edit, tolerance: float
) -> tuple[bool, frozenset[str]]:
    """What `after` shows of what `edit` should do to the objects `of` of `before`: whether all of it came about, and
    what else changed (see `CHANGES`)."""
    of = list(of)
    expected = {name: values.copy() for name, values in before.items()}
    expected["x"][of], expected["y"][of] = np.array(edit.moved, np.float64).T
    same = tuple(name for name in CLASSES if name != edit.factor)
    at = _assign(expected, after, same=same)
    low, high = np.array(edit.low), np.array(edit.high)
    values = np.where(at[of] >= 0, _take(after[edit.factor], at[of]), np.nan)
    changed = {"count"} if len(after["x"]) != len(before["x"]) else set()
    edited = np.isin(np.arange(len(at)), of)
    for name in READ:
        differs = np.abs(_take(after[name], at) - before[name]) > (0 if name in CLASSES else tolerance)
        differs &= at >= 0
        if (differs & ~edited).any():
            changed.add("others")
        if name != edit.factor and (differs & edited).any():
            changed.add(name)
    return bool(((low <= values) & (values <= high)).all()), frozenset(changed)


def _outcomes(subject: Subject, network: AttributeNetwork, edits: Sequence[Edit], tolerance: float) -> list[Outcome]:
    """Of edits and swaps, as read in the decoded pictures and compared with the unedited ones."""
    if not edits:
        return []
    found = []
    pictures = look(subject, network, np.stack([edit.codes for edit in edits]))
    for edit, picture in zip(edits, pictures, strict=True):
        scene = edit.scene
        intended, changed = compare(
            scene.decode.read, picture.read, scene.seen[list(edit.of)].tolist(), edit, tolerance
        )
        outside = _moved_outside(edit, scene.decode.image, picture.image) if len(edit.of) == 1 else None
        found.append(Outcome(intended, changed, outside, picture.well_formed))
    return found


def _unedited(subject: Subject, edit: Edit, tolerance: float) -> Outcome:
    """The same counts of the unedited decode, held against the truth: whether the factor is read as it is, and what
    else is not."""
    scene, (k,), factor = edit.scene, edit.of, edit.factor
    slack = 0.0 if factor in CLASSES else tolerance
    value = float(scene.true[factor][k])
    x, y = (float(scene.true[axis][k]) for axis in PLACES)
    nothing = Edit(scene, factor, scene.codes, (k,), (value - slack,), (value + slack,), ((x, y),))
    intended, changed = compare(scene.true, scene.decode.read, (k,), nothing, tolerance)
    image = subject.test_ds.images[scene.row].float() / 255
    return Outcome(intended, changed, _moved_outside(nothing, image, scene.decode.image), scene.decode.well_formed)


def look(subject: Subject, network: AttributeNetwork, codes: NDArray[np.int64]) -> list[Picture]:
    """What scenes of `codes` (E, N, M) look like, and what the judge reads in them."""
    pictures = []
    for batch in torch.from_numpy(codes).split(subject.batch_size):
        with torch.inference_mode(), subject.computing():
            images = subject.model.paint(batch.to(subject.device)).float().clamp(0, 1).cpu()
        reading = read_images(network, images, subject.batch_size)
        pictures += [Picture(image, *_objects(reading, e)) for e, image in enumerate(images)]
    return pictures


def _objects(reading: Reading, e: int) -> tuple[Objects, bool]:
    found = reading.found[e]
    return {name: getattr(reading, name)[e][found].numpy() for name in READ}, bool(reading.well_formed[e])


def _assign(expected: Objects, found: Objects, farthest: float = np.inf, same: Sequence[str] = ()) -> NDArray[np.int64]:
    """Which of the objects `found` is which of those `expected` (T,), one to one, so that they lie as near to each
    other as they can, a label of `same` that differs counting as a quarter of the image; -1: none is left, or it lies
    farther away than `farthest`."""
    apart = np.hypot(*(expected[axis][:, None] - found[axis] for axis in PLACES))
    cost = apart + MISMATCH * sum(expected[name][:, None] != found[name] for name in same)
    rows, columns = linear_sum_assignment(cost)
    at = np.full(len(expected["x"]), -1)
    near = apart[rows, columns] <= farthest
    at[rows[near]] = columns[near]
    return at


def _take(values: NDArray, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """`values` at the places `at`, anything where that is -1."""
    return np.append(values, 0).astype(np.float64)[at]


def _moved_outside(edit: Edit, before: Tensor, after: Tensor) -> float:
    """Mean absolute difference of two images (3, H, W) outside the object's boxes before and after."""
    (k,), true = edit.of, edit.scene.true
    reach = true["size"][k] / 2 + MARGIN
    pixels = (torch.arange(before.shape[-1]) + 0.5) / before.shape[-1]
    outside = torch.ones(before.shape[-2:], dtype=torch.bool)
    for x, y in ((true["x"][k], true["y"][k]), edit.moved[0]):
        outside &= ((pixels[:, None] - float(y)).abs() > reach) | ((pixels - float(x)).abs() > reach)
    return float((before - after)[:, outside].abs().mean())


def _counts(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """What `intervention_scores` says of each kind of edit."""
    return {
        "intended": share(torch.tensor([one.intended for one in outcomes], dtype=torch.bool)),
        "changed": share(torch.tensor([bool(one.changed) for one in outcomes], dtype=torch.bool)),
        "changed_by": {name: sum(name in one.changed for one in outcomes) for name in CHANGES},
        "well_formed": share(torch.tensor([one.well_formed for one in outcomes], dtype=torch.bool)),
        "outside": mean([one.outside for one in outcomes if one.outside is not None], seed),
    }
