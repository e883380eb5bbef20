"""Edits do to the picture what they say, with a model whose codes are the factors."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.toy_datasets import make_dataset
from src.editor import reference
from src.editor.scene import EditableScene
from src.editor.studio import BACKGROUND, EMPTY, MOST_UPLOAD, OBJECT, Studio, _difference, _roles, open_studio
from src.editor.texts import Refused

from ..evaluation.factor_model import COLOUR, SHAPE, SIZE, SPARE, FactorModel, X, Y
from .studios import exact_studio, tiny_model, tiny_studio


@pytest.fixture(scope="module")
def studio() -> Studio:
    return exact_studio()


def scene_of(studio: Studio, objects: int, skip: int = 0) -> EditableScene:
    """A scene of the test data with so many objects."""
    assert isinstance(studio.model, FactorModel) and studio.data is not None
    codes = studio.model.codes_of(studio.data)
    row = int(((codes[..., SIZE] > 0).sum(dim=1) == objects).nonzero()[skip])
    return EditableScene(tuple(tuple(slot) for slot in codes[row].tolist()), studio.model.codebook_size)


def test_roles_are_read_off_who_owns_which_pixels():
    owner = np.zeros((20, 20), np.uint8)
    owner[5:9, 5:9] = 2
    claims = np.bincount(owner.ravel(), minlength=4) / 400
    assert _roles(owner, claims) == (BACKGROUND, EMPTY, OBJECT, EMPTY)


def test_what_a_slot_changes_is_told_against_what_the_others_would_paint():
    masks = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1, 1).repeat(1, 1, 1, 1, 2)
    masks[0, :, 0, 0, 1] = torch.tensor([0.0, 1 - 1e-6, 1e-6])
    paint = torch.tensor([[0.0, 0.5], [0.3, 0.2], [0.9, 0.2]]).view(1, 3, 1, 1, 2).repeat(1, 1, 3, 1, 1)
    found = _difference(masks, paint)
    assert found.shape == (1, 3, 1, 2)
    assert found[0, :, 0, 0].tolist() == pytest.approx([0.5, 0.1875, 0.9 - 0.06 / 0.9], abs=1e-5)
    assert found[0, 1:, 0, 1].tolist() == pytest.approx([0, 0], abs=1e-6)  # the same paint: nobody would miss it


def test_blocks_are_known_by_name(studio):
    named = {block.factor: i for i, block in enumerate(studio.meanings) if block.nth == 1}
    assert named["shape"] == SHAPE and named["x"] == X and named["y"] == Y
    assert named["colour"] in (COLOUR, SPARE)  # which say the same


def test_a_view_tells_objects_from_the_rest(studio):
    scene = scene_of(studio, 2)
    (view,) = studio.look([scene.codes])
    assert sorted(view.roles) == [BACKGROUND, EMPTY, EMPTY, OBJECT, OBJECT]
    assert view.claims is not None and view.owner is not None
    for slot, role in enumerate(view.roles):
        owned = (view.owner == slot).mean()
        assert view.claims[slot] == pytest.approx(owned) if role == OBJECT else view.claims[slot] < owned / 10 + 1e-6
    assert view.parts is not None and view.parts.shape == (5, 32, 32, 4)


def test_a_removed_object_is_gone_and_the_others_stay(studio):
    scene = scene_of(studio, 3)
    (before,) = studio.look([scene.codes])
    slot = before.roles.index(OBJECT)
    after = studio.removed(scene, slot)
    (view,) = studio.look([after.codes])
    assert view.roles.count(OBJECT) == 2 and view.roles[slot] != OBJECT
    assert [n for n in range(5) if after.codes[n] != scene.codes[n]] == [slot]


def test_an_added_object_is_one_more(studio):
    scene = scene_of(studio, 2)
    after, slot = studio.added(scene, seed=3)
    before, view = studio.look([scene.codes, after.codes])
    assert before.roles[slot] == EMPTY and view.roles[slot] == OBJECT and view.roles.count(OBJECT) == 3
    assert studio.added(scene, seed=3) == (after, slot)


def test_a_full_scene_takes_no_more(studio):
    with pytest.raises(Refused) as error:
        studio.added(scene_of(studio, 4), seed=0)
    assert error.value.key == "full"


def test_a_thumbnail_shows_one_object_with_that_code(studio):
    assert studio.data is not None
    for colour, name in enumerate(studio.data.class_names["colour"]):
        picture = studio.thumbnails([(COLOUR, colour)])[COLOUR, colour].astype(int)
        pixels = picture.reshape(-1, 3)
        brightest = pixels[pixels.sum(axis=1).argmax()]
        assert (brightest > 128).tolist() == (studio.data.colour_values[colour] > 0.5).tolist(), name
    places = [np.nonzero(studio.thumbnails([(X, code)])[X, code].max(axis=2) > 128)[1].mean() for code in (3, 8, 12)]
    assert places == sorted(places) and places[0] < places[-1] - 5
    assert studio.thumbnails([(X, 3)])[X, 3] is studio.thumbnails([(X, 3)])[X, 3]  # painted once


def test_the_stage_is_bare_but_for_the_object(studio):
    codes, slot = studio.stage
    (view,) = studio.look([codes])
    assert OBJECT not in view.roles
    (view,) = studio.look([(*codes[:slot], studio.model_object, *codes[slot + 1 :])])
    assert view.roles.count(OBJECT) == 1


# ------------------------------------------------------------------ a real model, untrained


def png(size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 255 if mode == "L" else (255, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_becomes_codes_in_order():
    studio = tiny_studio()
    picture = studio.open_picture(png())
    assert picture.shape == (16, 16, 3) and (picture == [255, 0, 0]).all()
    codes = studio.read(picture)
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = studio.model.in_order(studio.model.encode(image))
    assert codes == tuple(tuple(slot) for slot in expected[0].tolist())


@pytest.mark.parametrize(
    ("data", "key", "said"),
    [
        (b"", "bad_picture", "not a picture"),
        (b"<svg onload=alert(1)>", "bad_picture", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run", "bad_picture", "not a picture"),
        (png()[:60], "bad_picture", ""),
        (png((4, 4)), "bad_picture", "at least 16"),
        (png((12000, 6000), "L"), "bad_picture", "make it smaller"),
        (b"\0" * (MOST_UPLOAD + 1), "too_large", "8 MB"),
    ],
)
def test_what_is_no_picture_gets_one_line(data, key, said):
    with pytest.raises(Refused) as error:
        tiny_studio().open_picture(data)
    line = error.value.line("en")
    assert error.value.key == key and said in line and "\n" not in line and "BytesIO" not in line


def test_the_prior_writes_scenes_and_keeps_what_it_is_given():
    studio = tiny_studio()
    scenes = studio.sample(3, 1.0, 4, seed=0)
    assert scenes == studio.sample(3, 1.0, 4, seed=0) and len(scenes) == 3
    kept = scenes[0][1]
    done = studio.complete([kept], 2, 1.0, None, seed=0)
    assert len(done) == 2 and all(kept in scene for scene in done)
    for wrong in ([], list(scenes[0])):
        with pytest.raises(Refused):
            studio.complete(wrong, 2, 1.0, None, seed=0)


def test_without_data_scenes_come_from_the_prior_and_without_both_nothing_is_written():
    studio = open_studio(tiny_model(), None, None)
    assert studio.random_picture(0) is None and len(studio.objects) > 0
    data = make_dataset("shapes", num_samples=8, split="train", image_size=16, max_shapes=3)
    studio = open_studio(tiny_model(prior=False), data, data)
    with pytest.raises(Refused):
        studio.sample(1, 1.0, None, 0)


def test_what_was_looked_up_is_kept_and_made_anew_where_it_is_damaged(tmp_path, monkeypatch):
    model, data = tiny_model(), make_dataset("shapes", num_samples=8, split="train", image_size=16, max_shapes=3)
    first = open_studio(model, data, data, cache_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(reference, "run_model", None)  # it is not asked again
        again = open_studio(model, data, data, cache_dir=tmp_path)
    assert (again.objects, again.blanks, again.stage) == (first.objects, first.blanks, first.stage)
    file.write_bytes(b"damaged")
    assert open_studio(model, data, data, cache_dir=tmp_path).objects == first.objects
