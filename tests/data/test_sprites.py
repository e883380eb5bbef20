"""The frozen definition of the sprites: checksums, distributions, splits and subsets, exact ground truth."""

import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.catalogue import open_split
from src.data.odd_one_out import odd_one_out
from src.data.sprites import GAP, SUBSETS, SpritesDataset

# SHA-256 of the first 16 images (uint8, image_size 64, seed 0); frozen like those of the toys.
CHECKSUMS = {
    (4, "black", "train"): "8ccb05571bd51d1bc084051872a6ff9e6eab8d373475ad88259222ad60068bed",
    (4, "black", "val"): "0ec7f54cbec82a48256c20bd583aea3bd8b8af983bea2b79a2708dca006d5ee3",
    (4, "black", "test"): "d7d060c8cfd73b63ff64106a72140fef902bac148fa3d62bdc543807848aa2f8",
    (4, "textured", "train"): "32a5d84396e7874f6cda113c062050ebf7cdcf4c43ee87b5de674507240a5177",
    (4, "textured", "val"): "b6f2fe55a48fbc1c9880e872b0f6394a0eebf2d751a7d9571287cf900d09adea",
    (4, "textured", "test"): "f1447c2f03980be23be5e59b045eb4c4587489e5ce9a053a374f1b8563a88772",
    (3, "black", "train"): "ea8c15a8fbd7c32f7e634e6d44a06c59a6255468226b91104ca9549a840e646a",
    (3, "black", "val"): "23e89d1d398b13fa3a09b2121c9211d361be80c89d4995cc5493d13e522b7291",
    (3, "black", "test"): "73860f2a9dcf4a988f4c54449e7ad06b47c3619b465173b59008b7f37069907e",
    (3, "textured", "train"): "8e67ce2fb7ef821765b4d3427f8586e45ec75f0be20be6845a59bfbe1918378e",
    (3, "textured", "val"): "12efdc0aa2c7f426231cf8ce55d75f06d2145e58272b23246c0c7aec98f7cefc",
    (3, "textured", "test"): "8ac13a4aac52c2b3a982746020ee7d21ba57de80915fc9e87f6fb8527f6e953d",
}


