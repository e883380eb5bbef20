"""What every data set of scenes offers, whether it is drawn here or read from files. Legend: S objects a scene can
hold, H = W = image_size."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ..utils.progress import progress_bar

SPLITS = ("train", "val", "test")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> Any:
    """`value`, if it is one of the choices; else a ValueError that lists them."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; choose one of: {', '.join(choices)}")
    return value


class SceneDataset(Dataset, ABC):
    """The pictures of one split and, where there is ground truth, what they show.

    ``ds[i]`` is a float32 image (3, H, W) in [0, 1]. A subclass sets ``name``, ``split`` and ``image_size`` and gives
    ``__len__`` and ``images``; with ground truth also ``instances`` or ``factors``, and says so in ``has_instances``
    and ``has_factors``.
    """

    name: str
    split: str
    image_size: int
    has_instances: bool = False  # who owns each pixel is known
    has_factors: bool = False  # the objects' properties are known
    shares_cache: bool = False  # `prepare` leaves a file that the other processes of a machine read
    rule: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # (shape, colour, present) -> which scenes obey it
    scored_factors: tuple[str, ...] = ()  # those that scores look at, in the order of their tables

    @property
    def skipped(self) -> Sequence[str]:
        """One line for each scene that was left out, because its files cannot be used."""
        return ()

    @property
    def has_ground_truth(self) -> bool:
        """Whether objects can be found in the pictures and compared: both instances and factors are known."""
        return self.has_instances and self.has_factors

    @property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        """The names behind the numbers of each categorical factor; a factor that is not here is continuous."""
        return {}

    @property
    @abstractmethod
    def images(self) -> Tensor:
        """All pictures, uint8 (num, 3, H, W); in memory, or mapped from a file."""

    @property
    def instances(self) -> Tensor:
        """Owner of each pixel, uint8 (num, H, W): 0 background, k + 1 object k."""
        raise AttributeError(f"{self.name} has no instance masks")

    @property
    def factors(self) -> dict[str, Tensor]:
        """``present`` (num, S) bool, and of each object, (num, S): categorical factors int64, -1 where absent;
        continuous ones float32, nan where absent."""
        raise AttributeError(f"{self.name} has no factors")

    def first(self, count: int) -> SceneDataset:
        """The first `count` scenes; all of them where there are no more."""
        return self if len(self) <= count else FirstScenes(self, count)

    def prepare(self, show: bool = False) -> SceneDataset:
        """Draws or reads now what ``ds[i]`` needs, so that workers started later share it; returns the data set.

        Args:
            show: with a progress bar.
        """
        with progress_bar(f"{self.split} pictures", len(self), unit="image", enabled=show) as bar:
            _ = self.images
            bar.update(len(self))
        return self

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([self._row(index)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several samples at once; DataLoader fetches a batch through this."""
        return list(self.images[list(indices)].float() / 255)

    def _row(self, index: int) -> int:
        """The row of sample `index`, which may count from the end; raises TypeError or IndexError."""
        try:
            row = operator.index(index)
        except TypeError as error:
            raise TypeError(
                f"index {index!r} is not an integer; use ds[i], or ds.images for several at once"
            ) from error
        if not -len(self) <= row < len(self):
            raise IndexError(f"index {row} is out of range for {len(self)} samples")
        return row % len(self)


class FirstScenes(SceneDataset):
    """A view of the first `count` scenes of another data set."""

    def __init__(self, whole: SceneDataset, count: int) -> None:
        self.whole, self.count = whole, count
        self.name, self.split, self.image_size = whole.name, whole.split, whole.image_size
        self.has_instances, self.has_factors = whole.has_instances, whole.has_factors
        self.scored_factors, self.rule = whole.scored_factors, whole.rule

    @property
    def class_names(self) -> Mapping[str, tuple[str, ...]]:
        return self.whole.class_names

    @property
    def images(self) -> Tensor:
        return self.whole.images[: self.count]

    @property
    def instances(self) -> Tensor:
        return self.whole.instances[: self.count]

    @property
    def factors(self) -> dict[str, Tensor]:
        return {key: value[: self.count] for key, value in self.whole.factors.items()}

    def __len__(self) -> int:
        return self.count
