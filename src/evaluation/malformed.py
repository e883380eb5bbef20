"""Clean scenes as layers, and what can be wrong with a generated scene: the examples the attribute network
learns from.

Legend: B scenes, S objects, H = W = 64 (`JUDGE_SIZE`). A scene is kept as one coverage map per object, so
that a single object can be moved, cut, blurred or recoloured and everything is composed again with the data
set's own formula. All lengths in pixels are at 64x64. docs/evaluation.md holds the definition in words; it is
frozen, and was written before any model's samples were judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.rendering import paint
from ..data.scenes import BACKGROUND_MAX, Scenes
from ..data.toy_datasets import ToyDataset

JUDGE_SIZE = 64
KINDS = ("merged", "cut", "blurred", "two-coloured", "ghost", "deformed", "too many", "empty")
TOO_FEW = "too few"  # one kind more, of data whose scenes hold an exact number of objects
_RENDER_CHUNK = 1024
_DISTANCES = 12  # tried when one object is put onto another
_MATERIAL = 0.2  # a fault must change the picture by this share of the object's visible area


@dataclass
class Malformed:
    """B scenes with a fault.

    images (B, 3, H, W); valid (B,) bool: False where the fault did not come out as defined (hidden by another
    object, of the same colour, no room), such an image is no example; intact (B, S) bool: objects of the
    scene still there and clean; fault (B, 2): x, y of the malformed object as fractions of the image, nan
    where no single one is.
    """

    images: Tensor
    valid: Tensor
    intact: Tensor
    fault: Tensor


@dataclass
class Layers:
    """B scenes in drawing order. Absent objects have no coverage, labels -1 and factors nan.

    coverage (B, S, H, W) float32 in [0, 1], each object alone; colours (B, S, 3) and background (B, 3), or textured
    (B, 3, H, W), in [0, 1]; present (B, S) bool; shape, colour (B, S) int64; x, y, size (B, S) float32 fractions of the
    image, rotation radians; palette (colours, 3): the colours of the data set.
    """

    coverage: Tensor
    colours: Tensor
    background: Tensor
    present: Tensor
    shape: Tensor
    colour: Tensor
    x: Tensor
    y: Tensor
    size: Tensor
    rotation: Tensor
    palette: Tensor

    def __len__(self) -> int:
        return len(self.present)


def to_judge_size(images: Tensor) -> Tensor:
    """Images (B, C, H, W) at 64x64: bilinear, with anti-aliasing when they shrink."""
    if images.shape[-2:] == (JUDGE_SIZE, JUDGE_SIZE):
        return images
    size = (JUDGE_SIZE, JUDGE_SIZE)
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


class LayerPool:
    """Layers of a data set's scenes, rendered once at the data set's own image size, colours drawn anew at
    each use.

    In the data colours and backgrounds are independent of everything else, so drawing them again makes a few
    thousand placements many more scenes of the same distribution; mirroring left to right likewise.
    """

    def __init__(self, dataset: ToyDataset, device: torch.device | str = "cpu") -> None:
        scenes, size = dataset.scenes, dataset.image_size
        parts = []
        for start in range(0, len(scenes), _RENDER_CHUNK):
            part = scenes[slice(start, start + _RENDER_CHUNK)]
            alone = []
            for k in range(dataset.max_shapes):
                one = {key: value[:, k : k + 1] for key, value in vars(part).items() if key != "background"}
                single = Scenes(**one, background=part.background)
                ones, zeros = np.ones((len(part), 1, 1)), np.zeros((len(part), 1, 1, 1))
                alone.append(torch.from_numpy(paint(dataset.family, single, size, ones, zeros)))
            parts.append((to_judge_size(torch.cat(alone, dim=1)).clamp(0, 1) * 255).round().to(torch.uint8))
        self.coverage = torch.cat(parts).to(device)  # (P, S, H, W) uint8
        self.palette = dataset.colour_values.to(device)
        self.random_background = dataset.background == "random"
        self.textures: Tensor | None = None  # (P, 3, H, W) uint8
        if dataset.background == "textured":
            chunks = [dataset.backdrop(slice(k, k + _RENDER_CHUNK)) for k in range(0, len(scenes), _RENDER_CHUNK)]
            small = torch.cat([to_judge_size(torch.from_numpy(chunk)) for chunk in chunks])
            self.textures = (small.clamp(0, 1) * 255).round().to(torch.uint8).to(device)
        self.kinds = KINDS if dataset.min_shapes == 1 else (*KINDS, TOO_FEW)
        self.factors = {key: value.to(device) for key, value in dataset.factors.items()}

    def __len__(self) -> int:
        return len(self.coverage)

    def draw(self, index: Tensor, generator: torch.Generator) -> Layers:
        """The scenes with new colours and backgrounds, half of them mirrored."""
        device, (batch, objects) = self.coverage.device, self.factors["present"][index].shape
        colour = torch.randint(len(self.palette), (batch, objects), generator=generator, device=device)
        background = torch.rand(batch, 3, generator=generator, device=device) * BACKGROUND_MAX * self.random_background
        if self.textures is not None:
            background = self._texture(batch, generator)
        layers = self.layers(index, colour, background)
        mirror = torch.rand(batch, generator=generator, device=device) < 0.5
        layers.coverage[mirror] = layers.coverage[mirror].flip(-1)
        layers.x[mirror] = 1 - layers.x[mirror]
        layers.rotation[mirror] = -layers.rotation[mirror]
        return layers

    def _texture(self, batch: int, generator: torch.Generator) -> Tensor:
        """Textures of the data, half of them washed out by any share: a decoder's faint texture is no fault."""
        assert self.textures is not None
        device = self.textures.device
        which = torch.randint(len(self.textures), (batch,), generator=generator, device=device)
        texture = self.textures[which].float() / 255
        lost = torch.rand(2, batch, 1, 1, 1, generator=generator, device=device)
        return texture.lerp(texture.mean(dim=(2, 3), keepdim=True), lost[0] * (lost[1] < 0.5))

    def layers(self, index: Tensor, colour: Tensor, background: Tensor) -> Layers:
        """The scenes of `index` (B,) in other colours: `colour` (B, S) int64, `background` as in `Layers`."""
        factors = {key: self.factors[key][index].clone() for key in ("present", "shape", "x", "y", "size", "rotation")}
        colour = torch.where(factors["present"], colour, -1)
        return Layers(
            coverage=self.coverage[index].float() / 255,
            colours=self.palette[colour.clamp(min=0)],
            background=background,
            colour=colour,
            palette=self.palette,
            **factors,
        )


