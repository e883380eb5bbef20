"""Layers compose to the data's own pictures, and every kind of fault is what its definition says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from src.data.sprites import SpritesDataset
from src.data.toy_datasets import make_dataset
from src.evaluation.malformed import (
    JUDGE_SIZE,
    KINDS,
    TOO_FEW,
    LayerPool,
    Layers,
    clean,
    degrade,
    gaussian_blur,
    malform,
    to_judge_size,
    visible_part,
)

DATA = [("shapes", "black"), ("shapes", "random"), ("multi_dsprites", "black"), ("multi_dsprites", "random")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=DATA, ids="-".join)
def pool(request) -> LayerPool:
    name, background = request.param
    return LayerPool(make_dataset(name, num_samples=96, background=background))


def full_scenes(pool: LayerPool) -> torch.Tensor:
    return torch.nonzero(pool.factors["present"].all(dim=1))[:, 0]


def exact(pool: LayerPool, index: torch.Tensor, background: torch.Tensor | None = None) -> Layers:
    """The scenes in the data's own colours, over `background` (P, 3) of all scenes, or over black."""
    background = torch.zeros(len(pool), 3) if background is None else background
    return pool.layers(index, pool.factors["colour"][index], background[index])


@pytest.mark.parametrize(("name", "background"), DATA)
def test_layers_compose_to_the_data_itself(name: str, background: str) -> None:
    dataset = make_dataset(name, num_samples=32, background=background)
    images = clean(exact(LayerPool(dataset), torch.arange(32), torch.from_numpy(dataset.scenes.background).float()))
    assert (images * 255 - dataset.images.float()).abs().max() <= 1.5  # two roundings to 1/255


def test_other_image_sizes_are_judged_in_64() -> None:
    dataset = make_dataset("shapes", num_samples=8, image_size=128)
    images = clean(exact(LayerPool(dataset), torch.arange(8)))
    assert images.shape == (8, 3, JUDGE_SIZE, JUDGE_SIZE)
    difference = (images - to_judge_size(dataset.images.float() / 255)).abs()
    assert difference.mean() < 1e-3 and difference.max() < 0.2  # only where edges of two objects meet


def test_new_colours_keep_the_placement(pool: LayerPool) -> None:
    index = torch.arange(32)
    drawn, own = pool.draw(index, generator()), exact(pool, index)
    assert torch.equal(drawn.colour >= 0, own.present) and torch.equal(drawn.shape, own.shape)
    mirrored = (drawn.x - own.x).abs().nan_to_num().amax(dim=1) > 1e-6
    assert 4 < mirrored.sum() < 28
    assert torch.equal(drawn.coverage[mirrored].flip(-1), own.coverage[mirrored])
    assert torch.equal(drawn.colours[drawn.present], pool.palette[drawn.colour[drawn.present]])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_images_that_differ_from_clean_ones(pool: LayerPool, kind: str) -> None:
    index = torch.arange(64)
    if kind == "too many":
        index = full_scenes(pool).repeat(8)[:64]
    layers, others = pool.draw(index, generator(1)), pool.draw(index.flip(0), generator(2))
    made = malform(kind, layers, others, generator(3))
    assert made.images.shape == (len(index), 3, JUDGE_SIZE, JUDGE_SIZE)
    assert made.images.min() >= 0 and made.images.max() <= 1 + 1e-6
    assert made.valid.float().mean() > 0.3
    change = (made.images - clean(layers)).abs().amax(dim=1).sum(dim=(1, 2))
    assert change[made.valid].min() > 3  # pixels
    assert (made.intact <= layers.present).all()
    again = malform(kind, layers, others, generator(3))
    assert torch.equal(made.images, again.images) and torch.equal(made.valid, again.valid)


def single(name: str = "shapes") -> LayerPool:
    return LayerPool(make_dataset(name, num_samples=200, max_shapes=1))


def test_a_cut_takes_30_to_70_percent_of_the_object() -> None:
    pool = single()
    layers = exact(pool, torch.arange(200))
    made = malform("cut", layers, layers, generator())
    before, after = (image.amax(dim=1).sum(dim=(1, 2)) for image in (clean(layers), made.images))
    left = (after / before)[made.valid]
    assert left.min() > 0.25 and left.max() < 0.75 and left.std() > 0.08
    assert not made.intact.any()
    assert torch.allclose(made.fault[:, 0], layers.x[:, 0])


def test_a_ghost_has_25_to_60_percent_of_its_intensity() -> None:
    pool = single("multi_dsprites")
    layers = exact(pool, torch.arange(200))
    peak = malform("ghost", layers, layers, generator()).images.amax(dim=(1, 2, 3))
    assert peak.min() >= 0.24 and peak.max() <= 0.61


def test_two_colours_are_both_there() -> None:
    pool = single()
    layers = exact(pool, torch.arange(200))
    made = malform("two-coloured", layers, layers, generator())
    first = layers.colours[:, 0, :, None, None]
    inside = layers.coverage[:, 0] > 0.99
    other = (made.images - first).abs().amax(dim=1) * inside  # 0: the first colour, 1: the second
    share = other.sum(dim=(1, 2)) / inside.sum(dim=(1, 2))
    assert share[made.valid].min() > 0.2 and share[made.valid].max() < 0.8


