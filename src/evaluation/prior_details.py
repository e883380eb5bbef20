"""What the prior knows, in detail: bits by place, calibration, code frequencies, and scenes completed as asked.

Legend: B scenes, N slots, M blocks, K codes a block, A completions of a scene or condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..data.toy_datasets import ToyDataset
from ..models.completion import NothingFound
from ..models.svq_model import SVQ
from ..utils.completion_figures import completions_grid, reliability
from .attribute_network import Reading, obeying, read_images
from .code_reader import CodeReader, fit_reader
from .intervals import few, mean, share
from .subject import Subject

BINS = 10  # of the predicted probability, equally wide
SAMPLES = 1000  # scenes drawn, and data scenes, that code frequencies are compared over
CONDITIONS = {1: 12, 2: 6}  # how many conditions ask for so many objects that are alike
COMPLETIONS = 8  # of each condition
SCENES, SCENE_COMPLETIONS = 32, 4  # of the test split that are completed, and how often
CONDITION_PARTICLES, SCENE_PARTICLES = 512, 256
NEAR = 0.08  # of the image: as far from its place an object is still where it was
SHOWN = 4  # scenes of the figure


def prior_details(subject: Subject) -> dict[str, Any]:
    """Bits, calibration, code frequencies and completions of the subject's prior; docs/evaluation.md defines them.

    Parts that do not apply are None, and a note says why.
    """
    empty: dict[str, Any] = dict.fromkeys(("bits", "calibration", "frequencies", "conditions", "completions"))
    if subject.model.prior is None or len(subject.test.codes) == 0:
        subject.notes.append("prior_details: there is no prior to look at")
        return empty
    with subject.timed("prior_details"):
        subject.notes.extend(few("prior_details", len(subject.test.codes), "scenes"))
        found = _predictions(subject)
        scores = {**empty, **found, "frequencies": _frequencies(subject)}
        scores["conditions"] = condition_scores(subject)
        scores["completions"] = completion_scores(subject)
    return scores


def prior_details_figures(subject: Subject, scores: dict[str, Any]) -> dict[str, Figure]:
    """Figures of `prior_details`: "reliability", and "completions" where scenes were completed."""
    figures = {}
    if scores["calibration"] is not None:
        figures["reliability"] = reliability(scores["calibration"])
    if scores["completions"] is not None:
        assert isinstance(subject.model, SVQ)
        chosen = _chosen_scenes(subject)[:SHOWN]
        images, completed, _ = _completed(subject, chosen)
        rows = [scene for scene, _, _ in chosen]
        scenes = subject.test_ds.images[rows].float() / 255
        given = []
        for picture, (_, slots, _) in zip(images, chosen, strict=True):
            kept = picture[slots].sum(dim=0)
            given.append(kept)
        figures["completions"] = completions_grid(scenes, torch.stack(given).clamp(0, 1), completed)
    return figures


# ------------------------------------------------------------------ what it predicts


@torch.inference_mode()
def _predictions(subject: Subject) -> dict[str, Any]:
    """`bits` and `calibration`, of the test scenes' codes."""
    model, prior = subject.model, subject.model.prior
    assert prior is not None
    generator = torch.Generator().manual_seed(subject.seed)
    kept: dict[str, list[Tensor]] = {name: [] for name in ("canonical", "shuffled", "top", "right", "entropy")}
    was_training = prior.training
    prior.eval()
    for batch in subject.test.codes.split(subject.batch_size):
        order = torch.rand(batch.shape[:2], generator=generator).argsort(dim=1)
        codes = model.in_order(batch.to(subject.device))
        with subject.computing():
            logs = prior(codes).float().log_softmax(-1)  # (B, N, M, K)
        probability, likeliest = logs.max(dim=-1)
        kept["canonical"].append(-logs.gather(-1, codes[..., None])[..., 0])
        kept["top"].append(probability.exp())
        kept["right"].append(likeliest == codes)
        kept["entropy"].append(-(logs.exp() * logs).sum(-1))
        if model.has_slots:
            shuffled = codes.gather(1, order.to(codes.device)[..., None].expand_as(codes))
            with subject.computing():
                kept["shuffled"].append(prior.nll(shuffled).float())
    prior.train(was_training)
    whole = {name: torch.cat(parts).cpu().double().numpy() for name, parts in kept.items() if parts}
    bits = {
        name: {
            "blocks": [mean(one, subject.seed) for one in (whole[name].mean(axis=1) / math.log(2)).T],
            "slots": [mean(one, subject.seed) for one in (whole[name].mean(axis=2) / math.log(2)).T]
            if model.has_slots
            else None,
        }
        if name in whole
        else None
        for name in ("canonical", "shuffled")
    }
    if not model.has_slots:
        subject.notes.append("prior_details: patches have one order only, so there is no shuffled one")
    calibration = []
    for block in range(model.num_codebooks):
        top, right, entropy, nll = (whole[name][..., block] for name in ("top", "right", "entropy", "canonical"))
        found = calibration_of(top.ravel(), right.ravel())
        entropy_bits, realised = (mean(one.mean(axis=1) / math.log(2), subject.seed) for one in (entropy, nll))
        calibration.append({**found, "entropy": entropy_bits, "realised": realised})
    return {"bits": bits, "calibration": calibration}


