"""What a model makes of scenes, as the tokens that a head of a downstream task sees.

Legend: B scenes, S objects a scene can hold, T tokens (slots, or patches row by row), M blocks, D token width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.base import SceneDataset
from ..models.code_model import CodeModel
from ..models.slot_decoder import losses_only
from .segmentation import match_objects, segment

MOST_PATCHES = 64  # finer grids are joined, 2 x 2 neighbours to one token


@dataclass
class Tokens:
    """The representations of B scenes; all on the CPU.

    contents: by name, what the tokens hold: "vectors" (B, T, D), after quantization; "indices" (B, T, M) int64;
        "continuous" (B, T, D), before quantization. A model has those that it has.
    holders: (B, S, T) bool, which tokens hold which object: its slot, one at most, or the patches it owns.
    placed: whether token t is always the same patch of the image.
    """

    contents: dict[str, Tensor]
    holders: Tensor
    placed: bool


@torch.inference_mode()
def represent(
    model: CodeModel,
    dataset: SceneDataset,
    computing: Callable,
    batch_size: int = 256,
    on_batch: Callable[[int], object] = lambda scenes: None,
) -> Tokens:
    """The tokens of all scenes of `dataset`, which has ground truth; the model is in eval mode.

    Args:
        computing: gives the context to run the model in.
    """
    kept: dict[str, list[Tensor]] = {}
    of_batch = _slots if model.has_slots else _patches
    with losses_only(model):
        for start in range(0, len(dataset), batch_size):
            rows = slice(start, min(start + batch_size, len(dataset)))
            image = dataset.images[rows].to(model.device).float() / 255
            owner = dataset.instances[rows]
            number = torch.arange(1, dataset.factors["present"].shape[1] + 1, dtype=owner.dtype)
            with computing():
                found = of_batch(model, image, owner[:, None] == number[:, None, None])
            for name, value in found.items():
                kept.setdefault(name, []).append(value.cpu())
            on_batch(len(image))
    whole = {name: torch.cat(parts) for name, parts in kept.items()}
    return Tokens(holders=whole.pop("holders"), contents=whole, placed=not model.has_slots)


def _slots(model: CodeModel, image: Tensor, true_masks: Tensor) -> dict[str, Tensor]:
    """Contents and holders of slots; the object of a slot is found as in the scores of codes."""
    outputs = model(image)
    slot = match_objects(true_masks, segment(outputs["masks"].float().cpu()))
    found = {"continuous": outputs["slots"].float()}
    if "codes" in outputs:
        found = {"vectors": outputs["quantized"].float(), "indices": outputs["codes"], **found}
    count = outputs["slots"].shape[1]
    return {**found, "holders": slot[..., None] == torch.arange(count)}


def _patches(model: CodeModel, image: Tensor, true_masks: Tensor) -> dict[str, Tensor]:
    """Contents and holders of patches, of at most `MOST_PATCHES`."""
    codes = model.encode(image)
    found = {"indices": codes}
    if model.codebook is not None:
        found = {
            "vectors": model.codebook[torch.arange(codes.shape[-1], device=codes.device), codes].flatten(2),
            **found,
        }
    while found["indices"].shape[1] > MOST_PATCHES and round(found["indices"].shape[1] ** 0.5) % 2 == 0:
        found = {name: _joined(value) for name, value in found.items()}
    side = round(found["indices"].shape[1] ** 0.5)
    return {**found, "holders": patch_holders(true_masks, side)}


def _joined(tokens: Tensor) -> Tensor:
    """Tokens (B, side², ...) row by row → (B, side² / 4, 4 ...): 2 x 2 neighbours side by side."""
    side = round(tokens.shape[1] ** 0.5)
    grid = tokens.unflatten(1, (side // 2, 2, side // 2, 2))
    return grid.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)


def patch_holders(true_masks: Tensor, side: int) -> Tensor:
    """Which of side² patches hold which object, (B, S, side²) bool: those of which it owns at least half of the pixels,
    and if there are none, the one of which it owns most; an object that is not visible has none.

    true_masks (B, S, H, W) bool.
    """
    area = F.adaptive_avg_pool2d(true_masks.float(), side).flatten(2)
    largest = area.amax(dim=2, keepdim=True)
    half = area >= 0.5
    first = torch.arange(area.shape[2]) == area.argmax(dim=2, keepdim=True)
    return torch.where(half.any(dim=2, keepdim=True), half, first) & (largest > 0)
