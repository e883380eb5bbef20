"""How many bits the prior spends on a code."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..models.transformer_decoder import AutoregressiveTransformer


@torch.inference_mode()
def prior_bits_per_code(
    prior: AutoregressiveTransformer,
    codes: Tensor,
    seed: int = 0,
    batch_size: int = 256,
    autocast: AbstractContextManager | None = None,
    shuffle: bool = True,
) -> dict[str, float | int | None]:
    """Bits per code of scenes the prior has not seen, in the slot order it learned and in a random one.

    Args:
        prior: the trained prior; put into eval mode for this and back after.
        codes: (B, N, M) int64 of test scenes, slots in canonical order (`CodeModel.in_order`).
        seed: of the random slot order, drawn anew for each scene.
        shuffle: False where the N are not slots but patches, which have their places.

    Returns:
        `canonical`, `shuffled`: mean over scenes and positions of the negative log-likelihood, in bits;
        `shuffled` is None without `shuffle`; `uniform`: log2 K, the cost without a prior; `n_scenes`, `n_codes`: what
        the means are over.

    Raises:
        ValueError: no scenes.
    """
    if codes.dim() != 3 or len(codes) == 0:
        raise ValueError(f"codes had shape {tuple(codes.shape)} but expected (B, N, M) with at least one scene")
    device = next(prior.parameters()).device
    orders = {"canonical": codes}
    if shuffle:
        generator = torch.Generator().manual_seed(seed)
        order = torch.rand(codes.shape[:2], generator=generator).argsort(dim=1).to(codes.device)
        orders["shuffled"] = codes.gather(1, order.unsqueeze(-1).expand_as(codes))
    was_training = prior.training
    prior.eval()
    bits: dict[str, float | None] = {"canonical": None, "shuffled": None}
    for name, scenes in orders.items():
        total = 0.0
        for batch in scenes.split(batch_size):
            with autocast or nullcontext():
                total += prior.nll(batch.to(device)).float().sum().item()
        bits[name] = total / codes.numel() / math.log(2)
    prior.train(was_training)
    return {
        **bits,
        "uniform": math.log2(prior.codebook_size),
        "n_scenes": len(codes),
        "n_codes": codes.numel(),
    }
