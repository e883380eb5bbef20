"""Checkpoints of the paper's official code, and of SysBinder's, as models of ours that give the same numbers."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checks import require_positive
from .official import encoder_rules, memory_rules, prior_rules, quantizer_rules, renamed, token_decoder_rules
from .svq_model import SVQ
from .vector_quantizer import SemanticVectorQuantizer

_AUTOENCODER = "dvae.encoder.0.m.weight"  # a tensor that every official autoencoder has, and a prior lacks
_PRIOR = "embedding.weight"
# Names under which a training script may have put a state dict.
_KEPT_AS = ("model", "model_state_dict", "state_dict", "prior")
# What weights do not tell, with the official defaults; the arguments of `import_official`.
UNTOLD = {"num_slots": 4, "num_iterations": 3, "num_decoder_heads": 4, "prior_num_heads": 4}
TOLD = (*UNTOLD, "dropout", "commitment_beta")
# Fixed or unused official tensors: the position grid, the GRU's masks, the Gaussian beside learned initial slots.
_FIXED = ("pos.pe", "gru.mask_hx", "gru.mask_hh", "slot_mu", "slot_log_sigma")


def read_official(path: str | Path) -> dict[str, Any]:
    """Opens an official file: {"model": ..., "prior": ..., "config": ...}, those of them that are in it.

    A bare state dict, one in a training checkpoint, and names that begin with `module.` are understood. No code inside
    the file is run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be opened safely, or holds no such state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is no file: give an official checkpoint")
    try:
        # Beside its weights a training script may have kept its arguments, which are plain values.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # PyTorch raises RuntimeError, EOFError, UnpicklingError, ... for broken files
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be opened as tensors and plain containers: it is "
            "damaged, no checkpoint, or holds other objects; save its state dict alone, as "
            'torch.save(checkpoint["model"], path) does'
        ) from error
    found: dict[str, Any] = {}
    for state in _state_dicts(content):
        if _AUTOENCODER in state:
            found["model"] = state
        elif _PRIOR in state:
            found["prior"] = state
    if not found:
        raise ValueError(
            f"{path} holds no state dict of the official code (no {_AUTOENCODER} and no {_PRIOR} in it): "
            "give a checkpoint of its training"
        )
    if isinstance(content, Mapping) and isinstance(content.get("config"), Mapping):
        found["config"] = dict(content["config"])
    return found


def _state_dicts(content: Any) -> list[dict[str, Tensor]]:
    if not isinstance(content, Mapping):
        return []
    candidates = [content, *(content[name] for name in _KEPT_AS if isinstance(content.get(name), Mapping))]
    tensors = (
        {str(name).removeprefix("module."): value for name, value in each.items() if isinstance(value, Tensor)}
        for each in candidates
    )
    return [state for state in tensors if state]


