"""Scenes asked for: in words, by slots of a scene, by objects of a picture; and what cannot be asked for."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from src.configs.errors import ConfigError
from src.evaluation import code_reader
from src.models.code_model import CodeModel
from src.training import conditions
from src.training.build import make_model

from .test_sampling import generate, write
from .tiny import tiny_config


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch) -> None:
    monkeypatch.setattr(code_reader, "SCENES", 24)
    monkeypatch.setattr(conditions, "SCENES", 24)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    config = tiny_config()
    model = make_model(config.model)
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    return f"checkpoint={write(tmp_path_factory.mktemp('checkpoint') / 'model.pth', model, config=asdict(config))}"


@pytest.fixture
def ask(tmp_path: Path, checkpoint: str):
    def asking(*words: str) -> tuple[list[str], dict]:
        paths = generate(tmp_path, checkpoint, f"cache_dir={tmp_path / 'cache'}", *words)
        return [path.name for path in paths], json.loads(paths[-1].read_text())

    return asking


@pytest.fixture
def nothing_is_read(monkeypatch) -> None:
    """Reading codes takes a while: what can be refused before is."""
    monkeypatch.setattr(code_reader, "run_model", lambda *_, **__: pytest.fail("codes were read"))


def scene_file(tmp_path: Path, *scenes: list[list[int]]) -> str:
    path = tmp_path / "given.json"
    path.write_text(json.dumps({"codes": scenes}))
    return f"given={path}"


@pytest.mark.slow
def test_given_slots_stay_and_slots_are_in_order(tmp_path, checkpoint, ask) -> None:
    given = scene_file(tmp_path, [[1, 2], [3, 4], [5, 6]], [[7, 0], [3, 4], [0, 1]])
    files, content = ask(given, "scene=1", "keep=[2,1]", "precision=float32")
    assert files == ["slots.png", "images.png", "codes.json"]
    assert content["keep"] == [2, 1] and content["scene"] == 1
    assert content["given_codes"] == [[0, 1], [3, 4]]
    codes = torch.tensor(content["codes"])
    assert codes.shape == (5, 3, 2)
    for slot in content["given_codes"]:
        assert (codes == torch.tensor(slot)).all(-1).any(-1).all()
    model = CodeModel.from_checkpoint(checkpoint.removeprefix("checkpoint="))
    assert torch.equal(model.in_order(codes), codes)
    assert content["effective"] >= 1 and content["log_probability"] < 0
    files, content = ask(scene_file(tmp_path, [[1, 2]]))  # all that it has, of a scene that is not whole
    assert files == ["images.png", "codes.json"] and content["given_codes"] == [[1, 2]]


def test_slots_of_a_picture_stay(tmp_path, checkpoint, ask) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "picture.png")
    files, content = ask(f"image={tmp_path / 'picture.png'}", "keep=[0]", "precision=float32")
    assert files == ["slots.png", "images.png", "codes.json"]
    model = CodeModel.from_checkpoint(checkpoint.removeprefix("checkpoint="))
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert content["given_codes"] == [model.in_order(model.encode(red))[0, 0].tolist()]
    assert (torch.tensor(content["codes"]) == torch.tensor(content["given_codes"][0])).all(-1).any(-1).all()


def test_words_are_read_off_the_codes(tmp_path, checkpoint, ask, monkeypatch) -> None:
    class Names(code_reader.CodeReader):  # an untrained model's codes say nothing, so they are given a meaning
        def read(self, codes, *properties):
            return {name: torch.where(codes[:, 0] < 6, codes[:, 0] % 3, -1) for name in properties}

    monkeypatch.setattr(code_reader, "CodeReader", Names)
    files, content = ask("conditions=two green objects", "num_images=4")
    assert files == ["images.png", "codes.json"] and content["conditions"] == "two green objects"
    first = torch.tensor(content["codes"])[..., 0]
    assert (((first < 6) & (first % 3 == 1)).sum(dim=1) >= 2).all()
    assert [path.name.startswith("code_reader_") for path in (tmp_path / "cache").iterdir()] == [True]
    _, content = ask("conditions=a green object", scene_file(tmp_path, [[2, 3]]), "num_images=4")
    codes = torch.tensor(content["codes"])
    assert (codes == torch.tensor([2, 3])).all(-1).any(-1).all() and (codes[..., 0] % 3 == 1).any(-1).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["conditions=four circles"], "conditions='four circles' asks for 4 objects, .* scenes of this data have 3"),
        (["conditions=a pink circle"], "'pink' is not known here; known are numbers"),
        (["conditions=a red blue circle"], "asks for one object of colour red and blue; ask for two objects"),
        (["keep=[0]"], "says which slots stay, but not of what; give image=... or given=..."),
        (["scene=3"], "scene=3 says which scene of a file, but not of which; give given=..."),
        (["scene=3", "image=a.png"], "scene=3 says which scene of a file, but not of which"),
        (["given=missing.json"], "given=missing.json does not exist; give a file with"),
        (["image=missing.png"], "missing.png: no such file"),
        (["image=a.png", "given=a.json"], "do not go together; give one of them"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(ask, nothing_is_read, words, said) -> None:
    with pytest.raises(ConfigError, match=said):
        ask(*words)


@pytest.mark.parametrize(
    ("scenes", "words", "said"),
    [
        ([[[1, 2], [3, 4], [5, 6]]], [], r"has all 3 slots, which leaves none to write; say which stay.*slots\.png"),
        ([[[1, 2], [3, 4]]], ["keep=[2]"], r"keep=\[2\] must be different numbers from 0 to 1"),
        ([[[1, 2], [3, 4]]], ["keep=[0,0]"], "must be different numbers"),
        ([[[1, 2], [3, 4]]], ["keep=[]"], "must be different numbers"),
        ([[[1, 2]]], ["scene=1"], "scene=1 but given=.* has 1, counted from 0"),
        ([[[1, 8]]], [], "expected .* from 0 to 7"),
        ([[[1]]], [], r"had shape \(1, 1\); expected"),
        ([[[0.5, 1]]], [], "expected"),
        (["words"], [], "holds no scenes; expected"),
        ([[[1, 2], [3, 4]]], ["conditions=two circles"], "4 slots are asked for, but a scene of this model has 3"),
    ],
)
def test_scenes_that_cannot_be_given_are_one_line(tmp_path, ask, nothing_is_read, scenes, words, said) -> None:
    with pytest.raises(ConfigError, match=said):
        ask(scene_file(tmp_path, *scenes), *words)


def test_what_is_given_is_never_replaced(tmp_path, ask) -> None:
    ask()
    given = tmp_path / "out" / "codes.json"
    before = given.read_bytes()
    with pytest.raises(ConfigError, match=r"given=\S+ would be replaced by .* such as output=\S+out_kept$"):
        ask(f"given={given}", "keep=[0]")
    with pytest.raises(ConfigError, match=r"image=\S+ would be replaced by the new images.png"):
        ask(f"image={tmp_path / 'out' / 'images.png'}", "keep=[0]")
    assert given.read_bytes() == before
    files, _ = ask(f"given={given}", "keep=[0]", f"output={tmp_path / 'kept'}")
    assert files == ["slots.png", "images.png", "codes.json"] and given.read_bytes() == before


def test_what_the_prior_never_writes_is_one_line(ask, monkeypatch) -> None:
    never = lambda self, codes, *names: {name: torch.full((len(codes),), -1) for name in names}  # noqa: E731
    monkeypatch.setattr(code_reader.CodeReader, "read", never)
    with pytest.raises(ConfigError, match=r"none of \d+ scenes begun came .* \(1 × circle\): the prior gives it too"):
        ask("conditions=a circle")


def test_models_and_checkpoints_without_objects(tmp_path, checkpoint) -> None:
    model = make_model(tiny_config("model=vqvae", "model.vocab_size=8").model)
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    patches = f"checkpoint={write(tmp_path / 'patches.pth', model)}"
    with pytest.raises(ConfigError, match="holds a model of kind vqvae, whose codes are not those of objects"):
        generate(tmp_path, patches, "conditions=a circle")
    model = CodeModel.from_checkpoint(checkpoint.removeprefix("checkpoint="))
    with pytest.raises(ConfigError, match="does not say what data it was trained on"):
        generate(tmp_path, f"checkpoint={write(tmp_path / 'plain.pth', model)}", "conditions=a circle")