def calibration_of(probability: NDArray[np.floating], right: NDArray) -> dict[str, Any]:
    """The expected calibration error (Guo et al. 2017) of predicted probabilities (n,) of something that is right or
    not (n,): Σ over 10 equally wide bins of the bin's share of n times |mean probability − share right|.

    Returns:
        `ece`, `n`, and the `bins`: `predicted` and `right`, means (None in an empty bin), and `n`.
    """
    number = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    bins, error = [], 0.0
    for one in range(BINS):
        inside = number == one
        count = int(inside.sum())
        predicted, share_right = (float(values[inside].mean()) if count else None for values in (probability, right))
        bins.append({"predicted": predicted, "right": share_right, "n": count})
        if predicted is not None and share_right is not None:
            error += count / len(probability) * abs(predicted - share_right)
    return {"ece": error, "n": len(probability), "bins": bins}


def _frequencies(subject: Subject) -> list[dict[str, float | int]]:
    """Of each block, how far the frequencies of its codes in drawn scenes, and in as many train scenes, lie from those
    of the test scenes."""
    model = subject.model
    assert model.prior is not None
    count = min(SAMPLES, len(subject.fit.codes))
    generator = torch.Generator(subject.device).manual_seed(subject.seed)
    with subject.computing():
        drawn = torch.cat(
            [
                model.prior.sample(len(part), generator=generator).cpu()
                for part in torch.empty(count, 0).split(subject.batch_size)
            ]
        )
    test, fit, size = subject.test.codes, subject.fit.codes[:count], model.codebook_size
    return [
        {
            "samples": total_variation(drawn[..., block], test[..., block], size),
            "data": total_variation(fit[..., block], test[..., block], size),
            "n_scenes": count,
        }
        for block in range(model.num_codebooks)
    ]


def total_variation(a: Tensor, b: Tensor, codebook_size: int) -> float:
    """Half the sum of the absolute differences of the codes' frequencies in `a` and in `b`, in [0, 1]."""
    shares = [codes.flatten().bincount(minlength=codebook_size).double() / codes.numel() for codes in (a, b)]
    return float((shares[0] - shares[1]).abs().sum() / 2)


# ------------------------------------------------------------------ scenes as asked