def test_empty_scenes_hold_nothing_to_see() -> None:
    pool = single()
    layers = exact(pool, torch.arange(200))
    images = malform("empty", layers, layers, generator()).images
    assert images.max() <= 0.13 and (images.amax(dim=(1, 2, 3)) == 0).sum() > 50


def test_too_few_lacks_one_or_two_whole_objects() -> None:
    pool = LayerPool(SpritesDataset(200, ruled=False))
    layers = pool.draw(torch.arange(200), generator(1))
    made = malform(TOO_FEW, layers, layers, generator(2))
    left = made.intact.sum(dim=1)
    assert made.valid.all() and 70 < (left == 3).sum() < 130 and ((left == 2) | (left == 3)).all()
    for k in range(4):
        seen = (made.images.amax(dim=1) * layers.coverage[:, k]).sum(dim=(1, 2)) > 30
        assert torch.equal(seen, made.intact[:, k])


@pytest.mark.parametrize("kind", [*KINDS, TOO_FEW])
def test_every_kind_on_textures(kind: str) -> None:
    dataset = SpritesDataset(64, background="textured", ruled=False)
    pool = LayerPool(dataset)
    assert pool.kinds == (*KINDS, TOO_FEW)
    exactly = clean(
        pool.layers(torch.arange(64), pool.factors["colour"], torch.from_numpy(dataset.backdrop(slice(64))))
    )
    assert (exactly * 255 - dataset.images.float()).abs().max() <= 1.5
    layers, others = pool.draw(torch.arange(64), generator(1)), pool.draw(torch.arange(64).flip(0), generator(2))
    assert layers.background.shape == (64, 3, JUDGE_SIZE, JUDGE_SIZE) and layers.background.max() <= 0.36
    washed = (
        layers.background.std(dim=(2, 3)).amax(dim=1) / pool.textures.float().div(255).std(dim=(2, 3)).amax(1).mean()
    )
    assert 0.3 < washed.mean() < 1  # some textures are faint, none is stronger
    made = malform(kind, layers, others, generator(3))
    assert made.valid.float().mean() > 0.3
    change = (made.images - clean(layers)).abs().amax(dim=1).sum(dim=(1, 2))
    assert change[made.valid].min() > 3


def test_too_many_shows_more_objects_than_allowed() -> None:
    pool = LayerPool(make_dataset("shapes", num_samples=64, max_shapes=2))
    index = full_scenes(pool)
    layers, others = exact(pool, index), exact(pool, index.roll(1))
    layers.colours[:] = torch.tensor([1.0, 0.0, 0.0])
    others.colours[:] = torch.tensor([0.0, 0.0, 1.0])
    made = malform("too many", layers, others, generator())
    blue = made.images[:, 2].sum(dim=(1, 2))[made.valid]
    red = made.images[:, 0].sum(dim=(1, 2))[made.valid]
    own = layers.coverage.sum(dim=(1, 2, 3))[made.valid]
    assert (blue > 40).all() and (red >= 0.45 * own).all()


def test_merged_objects_overlap_more_than_the_data_allows() -> None:
    pool = single()
    layers, others = exact(pool, torch.arange(200)), exact(pool, torch.arange(200).roll(1))
    made = malform("merged", layers, others, generator())
    area = layers.coverage.sum(dim=(1, 2, 3)), others.coverage.sum(dim=(1, 2, 3))
    union = made.images.amax(dim=1).clamp(max=1).sum(dim=(1, 2))
    shared = 1 - (union - torch.maximum(*area)) / torch.minimum(*area)
    assert shared[made.valid].min() > 0.1  # of the smaller object; blends, the mildest, overlap 30 % of one
    assert shared[made.valid].median() > 0.5


def test_clean_scenes_show_half_of_every_object(pool: LayerPool) -> None:
    layers = exact(pool, torch.arange(96))
    share = visible_part(layers.coverage).sum(dim=(2, 3)) / layers.coverage.sum(dim=(2, 3))
    assert share[layers.present].min() > 0.47  # at least half, but for edge pixels


def test_degradation_is_mild_and_leaves_some_alone() -> None:
    images = clean(exact(single(), torch.arange(200)))
    soft = degrade(images, generator())
    assert soft.min() >= 0 and soft.max() <= 1
    alone = (soft == images).flatten(1).all(dim=1).float().mean()
    assert 0.15 < alone < 0.35
    assert (soft - images).flatten(1).abs().mean(dim=1).max() < 0.07


def test_blur_equals_scipy_away_from_the_border() -> None:
    image = torch.rand(2, 3, 32, 32, generator=generator(), dtype=torch.float64)
    blurred = gaussian_blur(image, torch.tensor([0.0, 1.5], dtype=torch.float64))
    assert torch.equal(blurred[0], image[0])
    expected = np.stack([gaussian_filter(channel, 1.5, truncate=8) for channel in image[1].numpy()])
    assert np.allclose(blurred[1, :, 12:20, 12:20], expected[:, 12:20, 12:20], atol=1e-6)


def test_unknown_kind_lists_the_choices(pool: LayerPool) -> None:
    layers = exact(pool, torch.arange(4))
    with pytest.raises(ValueError, match="'melted'.*merged, cut"):
        malform("melted", layers, layers, generator())
