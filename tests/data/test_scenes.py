"""The frozen definition of the scenes: keyed numbers, distributions, checksums, splits that never meet."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.scenes import _mix, _mix_int, sample_scenes
from src.data.toy_datasets import DATASETS, ShapesDataset, make_dataset

# SHA-256 of the first 16 images (uint8, image_size 64, max_shapes 4, seed 0). They are frozen: a change of
# one of them means that published numbers no longer describe this data.
CHECKSUMS = {
    ("shapes", "black", "train"): "91aa6fb8275985bcaad11cc6c248e80a09e8a655552f74d7855871ec71edde82",
    ("shapes", "black", "val"): "d18303bedb963dc5d1262551c0881c71a4aaaefe7e253062f9da19daa67c4d9c",
    ("shapes", "black", "test"): "b57766a48f38f267992ff8015959ed72feb28bb9fa973a306f7ebeede05de047",
    ("shapes", "random", "train"): "052c7be232bd814984a0d3ed72a1c63642e1b4030b7114186633a558f8ca3e22",
    ("shapes", "random", "val"): "c4f69732f23c24f5a86502903e837739beec6cb1de0fbaed8cbe2b4f1cfcb52b",
    ("shapes", "random", "test"): "25c00344d39bcef8a73476d485738f3181d64f97833647ab63afc5bf0fa943c4",
    ("multi_dsprites", "black", "train"): "bc29da799cb4b75e01e9f04c3c5cc2660fe8d61a8a67536050fab4d3a0b072d0",
    ("multi_dsprites", "black", "val"): "d149aff476e16f6d0cf6e20209ec2529949588e16449f482e1b144bb666994dd",
    ("multi_dsprites", "black", "test"): "dbd7aca39350a5d8fe39f9611892eeeb4aabe7b45379ea1655f6a81643a22fb3",
    ("multi_dsprites", "random", "train"): "33782c301ee288648ff884d1063d59abb3eb40190ca29e0cd53762fd69678cc9",
    ("multi_dsprites", "random", "val"): "e9b59b2e69b9b8532a684f62ec917b02b2cf14dbc6d30d30d0693d6171e2330f",
    ("multi_dsprites", "random", "test"): "8bd45b79a1df9d485f1dbc62109abaa1bb524cc080842d24c34309329bd5ec77",
}


@pytest.mark.parametrize(("name", "background", "split"), CHECKSUMS)
def test_the_first_images_are_frozen(name, background, split):
    images = make_dataset(name, num_samples=16, background=background, split=split).images
    expected = CHECKSUMS[name, background, split]
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == expected
    assert expected in (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_splitmix64_gives_the_published_numbers():
    gamma, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]  # of the seed 1234567
    states = [(1234567 + gamma * step) & mask for step in (1, 2, 3)]
    assert [_mix_int(state) for state in states] == published
    assert _mix(np.array(states, dtype=np.uint64)).tolist() == published


@pytest.mark.parametrize("name", DATASETS)
def test_image_i_does_not_depend_on_the_number_of_images(name):
    many = make_dataset(name, num_samples=1100, max_shapes=8)
    few = make_dataset(name, num_samples=20, max_shapes=8)
    assert torch.equal(many.images[:20], few.images)
    alone = sample_scenes(many.family, 0, "train", np.array([1050, 3]), 8)
    for key, value in vars(alone).items():
        if key != "background":  # zeroed for black
            np.testing.assert_array_equal(value, getattr(many.scenes, key)[[1050, 3]])


@pytest.mark.parametrize("name", DATASETS)
def test_splits_and_seeds_never_meet(name):
    seen: set[bytes] = set()
    total = 0
    for split, seed in [("train", 0), ("val", 0), ("test", 0), ("train", 1), ("val", 1), ("test", 1)]:
        scenes = make_dataset(name, num_samples=3000, split=split, seed=seed).scenes
        first_object = np.stack([scenes.size[:, 0], scenes.x[:, 0], scenes.y[:, 0]], 1)
        seen.update(row.tobytes() for row in first_object)
        total += 3000
    assert len(seen) == total


def _check_uniform(index: np.ndarray, choices: int) -> None:
    """Every choice within 4.5 standard deviations of its share."""
    counts = np.bincount(index, minlength=choices)
    share = 1 / choices
    assert len(counts) == choices
    assert np.abs(counts - len(index) * share).max() < 4.5 * math.sqrt(len(index) * share * (1 - share))


@pytest.mark.parametrize("name", DATASETS)
def test_counts_shapes_colours_and_sizes_are_uniform(name):
    dataset = make_dataset(name, num_samples=6000, seed=2)
    scenes, family = dataset.scenes, dataset.family
    present = scenes.present
    _check_uniform(present.sum(1) - 1, 4)
    assert (np.diff(present.astype(int), axis=1) <= 0).all()  # absent objects come last
    _check_uniform(scenes.shape[present], 3)
    _check_uniform(scenes.colour[present], 6)
    _check_uniform(scenes.shape[present] * 6 + scenes.colour[present], 18)
    share = (scenes.size[present] - family.min_size) / (family.max_size - family.min_size)
    _check_uniform(np.floor(share * 10).astype(int), 10)
    for centre, reach in (
        (scenes.x, 0.5),
        (scenes.y, np.array([s.half_height for s in family.shapes])[scenes.shape]),
    ):
        reach = reach * scenes.size
        place = ((centre - reach) / (1 - 2 * reach))[:, 0]  # the first object is never refused
        _check_uniform(np.floor(place * 10).astype(int), 10)


def test_sprite_rotations_are_uniform_up_to_symmetry_and_shapes_are_upright():
    sprites = make_dataset("multi_dsprites", num_samples=3000)
    scenes = sprites.scenes
    for number, symmetry in enumerate((4, 2, 1)):
        turn = scenes.rotation[scenes.shape == number] * symmetry / (2 * np.pi)
        assert turn.min() >= 0 and turn.max() < 1
        _check_uniform(np.floor(turn * 8).astype(int), 8)
    shapes = ShapesDataset(num_samples=50).factors
    assert (shapes["rotation"][shapes["present"]] == 0).all()


@pytest.mark.parametrize("name", DATASETS)
def test_objects_lie_inside_the_image_and_eight_of_them_fit(name):
    dataset = make_dataset(name, num_samples=1500, max_shapes=8)
    scenes = dataset.scenes
    present = scenes.present
    assert set(present.sum(1)) == set(range(1, 9))
    reach_y = scenes.size * np.array([s.half_height for s in dataset.family.shapes])[scenes.shape]
    for centre, reach in ((scenes.x, scenes.size / 2), (scenes.y, reach_y)):
        assert (centre - reach)[present].min() >= 0 and (centre + reach)[present].max() <= 1


def test_absent_objects_are_minus_one_or_nan():
    factors = ShapesDataset(num_samples=100).factors
    absent = ~factors["present"]
    assert absent.any()
    for key in ("shape", "colour"):
        assert factors[key].dtype == torch.int64
        assert (factors[key][absent] == -1).all() and (factors[key][~absent] >= 0).all()
    for key in ("size", "x", "y", "rotation"):
        assert factors[key].dtype == torch.float32
        assert torch.equal(factors[key].isnan(), absent)
