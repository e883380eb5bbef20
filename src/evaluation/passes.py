"""One pass of a model over a data set, keeping what the scores need: of every scene, and of every matched
object.

Legend: B scenes, S objects a scene, O matched objects in all, N slots, M blocks, D slot width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.base import SceneDataset
from .segmentation import compare, segment
from .similarity import ssim

SSIM_SCENES = 1000  # the first ones; it takes longer than all other scores of a scene
_SCORES = ("mse", "psnr", "ssim", "ari", "full_ari", "iou", "best_overlap")
_OF_ATTENTION = ("ari_attention", "full_ari_attention", "iou_attention", "best_overlap_attention")


@dataclass
class Pass:
    """What a model made of a data set; all on the CPU.

    codes (B, N, M) int64; of each scene, (B,) float, NaN where not defined: mse, psnr, ssim (of the first 1,000
    scenes, with torchmetrics), ari (FG-ARI), full_ari (all pixels), iou, best_overlap from the decoder's masks, and
    those named _attention from slot attention's; judged: what `judge` said of the reconstructions (B,) or None;
    vectors (O, D), object_codes (O, M) and factors (O,) of the matched objects, and where they are, (O,) int64: scene,
    slot, and number, which of the scene's S objects; objects: how many there were to match.
    """

    codes: Tensor
    mse: Tensor
    psnr: Tensor
    ari: Tensor
    ari_attention: Tensor
    iou: Tensor
    ssim: Tensor
    full_ari: Tensor
    full_ari_attention: Tensor
    iou_attention: Tensor
    best_overlap: Tensor
    best_overlap_attention: Tensor
    judged: Tensor | None
    vectors: NDArray[np.float32]
    object_codes: NDArray[np.int64]
    factors: dict[str, NDArray]
    scene: NDArray[np.int64]
    slot: NDArray[np.int64]
    number: NDArray[np.int64]
    objects: int


@torch.inference_mode()
def run_model(
    model: nn.Module,
    dataset: SceneDataset,
    device: torch.device | str = "cpu",
    autocast: AbstractContextManager | None = None,
    batch_size: int = 256,
    judge: Callable[[Tensor], Tensor] | None = None,
    on_batch: Callable[[int], object] = lambda scenes: None,
) -> Pass:
    """Runs `model`, as it is (put it into eval mode before), over all scenes of `dataset`.

    Objects are matched to slots by the arg-max of the decoder's masks; one that no slot holds is left out. Without
    ground truth, or without slots, there are no objects. What the model does not make, such as codes, is empty, and
    scores of what it does not paint are NaN.
    """
    kept: dict[str, list[Tensor]] = {}
    visible = 0
    for start in range(0, len(dataset), batch_size):
        rows = slice(start, min(start + batch_size, len(dataset)))
        image = dataset.images[rows].to(device).float() / 255
        with autocast or nullcontext():
            outputs = model(image)
        found = {}
        if "codes" in outputs:
            found["codes"] = outputs["codes"].cpu()
        if "recon" in outputs:
            mse = (outputs["recon"].float() - image).square().mean(dim=(1, 2, 3)).cpu()
            found |= {"mse": mse, "psnr": -10 * mse.clamp(min=1e-10).log10()}
            found["ssim"] = torch.full_like(mse, torch.nan)
            compared = max(0, min(SSIM_SCENES - start, len(image)))
            if compared:
                similar = ssim(outputs["recon"][:compared].float().clamp(0, 1), image[:compared])
                found["ssim"][:compared] = similar.cpu()
        if dataset.has_ground_truth and "masks" in outputs:
            true_masks = _true_masks(dataset, rows)
            visible += int(true_masks.flatten(2).any(dim=2).sum())
            found |= _compared(outputs, true_masks)
            slot = found.pop("slot")
            scene, k = torch.nonzero(slot >= 0, as_tuple=True)
            found |= {"scene": start + scene, "slot": slot[scene, k], "number": k}
            found |= {f"factor {name}": dataset.factors[name][rows][scene, k] for name in dataset.scored_factors}
        if judge is not None and "recon" in outputs:
            found["judged"] = judge(outputs["recon"].float().clamp(0, 1)).cpu()
        for name, value in found.items():
            kept.setdefault(name, []).append(value)
        on_batch(len(image))
    whole = {name: torch.cat(parts) for name, parts in kept.items()}
    undefined = torch.full((len(dataset),), torch.nan, dtype=torch.float64)
    nothing, nowhere = torch.empty(0, 0), torch.empty(0, dtype=torch.int64)
    return Pass(
        codes=whole.get("codes", nothing.long()),
        **{name: whole.get(name, undefined) for name in (*_SCORES, *_OF_ATTENTION)},
        judged=whole.get("judged"),
        vectors=whole.get("vectors", nothing).numpy(),
        object_codes=whole.get("object_codes", nothing.long()).numpy(),
        factors={name.removeprefix("factor "): whole[name].numpy() for name in whole if name.startswith("factor ")},
        scene=whole.get("scene", nowhere).numpy(),
        slot=whole.get("slot", nowhere).numpy(),
        number=whole.get("number", nowhere).numpy(),
        objects=visible,
    )


def _true_masks(dataset: SceneDataset, rows: slice) -> Tensor:
    """The visible pixels of each object, (B, S, H, W) bool."""
    instances = dataset.instances[rows]
    number = torch.arange(1, dataset.factors["present"].shape[1] + 1, dtype=instances.dtype)
    return instances[:, None] == number[:, None, None]


def _compared(outputs: Mapping[str, Tensor], true_masks: Tensor) -> dict[str, Tensor]:
    """The slots held against the objects: scores of the B scenes, the slot (B, S) of each object (see
    `match_objects`), and the vectors (O, D) and codes (O, M) of those that some slot holds."""
    decoder = compare(true_masks, segment(outputs["masks"].float().cpu()))
    attention = compare(true_masks, segment(_upsampled(outputs["attention"].float().cpu(), true_masks.shape[-2:])))
    slot = decoder.slot
    scene, k = torch.nonzero(slot >= 0, as_tuple=True)
    at = (scene, slot[scene, k])
    return {
        "ari": decoder.fg_ari,
        "ari_attention": attention.fg_ari,
        "full_ari": decoder.ari,
        "full_ari_attention": attention.ari,
        "iou": decoder.iou,
        "iou_attention": attention.iou,
        "best_overlap": decoder.best_overlap,
        "best_overlap_attention": attention.best_overlap,
        "slot": slot,
        "vectors": outputs["quantized"].float().cpu()[at],
        **({"object_codes": outputs["codes"].cpu()[at]} if "codes" in outputs else {}),
    }


def _upsampled(attention: Tensor, size: torch.Size) -> Tensor:
    """Attention (B, N, h·w) on a square grid -> masks (B, N, 1, H, W), bilinear."""
    side = round(attention.shape[-1] ** 0.5)
    maps = F.interpolate(attention.unflatten(-1, (side, side)), size=tuple(size), mode="bilinear", align_corners=False)
    return maps.unsqueeze(2)
