"""Pictures with masks and scenes beside them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.decoding import PictureError
from src.data.mask_decoding import read_mask
from src.data.sysbinder_files import SysBinderFiles

from .files import write_sysbinder


@pytest.fixture
def easy(tmp_path):
    write_sysbinder(tmp_path / "easy", 10)
    return tmp_path / "easy"


def opened(easy, split="train", image_size=32, **arguments) -> SysBinderFiles:
    return SysBinderFiles(easy, split, image_size, cache_dir=easy.parent / "cache", **arguments)


def test_pictures_masks_and_factors_belong_together(easy):
    dataset = opened(easy)
    assert dataset.has_ground_truth and len(dataset) == 7 and dataset.images.shape == (7, 3, 32, 32)
    factors, instances = dataset.factors, dataset.instances
    assert instances.dtype == torch.uint8 and set(instances.unique().tolist()) == {0, 1, 2}
    for scene in range(7):
        for k in range(2):
            rows, columns = torch.nonzero(instances[scene] == k + 1, as_tuple=True)
            assert ((columns.min() + columns.max() + 1) / 64).item() == pytest.approx(factors["x"][scene, k].item())
            assert ((rows.min() + rows.max() + 1) / 64).item() == pytest.approx(factors["y"][scene, k].item())
            grey = dataset.images[scene, 0][instances[scene] == k + 1].unique()
            names = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
            colour = dataset.class_names["colour"][factors["colour"][scene, k]]
            assert grey.tolist() == [40 + 25 * names.index(colour)]


def test_all_splits_number_classes_alike(easy):
    parts = [opened(easy, split) for split in ("train", "val", "test")]
    assert all(part.class_names == parts[0].class_names for part in parts)
    assert parts[0].class_names["shape"] == ("cube", "cylinder", "sphere")
    assert parts[0].scored_factors == ("colour", "shape", "material", "size", "x", "y")


def test_the_path_may_be_a_glob_and_the_size_another(easy):
    dataset = opened(easy / "images" / "CLEVR_new_??????.png".replace("/", ""), image_size=16)
    assert len(dataset) == 7 and dataset.instances.shape == (7, 16, 16)
    assert set(dataset.instances.unique().tolist()) == {0, 1, 2}


def test_factors_are_words_or_numbers(easy):
    for path in (easy / "scenes").iterdir():
        content = json.loads(path.read_text())
        for one in content["objects"]:
            one["size"] = 0.35
            del one["material"]
        path.write_text(json.dumps(content))
    dataset = opened(easy)
    assert dataset.scored_factors == ("colour", "shape", "size", "x", "y") and "size" not in dataset.class_names
    assert dataset.factors["size"].dtype == torch.float32 and (dataset.factors["size"] == np.float32(0.35)).all()


def test_masks_in_colour_in_grey_and_with_a_palette(tmp_path):
    owner = np.arange(9, dtype=np.uint8).reshape(3, 3) % 3
    colours = np.array([(9, 9, 9), (255, 0, 0), (0, 255, 0)], np.uint8)[owner]
    palette = Image.fromarray(owner)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    for image in (Image.fromarray(colours), Image.fromarray(owner), palette):
        image.save(tmp_path / "mask.png")
        assert np.array_equal(read_mask(str(tmp_path / "mask.png"), 3), owner)
        with pytest.raises(ValueError, match="does not show the 1 objects of the scene"):
            read_mask(str(tmp_path / "mask.png"), 1)
    Image.fromarray(colours).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="does not show the 4 objects"):
        read_mask(str(tmp_path / "mask.png"), 4)


def break_mask(path):
    path.write_bytes(path.read_bytes()[:50])


def forget_an_object(path):
    path.write_text(json.dumps({"objects": json.loads(path.read_text())["objects"][:1]}))


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("images/CLEVR_new_000001_mask.png", lambda path: path.unlink(), "_mask.png is missing"),
        ("images/CLEVR_new_000001_mask.png", break_mask, "_mask.png cannot be decoded"),
        (
            "images/CLEVR_new_000001_mask.png",
            lambda path: Image.new("L", (30, 30)).save(path),
            "its mask has another size, 30×30 pixels",
        ),
        ("scenes/CLEVR_new_000001.json", lambda path: path.unlink(), "CLEVR_new_000001.json is missing"),
        ("scenes/CLEVR_new_000001.json", lambda path: path.write_text("{"), "damaged or no JSON"),
        ("scenes/CLEVR_new_000001.json", lambda path: path.write_text("{}"), "has no list of objects"),
        ("scenes/CLEVR_new_000001.json", forget_an_object, "the 1 objects"),
    ],
)
def test_a_scene_that_lacks_something_is_named_or_left_out(easy, name, damage, said):
    damage(easy / name)
    with pytest.raises(PictureError, match=said) as error:
        opened(easy).prepare()
    assert "CLEVR_new_000001.png" in str(error.value) and "\n" not in str(error.value)
    rest = opened(easy, skip_bad=True)
    assert len(rest) == 6 and len(rest.factors["present"]) == len(rest.instances) == 6
    assert rest.scored_factors == ("colour", "shape", "material", "size", "x", "y")


def test_without_masks_another_data_set_is_named(easy):
    for path in (easy / "images").glob("*_mask.png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="has no masks .*; data=folder trains without them"):
        opened(easy)
