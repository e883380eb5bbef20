"""The page beside weights that are passed on: what the model is, how to load it, what was found of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The head is for the Hugging Face hub.
_CARD = """\
---
library_name: svq
tags: [object-centric-learning, slot-attention, vector-quantization, image-generation]
---

# {name}

A `{model}` for images of {side}×{side} pixels: pictures to discrete codes, and codes to pictures.

```python
from src.models.{module} import {model}  # of the wheel: from svq.models.{module} import {model}

model = {model}.from_pretrained("{name}")  # the folder of this file
codes = model.encode(image)  # image (B, {channels}, {side}, {side}) in [0, 1]
image = model.paint(codes)
```

{table}
"""
_OF_DATA = ("name", "max_shapes", "background", "num_train", "seed")


def model_card(
    name: str, model: type, content: Mapping[str, Any], source: str | None = None, compact: bool = False
) -> str:
    """Markdown.

    Args:
        name: of the folder.
        model: the class.
        content: of the checkpoint, its weights not needed; `metrics` become a table.
        source: where the metrics are from.
        compact: whether the weights are stored in fewer bits.
    """
    config, training = content["model_config"], content["config"]
    prior, data = config["prior"], training.get("data") or {}
    rows = {
        "slots a scene": config.get("num_slots"),
        "codes a slot": config.get("num_codebooks"),
        "codes to choose from": config.get("codebook_size", config.get("vocab_size")),
        "prior": "none" if prior is None else f"{prior['num_layers']} layers, {prior['embed_dim']} wide",
        "weights": "rounded to 32, 16 or 8 bits" if compact else "32 bits",
        "trained on": ", ".join(f"{key} {data[key]}" for key in _OF_DATA if data.get(key) is not None),
        "seed": training.get("seed"),
    }
    card = _CARD.format(
        name=name,
        model=model.__name__,
        module=model.__module__.rpartition(".")[2],
        side=config["image_size"],
        channels=config["in_channels"],
        table=_table("model", rows),
    )
    if content["metrics"]:
        card += "\n" + _table("score", content["metrics"]) + "\n"
        rounding = "; scores are of the weights before rounding" if compact else ""
        card += f"\nFrom `{source}`{rounding}.\n" if source is not None else ""
    return card


def _table(title: str, rows: Mapping[str, Any]) -> str:
    """Two columns; what is not known is left out."""
    shown = {name: value for name, value in rows.items() if value not in (None, "")}
    lines = [
        f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
        for name, value in shown.items()
    ]
    return "\n".join([f"| {title} | |", "|---|---|", *lines])
