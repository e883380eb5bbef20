"""Scenes that a model draws, and how many of them are well-formed, as the attribute network sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..models.code_model import CodeModel
from ..utils.progress import progress_bar
from .attribute_network import AttributeNetwork, Reading, obeying, read_images
from .intervals import share


@torch.no_grad()
def draw_scenes(
    model: CodeModel,
    count: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    *,
    batch_size: int = 256,
    progress: bool = True,
) -> tuple[Tensor, Tensor]:
    """`count` new scenes of the model's prior.

    Without a prior every code of a scene is drawn at random, each as likely as any other.

    Args:
        temperature, top_k: see `AutoregressiveTransformer.sample`.
        seed: of the draws; the caller's random numbers are left alone. Other batches draw other scenes from it.
        batch_size: scenes drawn and painted at once.
        progress: shows a bar.

    Returns:
        codes (count, N, M) int64 and images (count, 3, H, W) float32 in [0, 1], on the CPU.

    Raises:
        ValueError: see `AutoregressiveTransformer.sample`.
    """
    device = model.device
    generator = torch.Generator(device).manual_seed(seed)
    codes, images = [], []
    with progress_bar("generating scenes", count, unit="scene", enabled=progress) as bar:
        for start in range(0, count, batch_size):
            batch = min(batch_size, count - start)
            if model.prior is None:
                shape = (batch, model.num_slots, model.num_codebooks)
                drawn = torch.randint(model.codebook_size, shape, generator=generator, device=device)
            else:
                drawn = model.prior.sample(batch, temperature, top_k, generator)
            codes.append(drawn.cpu())
            images.append(model.paint(drawn).clamp(0, 1).float().cpu())
            bar.update(batch)
    return torch.cat(codes), torch.cat(images)


def well_formedness(
    images: Tensor,
    network: AttributeNetwork,
    batch_size: int = 256,
    rule: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Any]:
    """The share of images that are well-formed: nothing malformed in them, and `network.min_shapes` to
    `network.max_shapes` objects.

    Args:
        images: (B, 3, H, W), float in [0, 1] or uint8.
        network: of the data set the images are compared with (`attribute_training.attribute_network`).
        rule: of that data set (`SceneDataset.rule`), if it has one.

    Returns:
        what `well_formedness_read` says of its reading.

    Raises:
        ValueError: no images, or not images.
    """
    if len(images) == 0:
        raise ValueError("no images to judge; generate at least one")
    return well_formedness_read(read_images(network, images, batch_size), network.max_shapes, rule)


def well_formedness_read(
    reading: Reading, max_shapes: int, rule: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
) -> dict[str, Any]:
    """As `well_formedness`, of images that were read already.

    Returns:
        `share`, `count`, `n` and the Wilson 95 % interval `low`..`high` of well-formed images; `clean`, the
        share without anything malformed, whatever the number of objects; `objects`, a histogram: how many
        images with 0, 1, 2, ... objects found, the last entry being `max_shapes + 1` or more. With a rule also
        `obeys_rule`, the same shares of images that are well-formed and obey it.
    """
    last = max_shapes + 1
    return {
        **share(reading.well_formed),
        **({} if rule is None else {"obeys_rule": share(obeying(reading, rule))}),
        "clean": float((reading.clean_probability > 0.5).float().mean()),
        "objects": torch.bincount(reading.count.clamp(max=last), minlength=last + 1).tolist(),
    }