def condition_scores(subject: Subject) -> dict[str, Any] | None:
    """How often scenes drawn on condition that they hold a red circle, or two blue squares, are seen to hold them."""
    model, data, network = subject.model, subject.test_ds, subject.network
    if not isinstance(model, SVQ) or network is None or not isinstance(data, ToyDataset) or not subject.has_objects:
        subject.notes.append("prior_details: conditions need slots, matched objects and a judge of the data's scenes")
        return None
    try:
        reader = fit_reader(model, subject.fit, data.class_names, data.max_shapes, subject.seed)
    except ValueError as error:
        subject.notes.append(f"prior_details: no conditions, as {error}")
        return None
    if not {"colour", "shape"} <= set(reader.names):
        subject.notes.append("prior_details: conditions ask for colours and shapes, of which one never varies here")
        return None
    scores: dict[str, Any] = {}
    each = []
    for number, wanted in CONDITIONS.items():
        hits, formed = [], []
        for colour, shape, frequency in _some_conditions(data, number, wanted, subject.seed):
            one, reading = _on_condition(subject, reader, colour, shape, number)
            if reading is not None:
                asked = (reading.colour == colour) & (reading.shape == shape) & reading.found
                one["fulfilled"] = int((asked.sum(dim=1) >= number).sum())
                one["well_formed"] = int(reading.well_formed.sum())
            each.append({**one, "in_data": frequency})
            hits.append(_first(one["fulfilled"]))
            formed.append(_first(one["well_formed"]))
        fulfilled = torch.cat(hits) if hits else torch.zeros(0, dtype=torch.bool)
        name = {1: "one", 2: "two"}[number]
        scores[name] = {
            "fulfilled": share(fulfilled),
            "well_formed": share(torch.cat(formed) if formed else fulfilled),
            "n_conditions": len(hits),
        }
    return {**scores, "each": each}


def _first(count: int) -> Tensor:
    return torch.arange(COMPLETIONS) < count


def _some_conditions(data: ToyDataset, number: int, wanted: int, seed: int) -> list[tuple[int, int, float]]:
    """Colour and shape of conditions that some test scenes meet, and how many of them do: `wanted` at random."""
    colour, shape = data.factors["colour"], data.factors["shape"]
    possible = []
    for one in range(len(data.colour_names)):
        for other in range(len(data.shape_names)):
            met = ((colour == one) & (shape == other)).sum(dim=1) >= number
            if met.any():
                possible.append((one, other, float(met.double().mean())))
    order = np.random.default_rng(seed).permutation(len(possible))[:wanted]
    return [possible[i] for i in order]


def _on_condition(
    subject: Subject, reader: CodeReader, colour: int, shape: int, number: int
) -> tuple[dict[str, Any], Reading | None]:
    """What is asked for, with how many particles' worth, and the judge's reading of the scenes; None: none found."""
    words = f"{number} × {reader.names['colour'][colour]} {reader.names['shape'][shape]}"
    one = {
        "asked": words,
        "fulfilled": 0,
        "well_formed": 0,
        "n": COMPLETIONS,
        "effective": 0.0,
        "log_probability": None,
    }
    requirement = reader.requirement({"colour": colour, "shape": shape})
    generator = torch.Generator(subject.device).manual_seed(subject.seed)
    assert subject.network is not None
    try:
        with subject.computing(), torch.no_grad():
            done = subject.model.complete(
                COMPLETIONS, wanted=[requirement] * number, generator=generator, particles=CONDITION_PARTICLES
            )
            images = subject.model.paint(done.codes).clamp(0, 1).float()
    except NothingFound:
        return one, None
    one |= {"effective": done.effective, "log_probability": done.log_probability}
    return one, read_images(subject.network, images.cpu(), subject.batch_size)


