"""CLEVR's own layout: pictures by split, factors from the scenes file, no masks."""

from __future__ import annotations

import json

import pytest
import torch

from src.data.clevr_files import CLASS_NAMES, ClevrFiles

from .files import write_clevr


@pytest.fixture
def clevr(tmp_path):
    write_clevr(tmp_path / "CLEVR", {"train": 7, "val": 4, "test": 3})
    return tmp_path / "CLEVR"


def opened(clevr, split="train", **arguments) -> ClevrFiles:
    return ClevrFiles(clevr, split, 20, cache_dir=clevr.parent / "cache", **arguments)


def test_the_splits_are_clevrs_own(clevr):
    assert [len(opened(clevr, split)) for split in ("train", "val", "test")] == [7, 4, 3]
    assert opened(clevr).images.shape == (7, 3, 20, 20)
    assert not opened(clevr).has_instances and not opened(clevr).has_ground_truth


def test_factors_are_those_of_the_scenes_within_the_cut(clevr):
    dataset = opened(clevr, num_images=5)
    factors = dataset.factors
    assert set(factors) == {"present", *dataset.scored_factors}
    # centres at x = 7, 15, 23 of 30 pixels, of which 5 on either side are cut away
    expected = [
        [True, False, False],
        [True, True, False],
        [True, True, True],
        [True, False, False],
        [True, True, False],
    ]
    assert factors["present"].tolist() == expected
    torch.testing.assert_close(factors["x"][2], torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(factors["y"][2], torch.tensor([0.25, 0.3, 0.35]))
    names = [CLASS_NAMES[name][factors[name][1, 0]] for name in ("shape", "colour", "material", "size")]
    assert names == ["cylinder", "red", "metal", "large"]
    assert factors["shape"][0, 1] == -1 and factors["x"][0, 1].isnan()
    assert factors["colour"].dtype == torch.int64 and factors["y"].dtype == torch.float32


def test_an_object_whose_centre_is_cut_away_is_absent(clevr):
    path = clevr / "scenes" / "CLEVR_train_scenes.json"
    content = json.loads(path.read_text())
    content["scenes"][2]["objects"][0]["pixel_coords"] = [4.9, 10, 1]
    path.write_text(json.dumps(content))
    assert opened(clevr).factors["present"][2].tolist() == [False, True, True]


def test_the_test_split_has_no_factors(clevr):
    assert opened(clevr).has_factors and not opened(clevr, "test").has_factors
    with pytest.raises(AttributeError, match="clevr has no factors"):
        _ = opened(clevr, "test").factors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: "{", "damaged or no JSON"),
        (lambda content: "[]", "is no scenes file of CLEVR"),
        (lambda content: json.dumps({"scenes": content["scenes"][:3]}), "has no scene for CLEVR_train_000003.png"),
        (lambda content: json.dumps(content).replace("cube", "cone"), "object 0 of scene 0 cannot be read .*cone"),
        (
            lambda content: json.dumps(content).replace("pixel_coords", "at"),
            "object 0 .* cannot be read .*pixel_coords",
        ),
    ],
)
def test_a_scenes_file_that_cannot_be_used_is_one_line(clevr, change, said):
    path = clevr / "scenes" / "CLEVR_train_scenes.json"
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=said) as error:
        _ = opened(clevr).factors
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_folder_of_something_else(clevr):
    with pytest.raises(FileNotFoundError, match=r"has no folder images/train; give the folder of CLEVR"):
        opened(clevr / "images")
