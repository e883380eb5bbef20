"""What a user of the data sets and loaders relies on."""

import copy
import pickle
import struct

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.data.base import FirstScenes
from src.data.toy_datasets import (
    DATASETS,
    MultiDspritesDataset,
    ShapesDataset,
    get_data_loaders,
    make_dataset,
)


def test_the_shapes_snippet_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = ShapesDataset(num_samples=1000, image_size=64, max_shapes=4)
    dataset.visualize_samples(num_samples=5, save_path="samples.png")
    header = (tmp_path / "samples.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:])
    assert width > 1000 and height > 300


def test_the_loader_snippet_of_the_readme():
    train_loader, val_loader = get_data_loaders(
        dataset_name="shapes", batch_size=32, num_workers=0, num_samples=100, image_size=64, max_shapes=4
    )
    batches = list(train_loader)
    assert [batch.shape for batch in batches] == [(32, 3, 64, 64)] * 3
    data = next(iter(val_loader))
    assert data.shape == (10, 3, 64, 64) and data.dtype == torch.float32
    assert data.min() == 0 and data.max() == 1
    assert train_loader.dataset.split == "train" and val_loader.dataset.split == "val"


@pytest.mark.parametrize("name", DATASETS)
def test_samples_are_the_cached_images_in_any_order(name):
    dataset = make_dataset(name, num_samples=30)
    backwards = make_dataset(name, num_samples=30)
    for i in reversed(range(30)):
        image = backwards[i]
        assert image.shape == (3, 64, 64) and image.dtype == torch.float32
        assert torch.equal(image, dataset.images[i].float() / 255)
    assert dataset.images.dtype == torch.uint8 and dataset.images is dataset.images
    assert torch.equal(dataset[-1], dataset[29]) and torch.equal(dataset[np.int64(3)], dataset[3])
    assert torch.equal(torch.stack(dataset.__getitems__([4, 2])), torch.stack([dataset[4], dataset[2]]))
    with pytest.raises(IndexError, match="index 30 is out of range for 30 samples"):
        dataset[30]
    assert len(list(dataset)) == len(dataset) == 30


@pytest.mark.parametrize("index", [slice(None, 2), "a", 1.0, None, [1]])
def test_an_index_that_is_no_integer(index):
    dataset = ShapesDataset(num_samples=3)
    for act in (dataset.__getitem__, dataset.describe):
        with pytest.raises(
            TypeError, match="^index .* is not an integer; use ds.i., or ds.images for several at once$"
        ):
            act(index)


def test_describe_counts_as_indexing_does():
    dataset = ShapesDataset(num_samples=3)
    assert dataset.describe(-1) == dataset.describe(2)
    for index in (9, 3, -4):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 3 samples"):
            dataset.describe(index)


def test_ground_truth_is_the_same_from_the_flag_and_from_the_arrays():
    dataset = MultiDspritesDataset(num_samples=12, ground_truth=True, max_shapes=3, background="random")
    plain = MultiDspritesDataset(num_samples=12, max_shapes=3, background="random")
    arrays = plain.ground_truth_arrays()
    assert list(arrays) == ["image", "masks", "present", "shape", "colour", "size", "x", "y", "rotation"]
    batch = next(iter(DataLoader(dataset, batch_size=12)))
    assert batch.keys() == dataset[5].keys() == arrays.keys()
    for key, value in arrays.items():
        assert dataset[5][key].dtype == value.dtype and dataset[5][key].shape == value.shape[1:]
        torch.testing.assert_close(dataset[5][key], value[5], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(batch[key], value, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(arrays["image"][5], plain[5])


def test_names_and_colours():
    assert ShapesDataset.colour_names == ("red", "green", "blue", "yellow", "magenta", "cyan")
    dataset = ShapesDataset(num_samples=1)
    assert dataset.shape_names == ("circle", "square", "triangle")
    assert MultiDspritesDataset(num_samples=1).shape_names == ("square", "ellipse", "heart")
    assert dataset.colour_values.shape == (6, 3)
    assert dataset.colour_values[dataset.colour_names.index("yellow")].tolist() == [1, 1, 0]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_of_any_start_method_give_the_same_batches(method):
    if method not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} is not available on this platform")
    dataset = ShapesDataset(num_samples=24)
    loader = DataLoader(dataset, batch_size=8, num_workers=1, multiprocessing_context=method)
    assert torch.equal(torch.cat(list(loader)), ShapesDataset(num_samples=24).images.float() / 255)


def test_pickles_and_copies_carry_the_pictures():
    dataset = ShapesDataset(num_samples=5, ground_truth=True)
    for other in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert other.__dict__["_images"] is not None and other.__dict__["_instances"] is not None
        assert torch.equal(other[3]["masks"], dataset[3]["masks"])


def test_loaders_repeat_themselves_and_leave_the_global_generator_alone():
    def epochs(seed):
        train_loader, val_loader = get_data_loaders(num_samples=64, batch_size=16, seed=seed, image_size=16)
        return [torch.cat(list(loader)) for loader in (train_loader, train_loader, val_loader, val_loader)]

    state = torch.get_rng_state()
    first, again, other = epochs(0), epochs(0), epochs(1)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])  # shuffled anew each epoch
    assert torch.equal(first[2], first[3])
    assert not torch.equal(first[2], other[2])
    everything = make_dataset("shapes", num_samples=64, image_size=16).images.float() / 255
    order = [(everything == image).flatten(1).all(1).nonzero()[0, 0].item() for image in first[0]]
    assert sorted(order) == list(range(64))


