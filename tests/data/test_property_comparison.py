"""Questions about pairs of objects: what can be asked, what is held out, and how they are balanced."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.data.base import SceneDataset
from src.data.property_comparison import asked_properties, held_out_objects, make_questions
from src.data.toy_datasets import make_dataset


class Described(SceneDataset):
    """Scenes without pictures: shape, colour and material as given, (B, S) each, -1 where absent."""

    name, split, image_size, has_factors = "described", "test", 16, True
    scored_factors = ("colour", "shape", "material", "x")

    def __init__(self, shape: Tensor, colour: Tensor, material: Tensor, colours: tuple[str, ...]) -> None:
        self._factors = {"present": shape >= 0, "shape": shape, "colour": colour, "material": material}
        self.colours = colours

    @property
    def class_names(self):
        return {"shape": ("cube", "sphere", "cylinder"), "colour": self.colours, "material": ("rubber", "metal")}

    @property
    def images(self) -> Tensor:
        return torch.zeros(len(self), 3, 16, 16, dtype=torch.uint8)

    @property
    def factors(self) -> dict[str, Tensor]:
        return self._factors

    def __len__(self) -> int:
        return len(self._factors["shape"])


HARD = ("dark red", "pale red", "dark blue", "pale blue", "dark lime", "pale lime")


def random_scenes(count: int, colours: tuple[str, ...] = HARD) -> Described:
    generator = torch.Generator().manual_seed(0)

    def draw(values: int) -> Tensor:
        return torch.randint(values, (count, 3), generator=generator)

    absent = torch.zeros(count, 3, dtype=torch.bool)
    absent[::2, 2] = True  # every other scene has two objects
    shape, colour, material = (draw(n).masked_fill(absent, -1) for n in (3, len(colours), 2))
    return Described(shape, colour, material, colours)


def test_two_words_are_asked_for_one_by_one() -> None:
    scenes = Described(torch.tensor([[0, 1, -1]]), torch.tensor([[1, 2, -1]]), torch.tensor([[0, 0, -1]]), HARD)
    found = asked_properties(scenes)
    assert list(found) == ["tone", "hue", "shape"]  # material is the same everywhere, and x is no class
    assert found["tone"].tolist() == [[1, 0, -1]]  # pale, dark
    assert found["hue"].tolist() == [[0, 1, -1]]  # red, blue
    plain = random_scenes(50, ("red", "blue", "green"))
    assert list(asked_properties(plain)) == ["colour", "shape", "material"]


def test_what_is_held_out_by_hand() -> None:
    properties = {"shape": torch.tensor([[0, 1, 2], [1, 0, -1]]), "hue": torch.tensor([[0, 1, 1], [2, 2, -1]])}
    assert held_out_objects(properties).tolist() == [[True, False, True], [True, False, False]]
    with pytest.raises(ValueError, match="need shape, and hue or colour"):
        held_out_objects({"shape": torch.zeros(1, 2)})


@pytest.mark.parametrize("held_out", [False, True])
def test_questions_are_right_and_balanced(held_out: bool) -> None:
    scenes = random_scenes(600)
    properties = asked_properties(scenes)
    questions = make_questions(scenes, held_out, seed=1)
    assert questions.properties == ("tone", "hue", "shape", "material")
    assert (questions.first < questions.second).all() and len(questions) > 200
    odd = held_out_objects(properties)
    for row in range(len(questions)):
        scene, pair = questions.scene[row], torch.stack([questions.first[row], questions.second[row]])
        assert scenes.factors["present"][scene, pair].all()
        one, other = properties[questions.properties[questions.asked[row]]][scene, pair]
        assert (one == other) == questions.same[row]
        assert odd[scene, pair].any() == held_out
    cells = torch.bincount(2 * questions.asked + questions.same.long(), minlength=8)
    assert cells.unique().numel() == 1  # every property and answer equally often
    keys = torch.stack([questions.scene, questions.first, questions.second, questions.asked], 1)
    assert len(keys.unique(dim=0)) == len(questions)


def test_the_seed_decides_which_questions() -> None:
    scenes = random_scenes(300)
    first, again, other = (make_questions(scenes, False, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.scene, again.scene) and torch.equal(first.same, again.same)
    assert not torch.equal(first.scene, other.scene)


def test_both_kinds_together_are_all_pairs() -> None:
    scenes = random_scenes(300)
    properties = asked_properties(scenes)
    odd = held_out_objects(properties)
    seen = {
        held_out: {(int(s), int(a), int(b)) for s, a, b in zip(q.scene, q.first, q.second, strict=True)}
        for held_out in (False, True)
        for q in [make_questions(scenes, held_out)]
    }
    assert not seen[False] & seen[True]
    assert 0.2 < odd[scenes.factors["present"]].float().mean() < 0.5  # a third of the combinations


def test_scenes_of_one_object_give_no_questions() -> None:
    shape = torch.tensor([[0, -1], [1, -1], [2, -1]])
    scenes = Described(shape, shape.clone(), torch.tensor([[0, -1], [1, -1], [1, -1]]), ("red", "blue", "green"))
    assert len(make_questions(scenes, False)) == len(make_questions(scenes, True)) == 0


def test_a_toy_data_set_can_be_asked_too() -> None:
    questions = make_questions(make_dataset("shapes", num_samples=300), False)
    assert questions.properties == ("colour", "shape") and len(questions) > 50
