"""A small network that reads a picture: where are objects, of which shape and colour, and is the scene
well-formed.

It is the yardstick for generated scenes, so it never sees one: it learns from ground truth scenes and from
malformed ones made of them (`malformed.py`), and its own errors are measured on scenes of the test split
(`attribute_training.py`). Legend: B images, T detections an image at most, G = 16 cells along each side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .malformed import to_judge_size

GRID = 16  # cells along each side; a cell is 4 pixels at 64x64
EVIDENCE = 32
THRESHOLD = 0.5  # of the scene's probability to be clean, and of a detection's


@dataclass(frozen=True)
class Reading:
    """What the network sees in B images.

    well_formed (B,) bool: nothing malformed and min_shapes..max_shapes objects; clean_probability (B,): nothing
    malformed, by the scene alone; count (B,) int64 objects found. Detections, sorted by score: found (B, T)
    bool; score (B, T) in [0, 1]; shape, colour (B, T) int64, -1 where not found; x, y (B, T) centres as
    fractions of the image (x to the right, y down), nan where not found.
    """

    well_formed: Tensor
    clean_probability: Tensor
    count: Tensor
    found: Tensor
    score: Tensor
    shape: Tensor
    colour: Tensor
    x: Tensor
    y: Tensor


class AttributeNetwork(nn.Module):
    """Convolutions down to a 16x16 grid; per cell a centre, its offset, shape and colour; per scene one
    verdict.

    Args:
        max_shapes: most objects in a well-formed scene.
        shape_names, colour_names: the classes, in the order of the data set's indices.
        min_shapes: fewest objects in a well-formed scene.
    """

    def __init__(
        self, max_shapes: int, shape_names: Sequence[str], colour_names: Sequence[str], min_shapes: int = 1
    ) -> None:
        super().__init__()
        self.min_shapes, self.max_shapes = min_shapes, max_shapes
        self.shape_names, self.colour_names = tuple(shape_names), tuple(colour_names)
        # Channels of a cell: centre, fault, offset, shape, colour, and evidence for the scene's verdict.
        self.parts = (1, 1, 2, len(self.shape_names), len(self.colour_names), EVIDENCE)
        self.trunk = nn.Sequential(
            _block(3, 32, kernel=5, stride=2),
            _block(32, 64, kernel=3, stride=2),
            _block(64, 64),
            _block(64, 64),
            _block(64, 64),
            _block(64, 64),
        )
        self.cells = nn.Conv2d(64, sum(self.parts), 1)
        self.verdict = nn.Sequential(nn.Linear(2 * EVIDENCE + 2, 64), nn.ReLU(), nn.Linear(64, 1))
        assert self.cells.bias is not None
        nn.init.constant_(self.cells.bias[:2], -4.0)  # few cells hold a centre, or a fault

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Images (B, 3, 64, 64) in [0, 1] -> logits and offsets, float32.

        verdict (B,) that the scene is clean; per cell: centre (B, G, G) and fault (B, G, G), that a clean
        object's centre, or a malformed object, is here; offset (B, 2, G, G) of x and y from the cell's
        middle, in cells; shape (B, shapes, G, G); colour (B, colours, G, G).
        """
        cells = self.cells(self._trunk_features(images)).float().contiguous()
        centre, fault, offset, shape, colour, evidence = cells.split(self.parts, dim=1)
        pooled = [evidence.amax(dim=(2, 3)), evidence.mean(dim=(2, 3)), cells[:, :2].amax(dim=(2, 3))]
        verdict = self.verdict(torch.cat(pooled, dim=1))
        return verdict[:, 0].float(), centre[:, 0], fault[:, 0], offset, shape, colour

    def _trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk((images - 0.5).contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """What it knows of images, as given to `read`, before it decides: the mean (B, 64) of the trunk's features over
        the cells, float32."""
        return self._trunk_features(_as_judged(images)).float().mean(dim=(2, 3))

    @torch.inference_mode()
    def read(self, images: Tensor) -> Reading:
        """Judges images (B, 3, H, W), float in [0, 1], of any size (they are looked at in 64x64).

        The network must be in eval mode, as `attribute_network` returns it. Raises ValueError for another
        shape or type.
        """
        verdict, centre, _, offset, shape, colour = self(_as_judged(images))
        limit = self.max_shapes + 4
        peaks = centre.sigmoid()
        peaks = peaks * (peaks == F.max_pool2d(peaks[:, None], 3, stride=1, padding=1)[:, 0])
        score, cell = peaks.flatten(1).topk(limit, dim=1)
        found = score > THRESHOLD
        count, probability = found.sum(dim=1), verdict.sigmoid()

        def at(maps: Tensor) -> Tensor:  # (B, C, G, G) -> (B, C, T)
            return maps.flatten(2).gather(2, cell[:, None].expand(-1, maps.shape[1], -1))

        column, row = cell % GRID, cell // GRID
        dx, dy = at(offset).unbind(dim=1)
        return Reading(
            well_formed=(probability > THRESHOLD) & (count >= self.min_shapes) & (count <= self.max_shapes),
            clean_probability=probability,
            count=count,
            found=found,
            score=score,
            shape=torch.where(found, at(shape).argmax(dim=1), -1),
            colour=torch.where(found, at(colour).argmax(dim=1), -1),
            x=torch.where(found, (column + 0.5 + dx) / GRID, torch.nan),
            y=torch.where(found, (row + 0.5 + dy) / GRID, torch.nan),
        )


def read_images(network: AttributeNetwork, images: Tensor, batch_size: int = 256) -> Reading:
    """`network.read` in batches; uint8 images are divided by 255. The reading lies on the CPU."""
    parts = [network.read(batch) for batch in _batches(network, images, batch_size)]
    return Reading(**{f.name: torch.cat([getattr(part, f.name).cpu() for part in parts]) for f in fields(Reading)})


def features_of_images(network: AttributeNetwork, images: Tensor, batch_size: int = 256) -> Tensor:
    """`network.features` in batches, as `read_images`."""
    return torch.cat([network.features(batch).cpu() for batch in _batches(network, images, batch_size)])


def _batches(network: AttributeNetwork, images: Tensor, batch_size: int) -> Iterator[Tensor]:
    device = next(network.parameters()).device
    for batch in images.split(batch_size):
        batch = batch.to(device)
        yield batch.float() / 255 if batch.dtype == torch.uint8 else batch


def _as_judged(images: Tensor) -> Tensor:
    """Images (B, 3, H, W), float, at 64x64 and within [0, 1]; raises ValueError for another shape or type."""
    if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images had shape {tuple(images.shape)} and type {images.dtype} but expected floats (B, 3, H, W) in [0, 1]"
        )
    return to_judge_size(images.float()).clamp(0, 1)


def obeying(reading: Reading, rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Which scenes are well-formed and obey the data set's rule (`SceneDataset.rule`), as they were read; (B,) bool."""
    return reading.well_formed & rule(reading.shape, reading.colour, reading.found)


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