def test_loaders_of_small_sets_and_with_workers():
    train_loader, val_loader = get_data_loaders("multi_dsprites", batch_size=32, num_samples=5, image_size=16)
    assert [len(batch) for batch in train_loader] == [5] and [len(batch) for batch in val_loader] == [1]
    train_loader, val_loader = get_data_loaders(num_samples=40, batch_size=8, num_workers=2, ground_truth=True)
    assert train_loader.persistent_workers and train_loader.drop_last and not val_loader.drop_last
    assert train_loader.dataset.__dict__["_images"] is not None  # rendered before any worker starts
    assert len(get_data_loaders(num_samples=40)[1].dataset) == 4


def test_sample_sheet_of_one_and_of_many(tmp_path):
    dataset = MultiDspritesDataset(num_samples=7, image_size=16, max_shapes=8)
    for number in (1, 7):
        path = dataset.visualize_samples(num_samples=number, save_path=tmp_path / "deep" / f"{number}.png")
        assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match="num_samples=8 is out of range; use an integer from 1 to 7"):
        dataset.visualize_samples(num_samples=8, save_path=tmp_path / "x.png")
    assert len(dataset.describe(0)) == dataset.factors["present"][0].sum()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_samples": 0}, ValueError, "num_samples=0 is out of range; use an integer of at least 1"),
        ({"num_samples": 2.5}, TypeError, "num_samples=2.5 is not an integer"),
        ({"num_samples": True}, TypeError, "num_samples=True is not an integer"),
        ({"image_size": 15}, ValueError, "image_size=15 is out of range; use an integer of at least 16"),
        ({"max_shapes": 0}, ValueError, "max_shapes=0 is out of range; use an integer from 1 to 8"),
        ({"max_shapes": 9}, ValueError, "max_shapes=9 is out of range; use an integer from 1 to 8"),
        ({"split": "valid"}, ValueError, "split='valid' is unknown; choose one of: train, val, test"),
        ({"background": None}, ValueError, "background=None is unknown; choose one of: black, random"),
        ({"seed": -1}, ValueError, "seed=-1 is out of range"),
        ({"seed": "0"}, TypeError, "seed='0' is not an integer"),
        ({"ground_truth": "no"}, TypeError, "ground_truth='no' is neither True nor False"),
    ],
)
def test_bad_arguments_get_one_clear_line(arguments, error, message):
    with pytest.raises(error) as caught:
        ShapesDataset(**arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bad_loader_arguments_get_one_clear_line():
    with pytest.raises(ValueError, match="'clevr' is unknown; choose one of: shapes, multi_dsprites"):
        make_dataset("clevr")
    with pytest.raises(ValueError, match="'clevr' is unknown; choose one of: shapes, multi_dsprites"):
        get_data_loaders("clevr")
    with pytest.raises(ValueError, match="batch_size=0 is out of range"):
        get_data_loaders(batch_size=0)
    with pytest.raises(ValueError, match="num_workers=-1 is out of range"):
        get_data_loaders(num_workers=-1)


def test_the_first_scenes_and_those_of_another_split_are_the_same_data():
    dataset = MultiDspritesDataset(num_samples=9, image_size=16, max_shapes=2, seed=3, background="random")
    few = dataset.first(4)
    assert len(few) == 4 and dataset.first(9) is dataset
    assert torch.equal(few.images, dataset.images[:4]) and torch.equal(few.instances, dataset.instances[:4])
    view = FirstScenes(dataset, 4)
    assert torch.equal(view.images, few.images) and torch.equal(view.instances, few.instances)
    assert all(torch.equal(value.nan_to_num(), few.factors[key].nan_to_num()) for key, value in view.factors.items())
    assert view.class_names == dataset.class_names and view.has_ground_truth and len(list(view)) == 4
    other = dataset.of_split("val", 5)
    again = MultiDspritesDataset(5, image_size=16, max_shapes=2, split="val", seed=3, background="random")
    assert torch.equal(other.images, again.images)
    told = MultiDspritesDataset(3, image_size=16, ground_truth=True)
    for some in (told.first(2), told.first(3), told.of_split("val", 1)):
        assert some[0].keys() == told[0].keys()


def test_factors_are_named_by_what_they_are():
    dataset = ShapesDataset(num_samples=2)
    assert dataset.class_names == {"shape": dataset.shape_names, "colour": dataset.colour_names}
    for name in dataset.scored_factors:
        assert dataset.factors[name].dtype == (torch.int64 if name in dataset.class_names else torch.float32)
