"""A folder or a glob of pictures as a data set."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from src.data.decoding import PictureError
from src.data.image_folder import ImageFolder, list_pictures, split_of

from .files import noise, write_pictures


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path / "in", 20)
    return tmp_path / "in"


def opened(folder, split="train", **arguments) -> ImageFolder:
    return ImageFolder(folder, split, 20, cache_dir=folder.parent / "cache", **arguments)


def test_pixels_and_splits(folder):
    parts = [opened(folder, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [14, 3, 3]
    assert [os.path.basename(part.files[0]) for part in parts] == [f"picture_{n:03d}.png" for n in (0, 14, 17)]
    images = torch.cat([part.images for part in parts])
    assert images.dtype == torch.uint8
    assert np.array_equal(images, np.stack([noise(n).transpose(2, 0, 1) for n in range(20)]))
    train = parts[0]
    assert torch.equal(train[3], train.images[3].float() / 255) and train[3].dtype == torch.float32
    assert torch.equal(train[-1], train[13]) and len(list(train)) == 14
    with pytest.raises(IndexError, match="index 14 is out of range for 14 samples"):
        train[14]
    assert not train.has_ground_truth and not train.skipped
    for name in ("instances", "factors"):
        with pytest.raises(AttributeError, match="folder has no"):
            getattr(train, name)


@given(st.integers(4, 3000))
def test_the_split_is_the_official_one(count):
    files = [f"{number:05d}" for number in range(count)]
    parts = [split_of(files, split, "x") for split in ("train", "val", "test")]
    assert [*parts[0], *parts[1], *parts[2]] == files and all(parts)
    assert len(parts[0]) == int(count * 0.7) and len(parts[0] + parts[1]) == int(count * 0.85)


def test_a_folder_means_its_pictures_at_any_depth_and_a_glob_what_it_matches(folder, monkeypatch):
    (folder / "deep").mkdir()
    os.rename(folder / "picture_005.png", folder / "deep" / "z.PNG")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    (folder / ".thumbnails" / "large").mkdir(parents=True)
    for hidden in (folder / ".thumbnails", folder / ".thumbnails" / "large"):
        (hidden / "x.png").write_text("no picture")
    assert len(list_pictures(str(folder))) == 20
    assert list_pictures(str(folder / "*_01?.png")) == [str(folder / f"picture_01{n}.png") for n in range(10)]
    assert len(list_pictures(str(folder / "**" / "*.PNG"))) == 1
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(list_pictures("~/in")) == 20
    bracketed = folder.parent / "[in]"
    os.rename(folder, bracketed)
    assert len(list_pictures(str(bracketed))) == 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_never_opened(folder):
    os.mkfifo(folder / "pipe.png")
    os.symlink("nowhere", folder / "zz.png")
    for where in (folder, folder / "*.png"):
        assert str(folder / "pipe.png") not in list_pictures(str(where))
    with pytest.raises(PictureError, match=r"zz.png: no such file"):
        opened(folder, "test").prepare()


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ("none", FileNotFoundError, "none does not exist, seen from"),
        ("in/*.jpg", FileNotFoundError, r"in/\*.jpg matches no file, seen from .*; give a folder or a glob"),
        ("empty", FileNotFoundError, "empty holds no pictures"),
        ("in/picture_001.png", ValueError, "picture_001.png is one file; give a folder of pictures, or a glob"),
        ("in/*_00[0-2].png", ValueError, "has 3 pictures, too few for a split of 70, 15 and 15 %; give at least 4"),
    ],
)
def test_nothing_to_open_is_one_clear_line(folder, where, error, said):
    (folder.parent / "empty").mkdir()
    with pytest.raises(error, match=said) as caught:
        ImageFolder(folder.parent / where)
    assert "\n" not in str(caught.value) and "data.path=" in str(caught.value)


def test_a_number_of_pictures(folder):
    assert len(opened(folder, num_images=5)) == 5 and len(opened(folder, num_images=5).images) == 5
    with pytest.raises(ValueError, match="15 train pictures were asked for but .* has 14; lower data.num_train"):
        opened(folder, num_images=15)
    with pytest.raises(ValueError, match="split='all' is unknown"):
        opened(folder, "all")


def test_bad_files_stop_unless_they_are_to_be_left_out(folder):
    for number in (2, 4):
        (folder / f"picture_{number:03d}.png").write_bytes(b"nothing")
    with pytest.raises(PictureError, match=r"picture_002.png: not a picture.* \(and 1 more\); mend or remove") as error:
        opened(folder).prepare()
    assert "data.skip_bad=true" in str(error.value) and "\n" not in str(error.value)
    rest = opened(folder, skip_bad=True)
    assert len(rest) == len(rest.images) == 12 and len(rest.skipped) == 2
    assert np.array_equal(rest.images[2], noise(3).transpose(2, 0, 1))
    assert len(opened(folder, "val", skip_bad=True)) == 3
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(PictureError, match="none of the 14 train pictures can be used: .*picture_000.png"):
        opened(folder, skip_bad=True).prepare()


def test_spawned_workers_map_the_file_themselves(folder):
    dataset = opened(folder).prepare()
    assert len(pickle.dumps(dataset)) < 5000  # no pixels
    loader = DataLoader(dataset, batch_size=7, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(torch.cat(list(loader)), dataset.images.float() / 255)


def test_a_view_of_the_first(folder):
    dataset = opened(folder)
    few = dataset.first(3)
    assert len(few) == 3 and torch.equal(few.images, dataset.images[:3]) and few.split == "train"
    assert dataset.first(99) is dataset
