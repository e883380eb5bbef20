"""Reading codes that are the factors, codes that say nothing, and asking for objects by either."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from src.evaluation import code_reader
from src.evaluation.code_reader import CodeReader, fit_reader, slot_vectors
from src.evaluation.passes import Pass
from src.models.svq_model import SVQ

NAMES = {"colour": ("red", "green", "blue"), "shape": ("circle", "square")}
OF_SCENES = ("mse", "psnr", "ssim", "ari", "full_ari", "iou", "best_overlap")
OF_SCENES += ("ari_attention", "full_ari_attention", "iou_attention", "best_overlap_attention")
NOTHING = 7  # the code of slots without an object


@pytest.fixture(scope="module")
def model() -> SVQ:
    torch.manual_seed(0)
    return SVQ(image_size=16, num_slots=3, slot_size=24, num_codebooks=3, codebook_size=8, code_dim=8).eval()


def scenes(aligned: bool, count: int = 150, colours: int = 3) -> Pass:
    """Two objects a scene in slots 0 and 2. Aligned codes: block 0 is colour, 1 shape; block 2 is always random."""
    rng = np.random.default_rng(0)
    factors = {
        "colour": rng.integers(colours, size=2 * count),
        "shape": rng.integers(2, size=2 * count),
        "x": rng.random(2 * count).astype(np.float32),
    }
    codes = rng.integers(8, size=(2 * count, 3))
    if aligned:
        codes[:, 0], codes[:, 1] = factors["colour"], factors["shape"]
    whole = np.full((count, 3, 3), NOTHING)
    whole[..., 2] = rng.integers(8, size=(count, 3))
    whole[:, [0, 2]] = codes.reshape(count, 2, 3)
    nothing = torch.zeros(count)
    return Pass(
        codes=torch.from_numpy(whole),
        **dict.fromkeys(OF_SCENES, nothing),
        judged=None,
        vectors=np.zeros((2 * count, 24), np.float32),
        object_codes=codes,
        factors=factors,
        scene=np.arange(count).repeat(2),
        slot=np.tile([0, 2], count),
        number=np.tile([0, 1], count),
        objects=2 * count,
    )


@pytest.fixture(scope="module")
def reader(model) -> CodeReader:
    return fit_reader(model, scenes(aligned=True), NAMES, 2)


def test_codes_that_are_factors_are_read(reader) -> None:
    found = reader.read(torch.tensor([[2, 0, 3], [0, 1, 5], [NOTHING, NOTHING, 3]]))
    assert found["colour"].tolist() == [2, 0, -1] and found["shape"].tolist() == [0, 1, -1]
    assert set(found) == {"colour", "shape", "across"}  # without y there is no top
    assert set(reader.read(torch.tensor([[2, 0, 3]]), "shape")) == {"shape"}
    assert reader.most_objects == 2


def test_codes_that_say_nothing_are_read_by_chance(model) -> None:
    found = scenes(aligned=False, count=300)
    fit, held = slice(None, 300), slice(300, None)
    half = Pass(**{**vars(found), "codes": found.codes[:150], "factors": {k: v[fit] for k, v in found.factors.items()}})
    for name in ("object_codes", "scene", "slot", "number"):
        setattr(half, name, getattr(found, name)[fit])
    read = fit_reader(model, half, NAMES, 2).read(torch.from_numpy(found.object_codes[held]), "colour")["colour"]
    assert 0.2 < float((read.numpy() == found.factors["colour"][held]).mean()) < 0.47


def test_a_requirement_proposes_the_codes_that_carry_it_and_accepts_what_is_read_so(reader) -> None:
    blue_circle = reader.requirement({"colour": 2, "shape": 0})
    assert blue_circle.proposal.shape == (3, 8) and (blue_circle.proposal > 0).all()
    assert blue_circle.proposal[:2].argmax(dim=1).tolist() == [2, 0]
    assert blue_circle.proposal[0, 2] > 5 * blue_circle.proposal[0, :2].max()
    spread = blue_circle.proposal.amax(dim=1) / blue_circle.proposal.amin(dim=1)
    assert spread[2] < 3 < spread[0]  # the block that says nothing is left alone
    slots = torch.tensor([[2, 0, 4], [2, 1, 4], [1, 0, 4], [NOTHING, NOTHING, 4]])
    assert blue_circle.met_by(slots).tolist() == [True, False, False, False]
    assert reader.requirement({}).met_by(slots).tolist() == [True, True, True, False]
    assert (reader.requirement({}).proposal == 1).all()
    for wrong in ({"colour": 3}, {"size": 0}):
        with pytest.raises(ValueError, match="is not known; known are colour, shape, across"):
            reader.requirement(wrong)


def test_what_never_varies_is_not_read(model) -> None:
    assert "colour" not in fit_reader(model, scenes(aligned=True, colours=1), NAMES, 2).names
    constant = scenes(aligned=True, count=1, colours=1)
    constant.factors = {"colour": constant.factors["colour"] * 0}
    with pytest.raises(ValueError, match="2 matched objects have no property that varies"):
        fit_reader(model, constant, NAMES, 2)


def test_words_are_known_before_codes_are_read() -> None:
    from src.data.toy_datasets import make_dataset

    data = make_dataset("shapes", num_samples=40, image_size=16, max_shapes=3)
    names, most_objects = code_reader.what_data_shows(data)
    assert names == {**data.class_names, "across": ("left", "right"), "down": ("top", "bottom")} and most_objects == 3
    names, _ = code_reader.what_data_shows(make_dataset("shapes", num_samples=1, image_size=16, max_shapes=1))
    assert names == {}  # of one object nothing varies


def test_vectors_are_those_of_slots(model) -> None:
    codes = torch.randint(8, (4, 3), generator=torch.Generator().manual_seed(0))
    for n in range(4):
        assert torch.equal(slot_vectors(model, codes)[n], model.embed(codes[n].expand(1, 3, 3))[0, 0])


def test_a_reader_is_kept_and_a_damaged_file_made_anew(model, tmp_path, monkeypatch) -> None:
    from src.data.toy_datasets import make_dataset

    monkeypatch.setattr(code_reader, "SCENES", 40)
    data = make_dataset("shapes", num_samples=50, image_size=16, max_shapes=2)
    made = code_reader.code_reader(model, data, "key", tmp_path, progress=False)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(code_reader, "run_model", lambda *_, **__: pytest.fail("it was kept"))
    kept = code_reader.code_reader(model, data, "key", tmp_path, progress=False)
    codes = torch.randint(8, (50, 3))
    assert all(torch.equal(one, kept.read(codes)[name]) for name, one in made.read(codes).items())
    assert kept.names == made.names and kept.most_objects == made.most_objects == 2
    monkeypatch.undo()
    monkeypatch.setattr(code_reader, "SCENES", 40)
    path.write_bytes(path.read_bytes()[:100])
    code_reader.code_reader(model, data, "key", tmp_path, progress=False)
    assert path.stat().st_size > 1000


def test_the_key_is_that_of_weights_and_data(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    keys = [code_reader.key_of(tmp_path / name, {"seed": seed}) for name, seed in (("a", 0), ("b", 0), ("a", 1))]
    assert len(set(keys)) == 3 and keys[0] == code_reader.key_of(tmp_path / "a", {"seed": 0})


def test_the_key_of_a_folder_is_that_of_the_weights_in_it(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"1")
    assert code_reader.key_of(tmp_path, {}) == code_reader.key_of(tmp_path / "a", {})
