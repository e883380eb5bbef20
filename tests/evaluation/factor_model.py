"""A model whose codes are the factors and that draws them exactly, with a judge that reads exactly what it drew: what
scores of edited codes must be is known for it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from src.data.rendering import render_images, render_instances
from src.data.scenes import Scenes
from src.data.toy_datasets import ToyDataset, make_dataset
from src.evaluation.attribute_network import Reading
from src.evaluation.passes import run_model
from src.evaluation.subject import Subject

CODES = 16
COLOUR, SHAPE, X, Y, SIZE, SPARE = range(6)


class FactorModel(nn.Module):
    """Blocks: colour, shape, x, y, size (0: no object), and a spare one that repeats the colour.

    Args:
        entangled: an object lies elsewhere for each colour, by 2 codes.
        dead: the colour is drawn as the spare block has it, whatever the first block says.
    """

    has_codes = has_slots = True
    prior = None
    codebook_size, num_codebooks = CODES, 6

    def __init__(self, *datasets: ToyDataset, entangled: bool = False, dead: bool = False) -> None:
        super().__init__()
        self.family, self.image_size = datasets[0].family, datasets[0].image_size
        self.num_slots = datasets[0].max_shapes + 1  # the last one holds the background
        self.entangled, self.dead = entangled, dead
        self.drawn: dict[bytes, Scenes] = {}
        self.known = {}
        for dataset in datasets:
            self.known.update(zip(map(_key, dataset.images), self.codes_of(dataset), strict=True))

    @property
    def codebook(self) -> Tensor:
        """(M, K, 1): codes whose numbers are near are near."""
        return torch.arange(float(CODES)).view(1, -1, 1).expand(self.num_codebooks, -1, -1)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def codes_of(self, dataset: ToyDataset) -> Tensor:
        factors, low, high = dataset.factors, self.family.min_size, self.family.max_size
        there = factors["present"]
        codes = torch.zeros(*there.shape, self.num_codebooks, dtype=torch.int64)
        codes[..., COLOUR] = codes[..., SPARE] = factors["colour"]
        codes[..., SHAPE] = factors["shape"]
        codes[..., X], codes[..., Y] = ((factors[axis].nan_to_num() * CODES).floor().long() for axis in "xy")
        codes[..., SIZE] = 1 + ((factors["size"].nan_to_num() - low) / (high - low) * (CODES - 1)).floor().long()
        if self.entangled:
            codes[..., X] = (codes[..., X] - 2 * codes[..., COLOUR]) % CODES
        codes[~there] = 0
        return torch.cat([codes, torch.zeros_like(codes[:, :1])], dim=1)

    def scenes(self, codes: Tensor) -> Scenes:
        numbers, there = codes.numpy(), codes[..., SIZE].numpy() > 0
        colour = numbers[..., SPARE if self.dead else COLOUR]
        x = (numbers[..., X] + 2 * colour) % CODES if self.entangled else numbers[..., X]
        low, high = self.family.min_size, self.family.max_size
        return Scenes(
            present=there,
            shape=np.where(there, numbers[..., SHAPE], -1),
            colour=np.where(there, colour, -1),
            size=np.where(there, low + (numbers[..., SIZE] - 0.5) / (CODES - 1) * (high - low), np.nan),
            x=np.where(there, (x + 0.5) / CODES, np.nan),
            y=np.where(there, (numbers[..., Y] + 0.5) / CODES, np.nan),
            rotation=np.zeros(there.shape),
            background=np.zeros((len(there), 3)),
        )

    def paint(self, codes: Tensor) -> Tensor:
        scenes = self.scenes(codes)
        images = render_images(self.family, scenes, self.image_size, lambda rows: np.zeros((len(codes[rows]), 3, 1, 1)))
        for i, image in enumerate(images):
            self.drawn[image.tobytes()] = scenes[slice(i, i + 1)]
        return torch.from_numpy(images).float() / 255

    def masks(self, codes: Tensor) -> Tensor:
        owner = torch.from_numpy(render_instances(self.family, self.scenes(codes), self.image_size).astype(np.int64))
        numbers = (torch.arange(self.num_slots) + 1) % self.num_slots
        return (owner[:, None] == numbers[:, None, None]).float().unsqueeze(2)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        codes = torch.stack([self.known[_key((one * 255).round().to(torch.uint8))] for one in image])
        masks = self.masks(codes)
        return {
            "recon": self.paint(codes),
            "masks": masks,
            "codes": codes,
            "quantized": codes.float(),
            "attention": nn.functional.avg_pool2d(masks[:, :, 0], 4).flatten(2),
        }

    def decode(self, codes: Tensor) -> Any:
        from src.models.slot_decoder import DecoderOutput

        recon = self.paint(codes)
        return DecoderOutput(recon, self.masks(codes), recon.unsqueeze(1).expand(-1, self.num_slots, -1, -1, -1))


class ExactJudge(nn.Module):
    """Reads a picture that a `FactorModel` drew by looking up what was drawn."""

    def __init__(self, model: FactorModel) -> None:
        super().__init__()
        self.model = [model]  # not a part of it
        self.weight = nn.Parameter(torch.zeros(()))

    def read(self, images: Tensor) -> Reading:
        found = [self.model[0].drawn[_key((image * 255).round().to(torch.uint8))] for image in images]
        there, shape, colour, x, y = (
            torch.from_numpy(np.concatenate([getattr(scenes, name) for scenes in found]))
            for name in ("present", "shape", "colour", "x", "y")
        )
        whole = torch.ones(len(images))
        return Reading(whole > 0, whole, there.sum(1), there, there.float(), shape, colour, x.float(), y.float())


def subject_of(scenes: int = 50, name: str = "shapes", **settings: bool) -> Subject:
    """A `FactorModel` and what is known of it."""
    fit_ds, test_ds = (
        make_dataset(name, num_samples=n, split=s, image_size=32) for n, s in ((300, "train"), (scenes, "test"))
    )
    model = FactorModel(fit_ds, test_ds, **settings)
    fit, test = (run_model(model, dataset, batch_size=128) for dataset in (fit_ds, test_ds))
    return Subject(
        model=cast(Any, model),
        train_ds=fit_ds,
        test_ds=test_ds,
        fit=fit,
        test=test,
        network=cast(Any, ExactJudge(model)),
        network_report=None,
        device=torch.device("cpu"),
        progress=False,
    )


def _key(image: Tensor) -> bytes:
    return image.numpy().tobytes()