def compose(
    coverage: Tensor, colours: Tensor, background: Tensor, mix: tuple[Tensor, Tensor, Tensor] | None = None
) -> Tensor:
    """Objects painted in order over the background: images (B, 3, H, W).

    mix: (object (B,), map (B, H, W) in [0, 1], second colour (B, 3)) paints that object in both colours, by
    the map.
    """
    canvas = background if background.dim() == 4 else background[:, :, None, None].expand(-1, -1, *coverage.shape[-2:])
    for k in range(coverage.shape[1]):
        value = colours[:, k, :, None, None]
        if mix is not None:
            chosen, share, second = mix
            share = share[:, None] * (chosen == k)[:, None, None, None]
            value = value + share * (second[:, :, None, None] - value)
        canvas = canvas + coverage[:, k, None] * (value - canvas)
    return canvas


def visible_part(coverage: Tensor) -> Tensor:
    """Coverage left of each object after later ones hide it, (B, S, H, W)."""
    above = torch.ones_like(coverage[:, 0])
    visible = torch.empty_like(coverage)
    for k in reversed(range(coverage.shape[1])):
        visible[:, k] = coverage[:, k] * above
        above = above * (1 - coverage[:, k])
    return visible


def clean(layers: Layers) -> Tensor:
    """The scenes themselves, images (B, 3, H, W)."""
    return compose(layers.coverage, layers.colours, layers.background)