@pytest.mark.parametrize(("objects", "background", "split"), CHECKSUMS)
def test_the_first_images_are_frozen(objects, background, split):
    images = SpritesDataset(16, max_shapes=objects, background=background, split=split).images
    expected = CHECKSUMS[objects, background, split]
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == expected
    assert expected in (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def _check_uniform(values: np.ndarray, choices: int) -> None:
    counts, share = np.bincount(values, minlength=choices), 1 / choices
    assert len(counts) == choices
    assert np.abs(counts - len(values) * share).max() < 4.5 * np.sqrt(len(values) * share * (1 - share))


@pytest.mark.parametrize("objects", [3, 4])
def test_every_scene_has_one_odd_object_anywhere_and_uniform_values(objects):
    factors = SpritesDataset(9000, max_shapes=objects, seed=1).factors
    assert factors["present"].all() and factors["present"].shape == (9000, objects)
    odd = odd_one_out(factors["shape"], factors["colour"], factors["present"])
    assert (odd >= 0).all()
    _check_uniform(odd.numpy(), objects)
    row = torch.arange(9000)
    _check_uniform(factors["shape"][row, odd].numpy(), 12)
    _check_uniform(factors["colour"][row, odd].numpy(), 7)
    size = factors["size"].numpy()
    assert size.min() >= 0.24 and size.max() <= 0.32
    _check_uniform(np.floor((size.flatten() - 0.24) / 0.08 * 6).astype(int).clip(0, 5), 6)


def test_how_often_the_odd_one_is_odd_in_what():
    factors = SpritesDataset(12_000, seed=3).factors
    row = torch.arange(12_000)
    odd = odd_one_out(factors["shape"], factors["colour"], factors["present"])
    alone = [(factors[key] == factors[key][row, odd][:, None]).sum(1) == 1 for key in ("shape", "colour")]
    both, shape, colour = 132 * 42, 132 * (7 + 126), 42 * (12 + 396)  # by hand, see test_odd_one_out.py
    for found, ways in ((alone[0] & alone[1], both), (alone[0] & ~alone[1], shape), (~alone[0] & alone[1], colour)):
        share = ways / (both + shape + colour)
        assert found.float().mean().item() == pytest.approx(share, abs=4.5 * (share * (1 - share) / 12_000) ** 0.5)


def test_boxes_lie_inside_the_image_and_apart():
    scenes = SpritesDataset(4000, seed=4).scenes
    for centre in (scenes.x, scenes.y):
        assert (centre - scenes.size / 2).min() >= 0 and (centre + scenes.size / 2).max() <= 1
    for i, j in combinations(range(4), 2):
        apart = np.maximum(*(np.abs(axis[:, i] - axis[:, j]) for axis in (scenes.x, scenes.y)))
        assert (apart - (scenes.size[:, i] + scenes.size[:, j]) / 2).min() >= GAP
    # No object prefers a place: first and last spread alike.
    assert scenes.x[:, 0].std() == pytest.approx(scenes.x[:, 3].std(), rel=0.05)


def test_masks_are_exactly_the_pixels_of_each_object():
    dataset = SpritesDataset(60, seed=5)
    truth = dataset.ground_truth_arrays()
    colour = dataset.colour_values[truth["colour"]]  # (B, S, 3)
    seen = truth["image"][:, None]
    strength = (seen * colour[..., None, None]).sum(2) / colour.sum(2)[..., None, None]  # of a pixel in that colour
    inside = torch.zeros_like(truth["masks"])
    centre = (torch.arange(64) + 0.5) / 64
    for k in range(4):
        x, y, half = (truth[key][:, k, None] for key in ("x", "y", "size"))
        across = (centre - x).abs() < half / 2 + 0.5 / 64
        down = (centre - y).abs() < half / 2 + 0.5 / 64
        inside[:, k] = down[:, :, None] & across[:, None, :]
    assert torch.equal(truth["masks"], inside & (strength > 0.5))
    assert truth["masks"].flatten(2).sum(2).min() > 60


def test_textures_lie_behind_the_same_objects():
    black, textured = (SpritesDataset(30, background=background) for background in ("black", "textured"))
    assert torch.equal(black.instances, textured.instances)
    behind = (black.images == 0).all(1) & (black.instances == 0)
    assert (textured.images.amax(1)[behind] <= 90).all() and textured.images.amax(1)[behind].float().mean() > 25
    solid = (black.images.amax(1) == 255) & ((black.images == 0) | (black.images == 255)).all(1)
    assert torch.equal(*(d.images.permute(0, 2, 3, 1)[solid] for d in (black, textured)))


def test_subsets_share_no_value_and_keep_the_numbers():
    shapes, colours = zip(*(SUBSETS[name] for name in ("in", "out")), strict=True)
    assert sorted(shapes[0] + shapes[1]) == list(range(12)) and (len(shapes[0]), len(shapes[1])) == (9, 3)
    assert sorted(colours[0] + colours[1]) == list(range(7)) and (len(colours[0]), len(colours[1])) == (4, 3)
    for name, (kinds, hues) in SUBSETS.items():
        dataset = SpritesDataset(1500, subset=name)
        factors = dataset.factors
        assert factors["shape"].unique().tolist() == list(kinds) and factors["colour"].unique().tolist() == list(hues)
        assert (odd_one_out(factors["shape"], factors["colour"], factors["present"]) >= 0).all()
        assert dataset.first(20).subset == dataset.of_split("test", 20).subset == name
        of_it = SpritesDataset(5, 32, 3, seed=4, background="textured").of_subset(name, "test", 20)
        assert (of_it.subset, of_it.split, len(of_it), of_it.ruled) == (name, "test", 20, True)
        assert (of_it.image_size, of_it.max_shapes, of_it.seed, of_it.background) == (32, 3, 4, "textured")
    assert dataset.shape_names[9:] == ("star", "ring", "arrow") and dataset.colour_names[6] == "white"


def test_without_the_rule_it_holds_by_chance_only():
    factors = SpritesDataset(6000, ruled=False).factors
    obeying = odd_one_out(factors["shape"], factors["colour"], factors["present"]) >= 0
    assert obeying.float().mean() == pytest.approx(160_944 / 84**4, abs=0.004)
    _check_uniform(factors["shape"].flatten().numpy(), 12)
    _check_uniform(factors["colour"].flatten().numpy(), 7)


def test_splits_seeds_and_subsets_never_meet():
    seen = [
        SpritesDataset(700, split=split, seed=seed, subset=subset).scenes.x[:, 0]
        for split in ("train", "val", "test")
        for seed in (0, 1)
        for subset in SUBSETS
    ]
    assert len(np.unique(np.concatenate(seen))) == 700 * len(seen)


@pytest.mark.parametrize("background", ["black", "textured"])
def test_image_i_is_its_own(background, monkeypatch):
    many = SpritesDataset(50, background=background)
    monkeypatch.setattr("src.data.rendering._CHUNK_BYTES", 1)
    monkeypatch.setattr(SpritesDataset, "scene_chunk", 7)
    assert torch.equal(SpritesDataset(20, background=background).images, many.images[:20])


def test_the_catalogue_opens_them(tmp_path):
    dataset = open_split("sprites", "val", num_images=3, max_shapes=3, background="textured", image_size=32)
    assert isinstance(dataset, SpritesDataset) and dataset.images.shape == (3, 3, 32, 32)
    assert dataset.has_ground_truth and dataset[0].shape == (3, 32, 32)
    assert dataset.visualize_samples(3, tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_shapes": 5}, "max_shapes=5 is out of range; use an integer from 3 to 4"),
        ({"background": "random"}, "background='random' is unknown; choose one of: black, textured"),
        ({"subset": "none"}, "subset='none' is unknown; choose one of: all, in, out"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SpritesDataset(1, **arguments)
