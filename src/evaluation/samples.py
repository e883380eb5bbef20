"""What scenes a model draws: how good, how new, how varied, and how near to the data.

Legend: B scenes, N slots, M blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data.base import SceneDataset
from ..data.toy_datasets import ToyDataset
from ..utils.visualization import distribution_bars, picture_rows
from .attribute_network import AttributeNetwork, features_of_images, read_images
from .descriptions import (
    CELLS,
    Description,
    Objects,
    coverage,
    distinct,
    frequencies,
    same_distribution,
    total_variation,
)
from .frechet import enough_for_covariance, frechet_distance
from .generation import well_formedness_read
from .inception import FeatureNetwork, fid_and_kid, require_torchmetrics
from .intervals import few, share
from .prior import prior_bits_per_code
from .subject import Subject

TEMPERATURES = (0.7, 0.85, 1.0, 1.15)
_OF_DESCRIPTIONS = ("novelty", "distinct", "coverage", "distributions")
_PARTS = ("accuracy", *_OF_DESCRIPTIONS, "frechet_attribute", "fid", "kid")


def sample_scores(
    subject: Subject,
    num_generated: int = 1000,
    temperature: float = 1.0,
    top_k: int | None = None,
    inception: str | Path | None = None,
) -> dict[str, Any]:
    """Scores of scenes drawn from the prior against the data; docs/evaluation.md defines each ("Samples").

    Args:
        num_generated, temperature, top_k: of the scenes; the same ones that `evaluate_model` judges.
        inception: file of the network that FID and KID look with (`FeatureNetwork`); None: neither is computed.

    Returns:
        `accuracy`, `novelty`, `distinct`, `coverage`, `distributions`, `frechet_attribute`, `fid`, `kid`, each None
        where it is undefined; and `n`, `temperature`, `top_k` of the scenes.

    Raises:
        ValueError: no scenes are asked for, a temperature or top-k that `AutoregressiveTransformer.sample` refuses, or
            a file of something else (`FeatureNetwork`).
        FileNotFoundError, ImportError: no such file, or what FID and KID need is not installed.
    """
    if num_generated < 1:
        raise ValueError(f"num_generated was {num_generated} but expected at least 1")
    scores: dict[str, Any] = {"n": num_generated, "temperature": temperature, "top_k": top_k, **dict.fromkeys(_PARTS)}
    looking = None
    if inception is None:
        subject.notes.append("fid, kid: not computed, as no file with Inception's weights was given")
    else:
        require_torchmetrics()  # errors come before the work
        looking = FeatureNetwork(inception)
    if not subject.model.has_codes:
        subject.notes.append("samples: the model has no codes to draw scenes from")
        return scores | {"n": 0}
    if subject.network is None:
        subject.notes.append(
            f"samples: no attribute network reads scenes of {subject.test_ds.name}, so only FID and KID can be given"
        )
        if looking is None:
            return scores | {"n": 0}
    with subject.timed("samples"):
        _, images = subject.scenes_drawn(num_generated, temperature, top_k)
        if subject.network is not None:
            scores |= _read_scores(subject, subject.network, images)
    with subject.timed("distances"):
        scores |= _distances(subject, images, looking)
    return scores


def temperature_scores(
    subject: Subject,
    num_generated: int = 250,
    temperatures: Sequence[float] = TEMPERATURES,
    top_k: int | None = None,
) -> list[dict[str, Any]] | None:
    """Accuracy, novelty and bits of the scenes drawn at each temperature; None of a model without a prior.

    Returns:
        for each: `temperature`, `n`, `accuracy` and `novelty` as in `sample_scores` (None where they are None), and
        `bits_per_code`, what the prior at temperature 1 spends on a code of these scenes.
    """
    model = subject.model
    if model.prior is None:
        subject.notes.append("temperatures: the model has no prior whose temperature could be changed")
        return None
    rows = []
    with subject.timed("temperatures"):
        learned = None if subject.network is None else _learned(subject)
        known = None if learned is None else _known(Objects.of_factors(learned.factors))
        for temperature in temperatures:
            codes, images = subject.scenes_drawn(num_generated, temperature, top_k)
            row: dict[str, Any] = {"temperature": temperature, "n": num_generated, "accuracy": None, "novelty": None}
            if subject.network is not None:
                reading = read_images(subject.network, images, subject.batch_size)
                row["accuracy"] = well_formedness_read(reading, subject.network.max_shapes, subject.test_ds.rule)
                if known is not None:
                    row["novelty"] = _novelty(Objects.of_reading(reading)[reading.well_formed], known)
            bits = prior_bits_per_code(
                model.prior, codes, subject.seed, subject.batch_size, subject.autocast, shuffle=False
            )
            rows.append(row | {"bits_per_code": bits["canonical"]})
    return rows


def sample_figures(
    subject: Subject,
    scores: Mapping[str, Any],
    temperatures: Sequence[float] = TEMPERATURES,
    top_k: int | None = None,
    num_pictures: int = 8,
) -> dict[str, Figure]:
    """`distributions` of what `sample_scores` found, and `temperatures`, a row of scenes for each; those that can be.

    Args:
        num_pictures: in a row.
    """
    figures = {}
    if scores["distributions"] is not None:
        figures["distributions"] = distribution_bars(scores["distributions"])
    if subject.model.prior is not None:
        rows = {f"{value:g}": subject.scenes_drawn(num_pictures, value, top_k)[1] for value in temperatures}
        figures["temperatures"] = picture_rows(rows, title="Scenes drawn at several temperatures")
    return figures


# ---------------------------------------------------------------------------------------------- what is read


def _read_scores(subject: Subject, network: AttributeNetwork, images: Tensor) -> dict[str, Any]:
    """All scores of what the attribute network reads in the images (B, 3, H, W)."""
    shown = images, subject.test_ds.images[: len(images)]
    drawn_reading, true_reading = (read_images(network, some, subject.batch_size) for some in shown)
    scores: dict[str, Any] = {
        "accuracy": well_formedness_read(drawn_reading, network.max_shapes, subject.test_ds.rule),
        **dict.fromkeys(_OF_DESCRIPTIONS),
    }
    drawn, true = (Objects.of_reading(some)[some.well_formed] for some in (drawn_reading, true_reading))
    both = min(len(drawn), len(true))
    if both == 0:
        of = "drawn" if len(drawn) == 0 else "test"
        subject.notes.append(f"samples: no {of} scene is well-formed, so nothing is said of what the scenes show")
        return scores
    if both < len(drawn):
        subject.notes.append(
            f"samples: only {both} well-formed test scenes to compare with, so only as many of the {len(drawn)} drawn "
            "ones are described"
        )
    subject.notes.extend(few("samples", both, "well-formed scenes, drawn or true"))
    drawn, true = drawn[:both], true[:both]
    scores["distinct"] = {**_distinct(drawn), "true": _distinct(true)}
    learned = _learned(subject)
    if learned is None:
        other = subject.trained_on
        why = "not known here" if other is None else f"of {other.name}, and those of {subject.test_ds.name} are scored"
        subject.notes.append(
            f"samples: novelty, coverage and distributions compare with the scenes of training, which are {why}"
        )
        return scores
    data = Objects.of_factors(learned.factors)
    known = _known(data)
    seen = _seen(subject, network, learned, len(images))
    novelty: dict[str, Any] = _novelty(drawn, known)
    if subject.test_ds.rule is not None:  # scenes that break it are new, which is no merit
        obedient = drawn[subject.test_ds.rule(drawn.shape, drawn.colour, drawn.present)]
        novelty["obeying"] = _novelty(obedient, known)
    return scores | {
        "novelty": {
            **novelty,
            "true": _novelty(true, known),
            "train": None if seen is None else _novelty(seen[:both], known),
            "n_train": len(data),
        },
        "coverage": {**coverage(drawn, data), "true": coverage(true, data)},
        "distributions": _distributions(subject, network, drawn, true, data, drawn_reading.count, true_reading.count),
    }


def _learned(subject: Subject) -> SceneDataset | None:
    """All scenes that the model was trained on, if the judge of the test data has names for what they show."""
    learned = subject.trained_on
    return learned if learned is not None and learned.name == subject.test_ds.name else None


def _seen(subject: Subject, network: AttributeNetwork, learned: SceneDataset, count: int) -> Objects | None:
    """What the judge reads in the well-formed ones of the first training pictures; None where it does not know such
    pictures, as they have another background or number of objects than the test data."""
    judged = subject.test_ds
    assert isinstance(judged, ToyDataset) and isinstance(learned, ToyDataset)
    if (learned.background, learned.max_shapes) != (judged.background, judged.max_shapes):
        subject.notes.append(
            "samples: training pictures have another background or number of objects than those scored, so nobody "
            "reads them, and novelty.train is not given"
        )
        return None
    # `first`, so that no more training pictures are drawn than are looked at
    reading = read_images(network, learned.first(count).images, subject.batch_size)
    return Objects.of_reading(reading)[reading.well_formed]


def _known(data: Objects) -> dict[str, set[Description]]:
    return {"placed": set(data.placed()), "unplaced": set(data.unplaced())}


def _novelty(objects: Objects, known: Mapping[str, Collection[Description]]) -> dict[str, Any]:
    found = {"placed": objects.placed(), "unplaced": objects.unplaced()}
    return {
        name: share(torch.tensor([one not in known[name] for one in scenes], dtype=torch.bool))
        for name, scenes in found.items()
    }


def _distinct(objects: Objects) -> dict[str, Any]:
    return {"placed": distinct(objects.placed()), "unplaced": distinct(objects.unplaced())}


def _distributions(
    subject: Subject,
    network: AttributeNetwork,
    drawn: Objects,
    true: Objects,
    data: Objects,
    drawn_count: Tensor,
    true_count: Tensor,
) -> dict[str, dict[str, Any]]:
    """Of the number of objects, and of each property of theirs: its distribution in the training data and in the drawn
    scenes, and how far drawn and true scenes are from the former. `drawn_count`, `true_count`: what is read in all
    scenes, well-formed or not."""
    last = network.max_shapes + 1
    counts = [some.clamp(max=last).numpy() for some in (data.present.sum(dim=1), drawn_count, true_count)]
    cells = [str(cell + 1) for cell in range(CELLS)]
    kinds = {
        "count": ([*map(str, range(last)), f"{last} or more"], *counts),
        "shape": (list(network.shape_names), *(some.values("shape") for some in (data, drawn, true))),
        "colour": (list(network.colour_names), *(some.values("colour") for some in (data, drawn, true))),
        "x": (cells, *(some.values("column") for some in (data, drawn, true))),
        "y": (cells, *(some.values("row") for some in (data, drawn, true))),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, (names, *samples) in kinds.items():
        shares = [frequencies(values, len(names)) for values in samples]
        found[name] = {
            "names": names,
            "data": shares[0],
            "drawn": shares[1],
            "distance": total_variation(shares[1], shares[0]),
            "true": total_variation(shares[2], shares[0]),
            "n": len(samples[1]),
            "n_true": len(samples[2]),
        }
    found["count"]["p"] = same_distribution(counts[1], counts[0], subject.seed)  # what the judge misreads is in it
    found["count"]["p_read"] = same_distribution(counts[1], counts[2], subject.seed)  # the same eyes for both
    return found


# ------------------------------------------------------------------------------------------------- distances


def _distances(subject: Subject, drawn: Tensor, looking: FeatureNetwork | None) -> dict[str, Any]:
    """Distances from test scenes: of drawn scenes, of other test scenes and of their reconstructions."""
    count = min(len(drawn), len(subject.test_ds) // 2)
    if count == 0:
        subject.notes.append("distances: one test scene is too few to compare scenes with; use more")
        return {}
    reference, others = subject.test_ds.images[:count], subject.test_ds.images[count : 2 * count]
    compared = {"drawn": drawn[:count], "true": others}
    reconstructed = _reconstructed(subject, others)
    if reconstructed is None:
        subject.notes.append("distances: the model paints no reconstructions to compare with")
    else:
        compared["reconstructed"] = reconstructed
    scores: dict[str, Any] = {}
    if subject.network is not None:
        scores["frechet_attribute"] = _frechet_attribute(subject, subject.network, reference, compared)
    if looking is not None:
        settings: dict[str, Any] = {"device": subject.device, "seed": subject.seed, "notes": subject.notes}
        scores["fid"], scores["kid"] = fid_and_kid(looking, reference, compared, **settings)
    return scores


def _frechet_attribute(
    subject: Subject, network: AttributeNetwork, reference: Tensor, compared: Mapping[str, Tensor]
) -> dict[str, Any] | None:
    n, features = len(reference), network.cells.in_channels
    if not enough_for_covariance(n, features):
        subject.notes.append(
            f"frechet_attribute: {n} scenes of each kind (half of the test scenes, and no more than are drawn) are too "
            f"few for the covariance of {features} features; draw more than {features}, and have twice as many to test"
        )
        return None
    seen = {name: features_of_images(network, some, subject.batch_size) for name, some in compared.items()}
    real = features_of_images(network, reference, subject.batch_size)
    distances = {name: frechet_distance(some, real) for name, some in seen.items()}
    return {"reconstructed": None, **distances, "n": n, "features": features}


@torch.inference_mode()
def _reconstructed(subject: Subject, images: Tensor) -> Tensor | None:
    """What the model makes of images (B, 3, H, W) uint8: the same in [0, 1], or None if it paints nothing."""
    parts = []
    for batch in images.split(subject.batch_size):
        with subject.computing():
            outputs = subject.model(batch.to(subject.device).float() / 255)
        if "recon" not in outputs:
            return None
        parts.append(outputs["recon"].float().clamp(0, 1).cpu())
    return torch.cat(parts)
