"""What a model makes of some scenes, from which the page learns what codes mean; kept in a file for the next start.

Legend: B scenes, O objects, N slots, M blocks.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.base import SceneDataset
from ..evaluation.passes import run_model
from ..models.svq_model import SVQ
from ..utils.checkpoint_io import atomic_save, load_kept

SCENES = 256
BATCH = 32
FORMAT, VERSION = "svq demo reference", 1  # raise it with any change of what is kept


@dataclass(frozen=True)
class Reference:
    """Scenes and the objects in them.

    Attributes:
        scenes: codes (B, N, M).
        labelled: codes (O, M) of objects whose factors are known.
        factors: each (O,); none where the data have no ground truth.
    """

    scenes: Tensor
    labelled: Tensor
    factors: dict[str, Tensor]


def reference(
    model: SVQ, data: SceneDataset | None, autocast: AbstractContextManager, cache_dir: str | Path | None = None
) -> Reference:
    """What `model`, in eval mode, makes of the first 256 scenes of `data`, its train split; without data, as many of
    its prior. With `cache_dir` it is kept there as demo_<key>.pth; a file that is damaged is made anew."""
    path = None if cache_dir is None else Path(cache_dir) / f"demo_{_key(model, data)}.pth"
    kept = load_kept(path, FORMAT)
    if kept is not None:
        return Reference(kept["scenes"], kept["labelled"], kept["factors"])
    if data is None:
        assert model.prior is not None, "without data scenes come from the prior"
        generator = torch.Generator(model.device).manual_seed(0)
        with torch.inference_mode(), autocast:
            scenes = model.prior.sample(SCENES, generator=generator).cpu()
        found = Reference(scenes.clone(), torch.empty(0, model.num_codebooks, dtype=torch.int64), {})
    else:
        seen = run_model(model, data.first(SCENES), model.device, autocast, BATCH)
        factors = {name: torch.from_numpy(values) for name, values in seen.factors.items()}
        found = Reference(seen.codes.clone(), torch.from_numpy(seen.object_codes), factors)
    if path is not None:
        atomic_save({"format": FORMAT, **vars(found)}, path)
    return found


def _key(model: SVQ, data: SceneDataset | None) -> str:
    """A name for the model's weights, the data and the version of this file, 12 characters."""
    digest = hashlib.sha256(repr((VERSION, SCENES, None if data is None else (data.name, data.image_size))).encode())
    for name, values in model.state_dict().items():
        if data is None or not name.startswith("prior."):  # of which pictures' codes do not depend
            digest.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
    if data is not None:
        digest.update(data.first(1).images.numpy().tobytes())
    return digest.hexdigest()[:12]
