"""How many generated scenes are well-formed, as the attribute network sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .attribute_network import AttributeNetwork, read_images
from .intervals import share


def well_formedness(images: Tensor, network: AttributeNetwork, batch_size: int = 256) -> dict[str, Any]:
    """The share of images that are well-formed: nothing malformed in them, and 1 to `network.max_shapes`
    objects.

    Args:
        images: (B, 3, H, W), float in [0, 1] or uint8.
        network: of the data set the images are compared with (`attribute_training.attribute_network`).

    Returns:
        `share`, `count`, `n` and the Wilson 95 % interval `low`..`high` of well-formed images; `clean`, the
        share without anything malformed, whatever the number of objects; `objects`, a histogram: how many
        images with 0, 1, 2, ... objects found, the last entry being `max_shapes + 1` or more.

    Raises:
        ValueError: no images, or not images.
    """
    if len(images) == 0:
        raise ValueError("no images to judge; generate at least one")
    reading = read_images(network, images, batch_size)
    last = network.max_shapes + 1
    return {
        **share(reading.well_formed),
        "clean": float((reading.clean_probability > 0.5).float().mean()),
        "objects": torch.bincount(reading.count.clamp(max=last), minlength=last + 1).tolist(),
    }
