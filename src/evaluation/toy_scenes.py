"""Other scenes of the same toy data set: another split, another number of them."""

from __future__ import annotations

from typing import Any

from ..data.toy_datasets import ToyDataset


def definition(dataset: ToyDataset) -> dict[str, Any]:
    """What defines the data but for split and number of scenes; raises TypeError for other kinds of data."""
    names = ("name", "image_size", "max_shapes", "seed", "background")
    try:
        return {name: getattr(dataset, name) for name in names}
    except AttributeError as error:
        raise TypeError(
            f"{type(dataset).__name__} cannot be evaluated: expected a toy data set with ground truth "
            "(ShapesDataset or MultiDspritesDataset)"
        ) from error


def of_split(dataset: ToyDataset, split: str, count: int) -> ToyDataset:
    """`count` scenes of the same definition, of the given split."""
    arguments = {key: value for key, value in definition(dataset).items() if key != "name"}
    return type(dataset)(num_samples=count, split=split, **arguments)


def first_scenes(dataset: ToyDataset, count: int) -> ToyDataset:
    """A data set of the first `count` scenes only (scene i never depends on how many there are)."""
    return dataset if len(dataset) <= count else of_split(dataset, dataset.split, count)
