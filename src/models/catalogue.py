"""The models that a config can choose by `model.kind`, each with the arguments of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .code_model import CodeModel
from .dvae_tokens import DVAETokens
from .patch_vqvae import PatchVQVAE
from .svq_model import SVQ

MODELS: dict[str, type[CodeModel]] = {each.kind: each for each in (SVQ, PatchVQVAE, DVAETokens)}


def make_model(kind: str, arguments: Mapping[str, Any]) -> CodeModel:
    """An untrained model; of `arguments` it takes those that its constructor has.

    Raises:
        ValueError: an unknown kind, or sizes that do not fit.
    """
    if kind not in MODELS:
        raise ValueError(f"model kind {kind!r} is unknown; choose one of: {', '.join(MODELS)}")
    taken = arguments_of(kind)
    return MODELS[kind](**{name: value for name, value in arguments.items() if name in taken})


def arguments_of(kind: str) -> list[str]:
    """What the constructor of a model of that kind takes."""
    return list(inspect.signature(MODELS[kind]).parameters)
