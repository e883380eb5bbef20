"""Reading an object's factors from the code vector of its slot, with one small MLP per factor.

The probe is the same for every factor and never tuned: standardised inputs, one hidden layer, AdamW with a
cosine schedule, a fixed number of epochs, no early stopping; fitted on objects of the train split, scored on
others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 256
EPOCHS = 30
BATCH = 256
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2


def read_factors(
    fit_vectors: NDArray[np.floating],
    fit_factors: Mapping[str, NDArray],
    test_vectors: NDArray[np.floating],
    test_factors: Mapping[str, NDArray],
    seed: int = 0,
) -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """How well each factor is read from the code vectors.

    Args:
        fit_vectors, test_vectors: (O, D) code vectors of matched slots; the objects of both sets differ.
        fit_factors, test_factors: per factor (O,): classes >= 0 (integers, scored by accuracy) or numbers
            (floating point, scored by R²).

    Returns:
        per factor `{"accuracy": score, "chance": share of the fit set's most frequent class}` or `{"r2": score}`,
        which is 0 by its definition for who always says the mean. And one line per score that is undefined (None).

    Raises:
        ValueError: no objects, or vectors that are not finite.
    """
    for name, vectors in (("fit", fit_vectors), ("test", test_vectors)):
        if len(vectors) < 2 or not np.isfinite(vectors).all():
            raise ValueError(f"the probe's {name} set has {len(vectors)} code vectors; expected 2 or more, all finite")
    fit_x, test_x = _standardised(fit_vectors, test_vectors)
    scores: dict[str, dict[str, float | None]] = {}
    notes = []
    for name in fit_factors:
        fit_y, test_y = np.asarray(fit_factors[name]), np.asarray(test_factors[name])
        kind = "accuracy" if np.issubdtype(fit_y.dtype, np.integer) else "r2"
        if np.unique(fit_y).size < 2 or np.unique(test_y).size < 2:
            notes.append(f"readout: {name} has one value only in {len(fit_y)} + {len(test_y)} objects, nothing to read")
            scores[name] = {"accuracy": None, "chance": None} if kind == "accuracy" else {"r2": None}
        elif kind == "accuracy":
            scores[name] = _accuracy(fit_x, fit_y, test_x, test_y, seed)
        else:
            scores[name] = _r2(fit_x, fit_y, test_x, test_y, seed)
    return scores, notes


def read_classes(
    fit_vectors: NDArray[np.floating], labels: NDArray[np.integer], vectors: NDArray[np.floating], seed: int = 0
) -> NDArray[np.int64]:
    """What the probe of one factor says of other objects: fitted to vectors (O, D) and labels (O,) >= 0, the class of
    each of `vectors` (P, D); (P,)."""
    fit_x, x = _standardised(fit_vectors, vectors)
    probe = fit_probe(fit_x, torch.from_numpy(labels.astype(np.int64)), int(labels.max()) + 1, seed)
    with torch.inference_mode():
        return probe(x).argmax(dim=1).numpy()


def _standardised(fit_vectors: NDArray[np.floating], test_vectors: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
    """Both as float32 tensors, shifted and scaled by the mean and standard deviation of the first."""
    mean, std = fit_vectors.mean(axis=0), fit_vectors.std(axis=0)
    scale = np.where(std > 1e-6 * max(float(std.max()), 1e-12), std, np.inf)  # a constant input says nothing
    fit_x, test_x = (
        torch.from_numpy(((vectors - mean) / scale).astype(np.float32)) for vectors in (fit_vectors, test_vectors)
    )
    return fit_x, test_x


def _accuracy(fit_x: Tensor, fit_y: NDArray, test_x: Tensor, test_y: NDArray, seed: int) -> dict[str, float | None]:
    counts = np.bincount(fit_y, minlength=int(test_y.max()) + 1)
    probe = fit_probe(fit_x, torch.from_numpy(fit_y.astype(np.int64)), len(counts), seed)
    with torch.inference_mode():
        predicted = probe(test_x).argmax(dim=1).numpy()
    return {
        "accuracy": float((predicted == test_y).mean()),
        "chance": float((test_y == counts.argmax()).mean()),
    }


def _r2(fit_x: Tensor, fit_y: NDArray, test_x: Tensor, test_y: NDArray, seed: int) -> dict[str, float | None]:
    mean, std = float(fit_y.mean()), float(fit_y.std())
    probe = fit_probe(fit_x, torch.from_numpy(((fit_y - mean) / std).astype(np.float32)), 1, seed)
    with torch.inference_mode():
        predicted = probe(test_x)[:, 0].double().numpy() * std + mean
    residual = ((predicted - test_y) ** 2).sum() / ((test_y - test_y.mean()) ** 2).sum()
    return {"r2": float(1 - residual)}


def fit_probe(x: Tensor, y: Tensor, outputs: int, seed: int) -> nn.Module:
    """The probe fitted to classes (O,) int64, or to standardised numbers (O,) float32."""
    generator = torch.Generator().manual_seed(seed)
    hidden, head = _linear(x.shape[1], HIDDEN, generator), _linear(HIDDEN, outputs, generator)
    probe = nn.Sequential(hidden, nn.ReLU(), head)
    optimiser = torch.optim.AdamW(probe.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x), generator=generator).split(BATCH):
            output = probe(x[index])
            loss = F.mse_loss(output[:, 0], y[index]) if outputs == 1 else F.cross_entropy(output, y[index])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return probe


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A layer with PyTorch's default weights, drawn without moving anyone else's random numbers."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    assert isinstance(layer, nn.Linear)
    bound = inputs**-0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