def malform(kind: str, layers: Layers, others: Layers, generator: torch.Generator) -> Malformed:
    """Scenes with one fault of the given kind.

    Args:
        kind: one of `KINDS`, or `TOO_FEW`.
        layers: clean scenes (B); for "too many" each with as many objects as a scene may have.
        others: B other clean scenes, from which further objects are taken.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in (*KINDS, TOO_FEW):
        raise ValueError(f"unknown kind of malformed scene {kind!r}; choose one of: {', '.join((*KINDS, TOO_FEW))}")
    random = _Random(generator, layers.coverage.device, len(layers))
    if kind == "merged":
        return _merged(layers, others, random)
    if kind == "too many":
        return _too_many(layers, others, random)
    if kind == TOO_FEW:
        return _too_few(layers, random)
    if kind == "empty":
        rest = random.uniform(0, 0.12) * (random.uniform(0, 1) < 0.5)  # half of them with a faint trace of objects
        images = compose(layers.coverage * _spread(rest), layers.colours, layers.background)
        everything = torch.ones(len(layers), dtype=torch.bool, device=images.device)
        return Malformed(images, everything, torch.zeros_like(layers.present), _nowhere(layers))
    return _one_object(kind, layers, random)


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mild softness that is no fault: each image is left alone (1 in 4) or gets, in this order,

    a Gaussian blur of sigma 0-0.8 px, contrast about mid grey and brightness changed by up to 8 %, and noise
    of standard deviation 0-0.02, white or in blocks of 4x4 px; clamped to [0, 1].
    """
    random = _Random(generator, images.device, len(images))
    touched = _spread(random.uniform(0, 1) < 0.75)
    result = gaussian_blur(images, random.uniform(0, 0.8))
    contrast, gain = random.uniform(0.92, 1.08), random.uniform(0.92, 1.08)
    result = ((result - 0.5) * _spread(contrast) + 0.5) * _spread(gain)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    coarse = noise[..., ::4, ::4].repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)
    noise = torch.where(_spread(random.uniform(0, 1) < 0.5), noise, coarse)
    result = (result + noise * _spread(random.uniform(0, 0.02))).clamp(0, 1)
    return torch.where(touched, result, images)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blurs images (B, C, H, W) with a sigma (B,) in pixels for each; 0 leaves an image as it is."""
    position = torch.arange(images.shape[-1], device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * ((position[:, None] - position) / sigma.clamp(min=1e-2)[:, None, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=-1, keepdim=True))[:, None]  # (B, 1, H, H), rows renormalised at the border
    return kernel @ images @ kernel.transpose(-1, -2)


class _Random:
    """Random numbers, one a scene."""

    def __init__(self, generator: torch.Generator, device: torch.device, batch: int) -> None:
        self.generator, self.device, self.batch = generator, device, batch

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.batch, generator=self.generator, device=self.device)

    def integer(self, high: int) -> Tensor:
        return torch.randint(high, (self.batch,), generator=self.generator, device=self.device)

    def one_of(self, mask: Tensor) -> Tensor:
        """Index (B,) of a random True in each row of (B, n)."""
        return (torch.rand(mask.shape, generator=self.generator, device=self.device) * mask).argmax(dim=1)

    def other_colour(self, colour: Tensor, palette: Tensor) -> Tensor:
        return palette[(colour + 1 + self.integer(len(palette) - 1)) % len(palette)]


def _one_object(kind: str, layers: Layers, random: _Random) -> Malformed:
    """One object that is cut, blurred (or, 1 in 4, the whole scene), two-coloured, ghostly or deformed."""
    coverage, rows = layers.coverage.clone(), torch.arange(len(layers), device=random.device)
    chosen = random.one_of(layers.present)
    own, seen = coverage[rows, chosen], visible_part(coverage)[rows, chosen]  # (B, H, W)
    fault = torch.stack([layers.x[rows, chosen], layers.y[rows, chosen]], dim=1)
    intact = _without(layers.present, chosen)
    mix = None
    if kind == "cut":
        # Never straight from below (20 degrees to either side): the top of an upright triangle is one again.
        angle = math.pi / 2 + random.uniform(math.radians(20), math.radians(340))
        coverage[rows, chosen] = own * (1 - _half_plane(seen, random.uniform(0.3, 0.7), angle, random.uniform(1, 1)))
    elif kind == "blurred":
        blurred = gaussian_blur(coverage, random.uniform(2, 4))
        whole = random.uniform(0, 1) < 0.25
        coverage[rows, chosen] = blurred[rows, chosen]
        coverage = torch.where(_spread(whole), blurred, coverage)
        intact, fault = intact & ~whole[:, None], torch.where(whole[:, None], torch.nan, fault)
    elif kind == "two-coloured":
        part = _half_plane(seen, random.uniform(0.3, 0.7), random.uniform(0, 2 * math.pi), random.uniform(1, 3))
        mix = (chosen, part, random.other_colour(layers.colour[rows, chosen], layers.palette))
    elif kind == "ghost":
        coverage[rows, chosen] = own * random.uniform(0.25, 0.6)[:, None, None]
    else:
        coverage[rows, chosen] = _deformed(own, layers, chosen, random)
    image = compose(coverage, layers.colours, layers.background, mix)
    change = (image - clean(layers)).abs().amax(dim=1).sum(dim=(1, 2))
    return Malformed(image, change >= _MATERIAL * seen.sum(dim=(1, 2)), intact, fault)


def _half_plane(seen: Tensor, share: Tensor, angle: Tensor, width: Tensor) -> Tensor:
    """(B, H, W): 1 on the side `angle` of a line that leaves `share` of the object's visible part there.

    width: pixels over which the edge goes from 0 to 1.
    """
    position = torch.arange(seen.shape[-1], device=seen.device, dtype=seen.dtype)
    along = angle.cos()[:, None, None] * position + angle.sin()[:, None, None] * position[:, None]  # pixels
    order = along.flatten(1).argsort(dim=1)
    mass = seen.flatten(1).gather(1, order).cumsum(dim=1)
    cut = (mass < (1 - share)[:, None] * mass[:, -1:]).sum(dim=1, keepdim=True).clamp(max=order.shape[1] - 1)
    edge = along.flatten(1).gather(1, order.gather(1, cut))[:, :, None]
    return (0.5 + (along - edge) / width[:, None, None]).clamp(0, 1)


def _deformed(own: Tensor, layers: Layers, chosen: Tensor, random: _Random) -> Tensor:
    """An object (B, H, W) stretched 1.6-2.2 to 1 along one of its own axes (area kept), or bent like a wave.

    Only its own axes: stretched along another one, an ellipse may become an ellipse of the data again.
    """
    rows = torch.arange(len(layers), device=random.device)
    x, y, size, turn = (getattr(layers, key)[rows, chosen] for key in ("x", "y", "size", "rotation"))
    turn = turn + random.integer(2) * (math.pi / 2)
    cos, sin = turn.cos()[:, None, None], -turn.sin()[:, None, None]  # y points down
    position = (torch.arange(own.shape[-1], device=own.device, dtype=own.dtype) + 0.5) / own.shape[-1]
    right, down = position - x[:, None, None], (position - y[:, None])[:, :, None]
    along, across = cos * right + sin * down, cos * down - sin * right  # fractions of the image
    root = random.uniform(1.6, 2.2).sqrt()[:, None, None]
    amplitude, period = random.uniform(0.15, 0.25) * size, random.uniform(0.7, 1.1) * size
    phase = random.uniform(0, 2 * math.pi)[:, None, None]
    wave = amplitude[:, None, None] * torch.sin(2 * math.pi * across / period[:, None, None] + phase)
    stretch = (random.uniform(0, 1) < 0.5)[:, None, None]
    along, across = (
        torch.where(stretch, along / root, along + wave),
        torch.where(stretch, across * root, across),
    )
    source_x, source_y = (
        x[:, None, None] + cos * along - sin * across,
        y[:, None, None] + sin * along + cos * across,
    )
    grid = torch.stack([source_x, source_y], dim=-1) * 2 - 1
    return F.grid_sample(own[:, None], grid, align_corners=False)[:, 0]


def _merged(layers: Layers, others: Layers, random: _Random) -> Malformed:
    """Two objects in one place: one hides more of the other than the data allows, or they fuse, or they
    blend.

    A scene of two objects or more loses one first, so that the number of objects tells nothing.
    """
    rows = torch.arange(len(layers), device=random.device)
    target = random.one_of(layers.present)
    rest = _without(layers.present, target)
    coverage = layers.coverage.clone()
    lost = random.one_of(rest)
    coverage[rows, lost] *= ~rest.any(dim=1)[:, None, None]
    under = coverage[rows, target]
    # Half of the intruders are those nearest in size: only alike objects can fuse into one blob.
    unlike = (others.size - layers.size[rows, target, None]).abs().nan_to_num(9.0)
    alike = random.uniform(0, 1) < 0.5
    intruder = torch.where(alike, unlike.argmin(dim=1), random.one_of(others.present))
    over, size = others.coverage[rows, intruder], others.size[rows, intruder]
    # Distances from almost none to touching, in a random direction; a random one of those that fit.
    reach = (layers.size[rows, target] + size) / 2
    fraction = torch.linspace(0.1, 0.9, _DISTANCES, device=random.device)
    angle = random.uniform(0, 2 * math.pi)
    place_x = layers.x[rows, target, None] + angle.cos()[:, None] * reach[:, None] * fraction  # (B, T)
    place_y = layers.y[rows, target, None] + angle.sin()[:, None] * reach[:, None] * fraction
    margin = (size / 2)[:, None]
    place_x, place_y = place_x.clamp(margin, 1 - margin), place_y.clamp(margin, 1 - margin)
    moved = _shift(over, place_x - others.x[rows, intruder, None], place_y - others.y[rows, intruder, None])
    shared = (moved * under[:, None]).sum(dim=(2, 3))
    left_under = 1 - shared / under.sum(dim=(1, 2))[:, None].clamp(min=1)  # visible share of the lower object
    left_over = 1 - shared / over.sum(dim=(1, 2))[:, None].clamp(min=1)  # and of the upper one, were it below
    hidden = (left_under > 0.08) & (left_under < 0.25)
    # Of one colour nobody sees which one lies on top: both orders must break the rule.
    fused = (torch.minimum(left_under, left_over) > 0.12) & (torch.maximum(left_under, left_over) < 0.3)
    ways = torch.stack([hidden, fused, left_under < 0.7], dim=1)  # (B, 3, T); the last one for blends
    # Ways that seldom fit are preferred where they do, so that all three become about as frequent.
    mode = random.one_of(ways.any(dim=2) * torch.tensor([2.0, 4.0, 1.0], device=random.device))[:, None]
    fits = ways[rows, mode[:, 0]]
    where = random.one_of(fits)
    opacity = torch.where(mode[:, 0] == 2, random.uniform(0.35, 0.65), 1.0)
    colour = layers.colour[rows, target]
    same = layers.palette[colour]
    over_colour = torch.where(mode == 1, same, random.other_colour(colour, layers.palette))
    together = torch.cat([coverage, (moved[rows, where] * opacity[:, None, None])[:, None]], dim=1)
    image = compose(together, torch.cat([layers.colours, over_colour[:, None]], dim=1), layers.background)
    # What lies below must still have been there to be seen, not under a third object.
    seen = visible_part(coverage)[rows, target].sum(dim=(1, 2)) > 0.8 * under.sum(dim=(1, 2))
    shown = visible_part(together)[:, :-1].sum(dim=(2, 3)) > 0.45 * coverage.sum(dim=(2, 3))
    fault = torch.stack([layers.x[rows, target], layers.y[rows, target]], dim=1)
    return Malformed(image, fits.any(dim=1) & seen, _without(rest, lost) & shown, fault)


def _too_many(layers: Layers, others: Layers, random: _Random) -> Malformed:
    """Full scenes plus one or two clean objects of others, every one of them at least half visible."""
    extra = others.coverage[:, :2].clone()
    two = random.uniform(0, 1) < 0.5
    if extra.shape[1] > 1:
        extra[:, 1] *= two[:, None, None]
    coverage = torch.cat([layers.coverage, extra], dim=1)
    image = compose(coverage, torch.cat([layers.colours, others.colours[:, :2]], dim=1), layers.background)
    visible, own = visible_part(coverage).sum(dim=(2, 3)), coverage.sum(dim=(2, 3))
    valid = (visible >= 0.5 * own).all(dim=1) & layers.present.all(dim=1)
    return Malformed(image, valid, layers.present, _nowhere(layers))


def _too_few(layers: Layers, random: _Random) -> Malformed:
    """Scenes without one of their objects, or without two."""
    rest = _without(layers.present, random.one_of(layers.present))
    fewer = _without(rest, random.one_of(rest))
    rest = torch.where((random.uniform(0, 1) < 0.5)[:, None], rest, fewer)
    image = compose(layers.coverage * rest[:, :, None, None], layers.colours, layers.background)
    return Malformed(image, rest.any(dim=1), rest, _nowhere(layers))


def _shift(maps: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Maps (B, H, W) moved by T offsets (B, T), fractions of the image, in whole pixels: (B, T, H, W)."""
    batch, size = maps.shape[0], maps.shape[-1]
    position = torch.arange(size, device=maps.device)
    rows = position - (down * size).round().long()[..., None]  # (B, T, H) where each row comes from
    columns = position - (right * size).round().long()[..., None]
    inside = ((rows >= 0) & (rows < size))[..., None] & ((columns >= 0) & (columns < size))[..., None, :]
    scene = torch.arange(batch, device=maps.device)[:, None, None, None]
    return maps[scene, rows.clamp(0, size - 1)[..., None], columns.clamp(0, size - 1)[..., None, :]] * inside


def _without(mask: Tensor, index: Tensor) -> Tensor:
    return mask & (torch.arange(mask.shape[1], device=mask.device) != index[:, None])


def _nowhere(layers: Layers) -> Tensor:
    return torch.full((len(layers), 2), torch.nan, device=layers.coverage.device)


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