def completion_scores(subject: Subject) -> dict[str, Any] | None:
    """What becomes of test scenes of which half of the objects are kept and the prior writes the rest."""
    if not isinstance(subject.model, SVQ) or not subject.has_objects:
        subject.notes.append("prior_details: completions need slots and matched objects")
        return None
    chosen = _chosen_scenes(subject)
    if not chosen:
        subject.notes.append("prior_details: no test scene has two objects or more that are all matched to slots")
        return None
    images, completed, codes = _completed(subject, chosen)
    unchanged = [
        bool((scene[:, :, None] == subject.test.codes[row, slots][None, None]).all(-1).any(1).all())
        for scene, (row, slots, _) in zip(codes, chosen, strict=True)
    ]
    scores: dict[str, Any] = {
        "codes_kept": share(torch.tensor(unchanged)),
        "objects_kept": None,
        "objects_kept_unedited": None,
        "well_formed": None,
        "obeys_rule": None,
        "n_scenes": len(chosen),
    }
    if subject.network is None:
        subject.notes.append("prior_details: completed scenes of this data have no judge")
        return scores
    reading = read_images(subject.network, completed.flatten(0, 1), subject.batch_size)
    plain = read_images(subject.network, images.sum(dim=1).clamp(0, 1), subject.batch_size)
    scores["objects_kept"] = share(_still_there(subject, chosen, reading, completed.shape[1]))
    scores["objects_kept_unedited"] = share(_still_there(subject, chosen, plain, 1))
    scores["well_formed"] = share(reading.well_formed)
    if subject.test_ds.rule is not None:
        scores["obeys_rule"] = share(obeying(reading, subject.test_ds.rule))
    return scores


Chosen = tuple[int, list[int], list[int]]  # a scene, the slots of the objects that are kept, and their numbers


def _chosen_scenes(subject: Subject) -> list[Chosen]:
    """The first test scenes of two objects or more, all matched to slots, with half of their objects at random."""
    test, present = subject.test, subject.test_ds.factors["present"].sum(dim=1)
    random = np.random.default_rng(subject.seed)
    chosen: list[Chosen] = []
    for scene in range(len(test.codes)):
        objects = np.flatnonzero(test.scene == scene)
        if len(objects) < 2 or len(objects) < int(present[scene]):
            continue
        some = random.permutation(objects)[: len(objects) // 2]
        chosen.append((scene, test.slot[some].tolist(), test.number[some].tolist()))
        if len(chosen) == SCENES:
            break
    return chosen


@torch.no_grad()
def _completed(subject: Subject, chosen: Sequence[Chosen]) -> tuple[Tensor, Tensor, Tensor]:
    """Of scenes: what each slot paints of them (n, N, 3, H, W), which sums to the picture (all of it in the first slot
    where the decoder has no masks), their completions (n, A, 3, H, W) and the codes of those (n, A, N, M)."""
    model = subject.model
    assert isinstance(model, SVQ)
    parts, pictures, codes = [], [], []
    for scene, slots, _ in chosen:
        generator = torch.Generator(subject.device).manual_seed(subject.seed + scene)
        own = subject.test.codes[scene].to(subject.device)
        with subject.computing():
            done = model.complete(SCENE_COMPLETIONS, own[slots], generator=generator, particles=SCENE_PARTICLES)
            decoded = model.decode(torch.cat([own[None], done.codes]))
        assert decoded.recon is not None
        recon = decoded.recon.float().cpu()
        if decoded.masks is None or decoded.slot_images is None:
            part = torch.zeros(model.num_slots, *recon.shape[1:])
            part[0] = recon[0]
        else:
            part = (decoded.slot_images[0] * decoded.masks[0]).float().cpu()
        parts.append(part)
        pictures.append(recon[1:].clamp(0, 1))
        codes.append(done.codes.cpu())
    return torch.stack(parts), torch.stack(pictures), torch.stack(codes)


def _still_there(subject: Subject, chosen: Sequence[Chosen], reading: Reading, repeats: int) -> Tensor:
    """Of each kept object in each picture of its scene, whether the judge sees it: its colour and its shape within
    `NEAR` of its place; (n,) bool."""
    factors, seen = subject.test_ds.factors, []
    for number, (scene, _, objects) in enumerate(chosen):
        for picture in range(number * repeats, (number + 1) * repeats):
            for k in objects:
                far = torch.hypot(
                    reading.x[picture] - factors["x"][scene, k], reading.y[picture] - factors["y"][scene, k]
                )
                alike = reading.colour[picture] == factors["colour"][scene, k]
                alike &= reading.shape[picture] == factors["shape"][scene, k]
                seen.append(bool((alike & (far <= NEAR)).any()))
    return torch.tensor(seen, dtype=torch.bool)
