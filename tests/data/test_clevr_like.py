"""Rendered folders as a data set, and what is refused."""

from __future__ import annotations

import json
import pickle
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from src.data import shards
from src.data.catalogue import open_split
from src.data.clevr_like import ClevrLikeDataset, save_preview
from src.data.shards import MANIFEST, read_manifest

from .rendered import picture, write_rendered


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 10)
    write_rendered(tmp_path / "scenes")
    return tmp_path / "scenes"


def test_pictures_and_ground_truth_of_each_split(folder):
    for split, count in (("train", 24), ("val", 8), ("test", 8)):
        dataset = open_split("clevr_like", split, path=str(folder), image_size=16)
        assert len(dataset) == count and dataset.has_ground_truth
        assert np.array_equal(dataset.images, np.stack([picture(split, index, 16) for index in range(count)]))
        assert torch.equal(dataset[3], dataset.images[3].float() / 255)
        assert dataset.instances.shape == (count, 16, 16) and dataset.instances.dtype == torch.uint8
        factors = dataset.factors
        assert {value.shape for value in factors.values()} == {(count, 3)}
        present = factors["present"]
        assert torch.equal(dataset.instances.flatten(1).amax(1).long(), present.sum(1))
        for key, names in dataset.class_names.items():
            assert factors[key][present].min() >= 0 and factors[key].max() < len(names)
            assert torch.all(factors[key][~present] == -1)
        for key in ("x", "y", "depth", "rotation"):
            assert torch.equal(factors[key].isnan(), ~present)
    assert dataset.scored_factors == ("colour", "shape", "x", "y")


def test_hard_scenes_are_scored_on_material_and_size_too(tmp_path):
    write_rendered(tmp_path, variant="hard", train=2, others=1)
    dataset = ClevrLikeDataset(tmp_path, image_size=16)
    assert dataset.scored_factors == ("colour", "shape", "material", "size", "x", "y")
    assert len(dataset.class_names["colour"]) == 48


def test_the_first_scenes_only(folder):
    whole, few = (ClevrLikeDataset(folder, image_size=16, num_images=number) for number in (None, 12))
    assert len(few) == len(few.images) == 12 and torch.equal(few.images, whole.images[:12])
    assert torch.equal(few.factors["colour"], whole.factors["colour"][:12])
    assert len(whole.first(5).images) == 5 and whole.first(5).scored_factors == whole.scored_factors


def test_workers_get_the_pictures(folder):
    dataset = ClevrLikeDataset(folder, image_size=16)
    copied = pickle.loads(pickle.dumps(dataset))
    for path in folder.iterdir():
        path.unlink()
    loader = DataLoader(copied, batch_size=8, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(torch.cat(list(loader)), dataset.images.float() / 255)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            {"path": "nowhere"},
            FileNotFoundError,
            "nowhere has no manifest.json; make the folder with `python -m src.render variant=easy image_size=16 "
            "output=nowhere`, or give one",
        ),
        (
            {"path": "hard_ones"},
            FileNotFoundError,
            "`python -m src.render variant=hard image_size=16 output=hard_ones`",
        ),
        (
            {"image_size": 64},
            ValueError,
            "holds pictures of 16 pixels, not data.image_size=64; set data.image_size=16, or "
            "data.path=data/clevr_easy_64 and make it with `python -m src.render variant=easy image_size=64 "
            "output=data/clevr_easy_64`",
        ),
        ({"num_images": 25}, ValueError, "25 train scenes were asked for but .* has 24; lower data.num_train"),
        ({"split": "all"}, ValueError, "split='all' is unknown; choose one of: train, val, test"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_line(folder, arguments, error, said):
    with pytest.raises(error, match=said) as caught:
        ClevrLikeDataset(**{"path": folder, "image_size": 16, **arguments})
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_the_listed_one_is_refused(folder):
    shard = folder / "train-00001.npz"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"train-00001.npz is not the file that manifest.json lists .*; delete it"):
        ClevrLikeDataset(folder, image_size=16).prepare()
    shard.unlink()
    with pytest.raises(ValueError, match="train-00001.npz is missing, though manifest.json lists it; render it again"):
        ClevrLikeDataset(folder, image_size=16).prepare()
    assert len(ClevrLikeDataset(folder, image_size=16, num_images=10).images) == 10
    assert len(ClevrLikeDataset(folder, "val", image_size=16).images) == 8


def test_an_unfinished_folder_serves_the_scenes_it_has(folder):
    stored = json.loads((folder / MANIFEST).read_text())
    del stored["shards"]["train-00002.npz"]
    (folder / MANIFEST).write_text(json.dumps(stored))
    line = shlex.quote(f"output={folder}")
    line = f"python -m src.render variant=easy image_size=16 samples=1 seed=0 num_train=24 num_val=8 num_test=8 {line}"
    said = f"is unfinished: it has the first 20 of 24 train scenes; let `{line}` end, or set data.num_train=20"
    with pytest.raises(ValueError, match=re.escape(said) + "$"):
        ClevrLikeDataset(folder, image_size=16)
    assert len(ClevrLikeDataset(folder, image_size=16, num_images=20).images) == 20
    for name in ("train-00000.npz", "train-00001.npz"):
        del stored["shards"][name]
    (folder / MANIFEST).write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="it has the first 0 of 24 train scenes; let `.*` end$"):
        ClevrLikeDataset(folder, image_size=16)


def test_a_preview_shows_pictures_beside_their_objects(folder):
    path = save_preview(folder, 3)
    assert path == folder / "preview.png"
    with Image.open(path) as preview:
        shown = np.asarray(preview.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) > 500  # the pictures are noise


@pytest.mark.parametrize("content", ["", "[]", '{"source": {}}', "{"])
def test_a_damaged_manifest_is_one_clear_line(folder, content):
    (folder / MANIFEST).write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(folder / MANIFEST)) + " is no manifest of rendered scenes"):
        read_manifest(folder)


def test_scenes_of_another_definition_are_refused(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"definition": 1', '"definition": 2'))
    with pytest.raises(ValueError, match="definition 2 .*, this version reads 1 .*; render them again"):
        ClevrLikeDataset(folder, image_size=16)
