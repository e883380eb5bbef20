"""Property comparison: two objects of a scene are marked, do they share the property that is asked for?

A task for representations, on any data set that knows its objects' classes. Which combinations of shape and hue are
*held out* is fixed, so that a model can be fitted to questions without them and tested on those with them.

Legend: B scenes, S objects a scene can hold, Q questions, P properties.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import SceneDataset

TONE, HUE = "tone", "hue"  # what a colour is asked by where its name has two words: "pale orange"


@dataclass(frozen=True)
class Questions:
    """Q questions about scenes of one data set.

    scene (Q,) int64 its row; first, second (Q,) int64 the two marked objects, first < second; asked (Q,) int64 the
    property, an index into `properties`; same (Q,) bool the answer; held_out (Q,) bool: at least one of the marked
    objects has a combination of shape and hue that is held out.
    """

    properties: tuple[str, ...]
    scene: Tensor
    first: Tensor
    second: Tensor
    asked: Tensor
    same: Tensor
    held_out: Tensor

    def __len__(self) -> int:
        return len(self.scene)

    def __getitem__(self, index: Tensor) -> Questions:
        fields = ("scene", "first", "second", "asked", "same", "held_out")
        return Questions(self.properties, **{name: getattr(self, name)[index] for name in fields})


def asked_properties(dataset: SceneDataset) -> dict[str, Tensor]:
    """The properties that can be asked for: of each object its class, (B, S) int64, -1 where absent.

    They are the classes that the data set scores and that take more than one value in it. A colour whose names are all
    of two words is asked by its tone and by its hue.
    """
    if not dataset.has_factors:
        return {}
    found: dict[str, Tensor] = {}
    for name in dataset.scored_factors:
        names = dataset.class_names.get(name)
        if names is None:
            continue
        labels = dataset.factors[name]
        words = [each.split() for each in names]
        if name == "colour" and all(len(each) == 2 for each in words):
            for part, title in enumerate((TONE, HUE)):
                kinds = list(dict.fromkeys(each[part] for each in words))
                table = torch.tensor([kinds.index(each[part]) for each in words] + [-1])  # the last one is absent
                found[title] = table[labels]
        else:
            found[name] = labels
    present = dataset.factors["present"]
    return {name: labels for name, labels in found.items() if len(labels[present].unique()) > 1}


def held_out_objects(properties: dict[str, Tensor]) -> Tensor:
    """Which objects have a combination that is held out, (B, S) bool: shape + hue (or colour) divisible by 3.

    Every shape and every hue also occurs in combinations that are not. Raises ValueError without shape, or without hue
    and colour.
    """
    hue = properties.get(HUE, properties.get("colour"))
    shape = properties.get("shape")
    if hue is None or shape is None:
        raise ValueError(
            f"the properties are {', '.join(properties) or 'none'}; held-out combinations need shape, and hue or colour"
        )
    return (shape >= 0) & ((shape + hue) % 3 == 0)


def make_questions(dataset: SceneDataset, held_out: bool, seed: int = 0) -> Questions:
    """Questions with or without held-out combinations: of each property, equally many that are to be answered yes and
    no, and equally many of all properties.

    Every pair of objects of a scene is a candidate for every property; of the candidates of each property and answer
    so many are drawn, without replacement, as the scarcest of them has.

    Args:
        dataset: with factors.
        held_out: whether the marked objects have (at least one of the two) or have not (neither) such combinations.
        seed: of the draw.

    Raises:
        ValueError: see `held_out_objects`.
    """
    properties = asked_properties(dataset)
    odd = held_out_objects(properties)
    present = dataset.factors["present"]
    first, second = torch.triu_indices(present.shape[1], present.shape[1], offset=1)
    # Every pair of every scene, (B, pairs), then those that are there and of the kind wanted.
    wanted = present[:, first] & present[:, second] & ((odd[:, first] | odd[:, second]) == held_out)
    scene, pair = torch.nonzero(wanted, as_tuple=True)
    first, second = first[pair], second[pair]
    same = torch.stack([labels[scene, first] == labels[scene, second] for labels in properties.values()])  # (P, pairs)
    count = int(torch.minimum(same.sum(dim=1), (~same).sum(dim=1)).min())
    generator = torch.Generator().manual_seed(seed)
    chosen, asked, answers = [], [], []
    for number, alike in enumerate(same):
        for answer in (True, False):
            candidates = torch.nonzero(alike == answer)[:, 0]
            chosen.append(candidates[torch.randperm(len(candidates), generator=generator)[:count]])
            asked.append(torch.full((count,), number))
            answers.append(torch.full((count,), answer))
    pairs = torch.cat(chosen)
    return Questions(
        tuple(properties),
        scene[pairs],
        first[pairs],
        second[pairs],
        torch.cat(asked),
        torch.cat(answers),
        torch.full((len(pairs),), held_out),
    )
