"""Pictures and masks against a second, brute-force renderer; exact colours; the visibility rule."""

import numpy as np
import pytest
import torch

from src.data.toy_datasets import DATASETS, make_dataset

from .independent import owners


@pytest.mark.parametrize("name", DATASETS)
def test_every_object_shows_at_least_half_of_its_area(name):
    dataset = make_dataset(name, num_samples=250, max_shapes=8, seed=5)
    fractions = []
    for i in range(len(dataset)):
        owner, area = owners(dataset, i, 256)
        fractions += [(owner == k + 1).sum() / points for k, points in area.items()]
    assert len(fractions) > 900
    assert min(fractions) >= 0.49  # one half, less what 256 x 256 points are wrong by
    assert np.mean(np.array(fractions) < 0.7) > 0.02  # and objects do hide each other


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("background", ["black", "random"])
def test_images_and_masks_match_a_supersampled_render(name, background):
    size, fine = 64, 8
    dataset = make_dataset(name, num_samples=20, max_shapes=5, seed=6, background=background)
    truth = dataset.ground_truth_arrays()
    for i in range(len(dataset)):
        owner, _ = owners(dataset, i, size * fine)
        colours = [dataset.scenes.background[i]]
        colours += [dataset.colour_values[c].numpy() for c in truth["colour"][i] if c >= 0]
        values = np.array(colours)[owner].reshape(size, fine, size, fine, 3).mean((1, 3))
        error = np.abs(values.transpose(2, 0, 1) - truth["image"][i].numpy())
        assert error.max() < 0.45  # corners are sharper in one than in the other
        assert error.mean() < 0.003  # rounding to 1 / 255 alone may make 0.002
        shares = np.stack([(owner == k).reshape(size, fine, size, fine).mean((1, 3)) for k in range(6)])
        clear = shares.max(0) > 0.75
        label = np.concatenate([[np.zeros((size, size), bool)], truth["masks"][i].numpy()]).argmax(0)
        agree = label == shares.argmax(0)
        assert agree[clear].mean() > 0.999
        assert agree.mean() > 0.98


@pytest.mark.parametrize("name", DATASETS)
def test_masks_are_disjoint_and_agree_with_the_colours(name):
    dataset = make_dataset(name, num_samples=200, max_shapes=6, seed=1)
    truth = dataset.ground_truth_arrays()
    masks = truth["masks"]
    assert masks.dtype == torch.bool and masks.shape == (200, 6, 64, 64)
    assert masks.sum(1).max() == 1
    assert torch.equal(masks.flatten(2).any(2), truth["present"])
    pixels = dataset.images
    for colour, value in enumerate(dataset.colour_values.mul(255).to(torch.uint8)):
        pure = (pixels == value[:, None, None]).all(1)
        of_colour = (masks & (truth["colour"] == colour)[..., None, None]).any(1)
        assert pure.any() and not (pure & ~of_colour).any()
        assert pure[of_colour].float().mean() > 0.75  # the rest are anti-aliased edges
    black = (pixels == 0).all(1)
    assert not (black & masks.any(1)).any()


def test_random_background_is_one_dark_colour_and_leaves_the_objects_alone():
    black = make_dataset("shapes", num_samples=300)
    dark = make_dataset("shapes", num_samples=300, background="random")
    assert torch.equal(black.instances, dark.instances)
    inside = (black.images.amax(1) == 255)[:, None].expand_as(black.images)
    assert torch.equal(black.images[inside], dark.images[inside])
    empty = (black.images.amax(1) == 0).flatten(1)
    for image, where in zip(dark.images.flatten(2), empty, strict=True):
        low, high = image[:, where].int().aminmax(dim=1)
        assert (high - low).max() <= 1  # a trace of an edge, too faint to show on black
    values = dark.scenes.background
    assert 0 <= values.min() < 0.01 and 0.34 < values.max() <= 0.35
    assert abs(values.mean() - 0.175) < 0.02


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("image_size", [16, 33, 128])
def test_scenes_do_not_depend_on_the_image_size(name, image_size):
    reference, other = (make_dataset(name, num_samples=40, image_size=size) for size in (64, image_size))
    for key, value in reference.factors.items():
        assert torch.equal(value.nan_to_num(-9), other.factors[key].nan_to_num(-9))
    assert other.images.shape == (40, 3, image_size, image_size)
    # the same pictures at another resolution: equal share of light
    light = [d.images.float().mean((2, 3)) / 255 for d in (reference, other)]
    assert (light[0] - light[1]).abs().max() < 0.01


def test_many_images_render_in_chunks_of_the_same_bytes(monkeypatch):
    whole = make_dataset("multi_dsprites", num_samples=30)
    monkeypatch.setattr("src.data.rendering._CHUNK_BYTES", 1)
    monkeypatch.setattr("src.data.toy_datasets.ToyDataset.scene_chunk", 7)
    pieces = make_dataset("multi_dsprites", num_samples=30)
    assert torch.equal(whole.images, pieces.images)
    assert torch.equal(whole.instances, pieces.instances)