def import_official(
    state: Mapping[str, Tensor], prior: Mapping[str, Tensor] | None = None, **told: int | float | None
) -> SVQ:
    """Our model with official weights, in eval mode.

    Args:
        state: the autoencoder's official state dict, with quantized blocks or with SysBinder's prototypes.
        prior: that of the prior over its codes.
        told: what weights do not tell, by its official name: num_slots (learned initial slots and a prior tell it),
            num_iterations, num_decoder_heads, prior_num_heads, dropout, commitment_beta; None and what is left out have
            the official defaults.

    Raises:
        ValueError: in one line, every tensor that is missing, unexpected or of the wrong shape, or a wrong size.
    """
    given = {name: value for name, value in told.items() if value is not None}
    for name, value in given.items():
        if name not in TOLD:
            raise ValueError(f"{name}={value} is nothing that an official model is told; choose from {', '.join(TOLD)}")
    for name in UNTOLD.keys() & given.keys():
        require_positive(**{name: int(given[name])})
    for name, tensors in (("autoencoder", state), ("prior", prior or {})):
        if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise ValueError(f"the {name}'s state dict holds something that is no tensor")
        broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
        if broken:
            raise ValueError(
                f"the {name}'s weights hold NaN or infinity, the first in {broken[0]}: take another checkpoint"
            )
    arguments = _arguments(state, prior, given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the noise that slots start from in eval mode is ours, and the same each time
        model = SVQ(**arguments)
    learned = arguments["slot_init"] == "learned_noisy"
    attention = _attention_name(state)
    rules = encoder_rules(learned, ours="encoder.", attention=attention)
    rules += token_decoder_rules(arguments["decoder_layers"], ours="decoder.decoder.")
    if arguments["bottleneck"] == "codes":
        rules += quantizer_rules(ours="quantizer.", attention=attention)
    else:
        rules += memory_rules(ours="quantizer.", attention=attention)
    used = {name for rule in rules for name in rule.official}
    fixed = {f"image_encoder.{place}{name}" for name in _FIXED for place in ("", f"{attention}.")} - used
    told_apart = {name: tensor for name, tensor in state.items() if name not in fixed}
    model.load_state_dict(renamed(told_apart, rules, model.state_dict()))
    if isinstance(model.quantizer, SemanticVectorQuantizer):
        model.quantizer.num_filled.fill_(model.codebook_size)
    if prior is not None:
        layers = _count(prior, "tf.layers.")
        embed_dim = _shape(prior, _PRIOR, 2)[1]
        heads = int(given.get("prior_num_heads", UNTOLD["prior_num_heads"]))
        ours = model.init_prior(embed_dim, heads, layers, float(given.get("dropout", 0.1)), style="paper")
        ours.load_state_dict(renamed(prior, prior_rules(layers), ours.state_dict()))
    return model.eval()


def _arguments(
    state: Mapping[str, Tensor], prior: Mapping[str, Tensor] | None, told: Mapping[str, int | float]
) -> dict[str, Any]:
    """The arguments of `SVQ` that the shapes of official tensors imply."""
    slots = f"image_encoder.{_attention_name(state)}."
    num_blocks, block_dim, hidden = _shape(state, f"{slots}mlp.0.w", 3)
    learned = f"{slots}learned_init_slots.weight" in state
    asked = told.get("num_slots")
    prototypes = f"{slots}prototype_memory.mem_params" in state
    if prototypes:
        codebook_size = _shape(state, f"{slots}prototype_memory.mem_params", 4)[1]
    else:
        codebook_size = _shape(state, f"{slots}prototype_memory.mem.weight", 2)[0] // num_blocks
    if learned:
        num_slots = len(state[f"{slots}learned_init_slots.weight"])
    elif prior is not None:
        num_slots = _shape(prior, "pos.pe", 3)[1] // num_blocks
    else:
        num_slots = int(asked or UNTOLD["num_slots"])
    if asked is not None and asked != num_slots:
        raise ValueError(f"num_slots={asked} but the weights are those of {num_slots} slots: leave it out")
    width, channels, *_ = _shape(state, "image_encoder.cnn.0.m.weight", 4)
    vocab_size, embed_dim = _shape(state, "image_decoder.dict.dictionary.weight", 2)
    length = _shape(state, "image_decoder.decoder_pos.pe", 3)[1] - 1
    return {
        "image_size": 4 * math.isqrt(length),
        "in_channels": channels,
        "num_slots": num_slots,
        "num_iterations": int(told.get("num_iterations", UNTOLD["num_iterations"])),
        "slot_size": num_blocks * block_dim,
        "num_codebooks": num_blocks,
        "codebook_size": codebook_size,
        "code_dim": block_dim,
        "hidden_dim": width,
        "commitment_cost": 0.0 if prototypes else float(told.get("commitment_beta", 50.0)),
        "decoder": "transformer",
        "slot_init": "learned_noisy" if learned else "random",
        "quantize_at": "every",
        "bottleneck": "prototypes" if prototypes else "codes",
        "backbone": "paper",
        "feature_dim": embed_dim,
        "slot_mlp_dim": num_blocks * hidden,
        "implicit": False,
        "salience": False,
        "inhibition": 0.0,
        "shading": False,
        "vocab_size": vocab_size,
        "decoder_layers": _count(state, "image_decoder.tf.blocks."),
        "decoder_heads": int(told.get("num_decoder_heads", UNTOLD["num_decoder_heads"])),
        "decoder_dropout": float(told.get("dropout", 0.1)),
    }


def _attention_name(state: Mapping[str, Tensor]) -> str:
    """What slot attention is called there."""
    return "sysbinder" if any(name.startswith("image_encoder.sysbinder.") for name in state) else "nlotm"


def _shape(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"{name} is missing: this is no state dict of the official code")
    if state[name].ndim != dimensions:
        raise ValueError(f"{name} has shape {tuple(state[name].shape)} but expected {dimensions} dimensions")
    return tuple(state[name].shape)


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered layers begin with `prefix`."""
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})
