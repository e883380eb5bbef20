"""What a visitor does, and what the page then shows."""

from __future__ import annotations

import re

import pytest

from src.editor.fragments import board, proposals
from src.editor.scene import codes_to_json
from src.editor.session import Session
from src.editor.studio import OBJECT
from src.editor.texts import LANGUAGES, Refused

from .studios import exact_studio, tiny_studio


@pytest.fixture
def begun() -> Session:
    return Session().at_random(tiny_studio(), seed=1)


def test_the_page_opens_with_a_scene(begun):
    studio = tiny_studio()
    assert begun.scene is not None and begun.picture is not None and begun.said is not None
    assert begun.said.key == "did_random" and begun.scene.codes == studio.read(begun.picture)
    assert Session().at_random(studio, seed=1).scene == begun.scene


def test_a_code_is_chosen_undone_and_said(begun):
    studio = tiny_studio()
    old = begun.scene.codes[1][0]
    changed = begun.act(studio, ["code", 1, 0, (old + 1) % 8])
    assert changed.scene.codes[1][0] == (old + 1) % 8 and changed.selected == (1, 0)
    assert changed.said.key == "did_code"
    assert changed.act(studio, ["undo"]).scene.codes == begun.scene.codes


def test_a_swap_a_removal_and_a_new_object_are_said_by_name():
    studio = exact_studio()
    assert studio.data is not None
    codes = studio.model.codes_of(studio.data)[3]
    session = Session().from_codes(studio, codes_to_json(tuple(map(tuple, codes.tolist()))).encode())
    (view,) = studio.look([session.scene.codes])
    first, second = [n for n, role in enumerate(view.roles) if role == OBJECT][:2]
    swapped = session.act(studio, ["swap", 0, first, second])
    assert swapped.said.line("en").startswith("Object 1 and Object 2 have swapped colour")
    removed = swapped.act(studio, ["remove", first])
    assert removed.said.line("ko") == "뺐습니다: 객체 1"
    added = removed.act(studio, ["add"], seed=5)
    assert added.said.key == "did_add" and len(added.scene.past) == 3


def test_kept_objects_stay_in_what_the_prior_writes(begun):
    studio = tiny_studio()
    kept = begun.act(studio, ["keep", 1])
    assert kept.kept == {1} and kept.act(studio, ["keep", 1]).kept == frozenset()
    offered = kept.propose(studio, True, 1.0, 0, seed=0)
    assert all(kept.scene.codes[1] in scene for scene in offered.proposals)
    taken = offered.act(studio, ["take", 1])
    assert taken.scene.codes == offered.proposals[1] and taken.scene.before == begun.scene.codes


def test_a_scene_is_taken_before_there_is_any():
    studio = tiny_studio()
    offered = Session().propose(studio, False, 0.5, 3, seed=0)
    assert offered.act(studio, ["take", 0]).scene.codes == offered.proposals[0]


@pytest.mark.parametrize(
    "action",
    [
        *(None, 3, "undo", [], [None], ["nothing"], ["code"], ["code", 1, 2], ["undo", 1], ["code", "1", 0, 0]),
        *(["code", 1.0, 0, 0], ["code", True, 0, 0], ["code", 1, 0, 8], ["code", 3, 0, 0], ["select", 0, 2]),
        *(["swap", 0, 0, 9], ["remove", -1], ["keep", 99], ["take", 0], ["take", -1], {"do": 1}, [["undo"]]),
        *(["__class__"], ["act", 1], ["code", 10**30, 0, 0], ["refused"], ["propose"]),
    ],
)
def test_what_is_no_action_gets_one_line(begun, action):
    with pytest.raises(Refused) as error:
        begun.act(tiny_studio(), action)
    refused = begun.refused(error.value)
    assert refused.scene is begun.scene and refused.said.is_error
    for language in LANGUAGES:
        assert refused.said.line(language)
        assert 'class="said error"' in board(refused, tiny_studio(), language)


@pytest.mark.parametrize(
    ("temperature", "top_k"),
    [
        (0, 0),
        (3, 0),
        ("1", 0),
        (None, 0),
        (float("nan"), 0),
        (1.0, -1),
        (1.0, 9),
        (1.0, 0.5),
        (1.0, "2"),
        (1.0, None),
        (1.0, float("nan")),
        (1.0, float("inf")),
    ],
)
def test_numbers_out_of_range_get_one_line(begun, temperature, top_k):
    with pytest.raises(Refused):
        begun.propose(tiny_studio(), False, temperature, top_k, seed=0)


def test_before_there_is_a_scene_edits_are_refused():
    for action in (["undo"], ["add"], ["code", 0, 0, 0]):
        with pytest.raises(Refused) as error:
            Session().act(tiny_studio(), action)
        assert error.value.key == "no_scene"


# ------------------------------------------------------------------ what is shown


def test_arrow_keys_go_through_the_table_the_codes_and_the_scenes(begun):
    studio = tiny_studio()
    offered = begun.act(studio, ["select", 0, 0]).propose(studio, False, 1.0, 0, seed=0)
    html = board(offered, studio, "en") + proposals(offered, studio, "en")
    groups = re.findall(r"<(?:table|div class=\"(\w+)\") data-arrows", html)
    assert groups == ["", "symbols", "proposals"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_button_is_labelled_and_every_picture_described(begun, language):
    studio = tiny_studio()
    offered = begun.propose(studio, False, 1.0, 0, seed=0)
    html = board(offered, studio, language) + proposals(offered, studio, language)
    buttons = re.findall(r"<button[^>]*>", html)
    assert len(buttons) > 20 and all(re.search(r'aria-label="[^"]+"', button) for button in buttons)
    assert all(" alt=" in picture for picture in re.findall(r"<img[^>]*>", html))
    assert "{" not in re.sub(r'(href|src)="data:[^"]*"', "", html)


def test_pictures_and_files_are_in_the_page_itself(begun):
    html = board(begun, tiny_studio(), "en")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources and all(re.match(r"data:(image/png|application/json);base64,", source) for source in sources)
    assert 'download="scene.png"' in html and 'download="codes.json"' in html


def test_the_codes_that_are_saved_are_loaded_back(begun):
    studio = tiny_studio()
    changed = begun.act(studio, ["code", 0, 1, 5])
    again = Session().from_codes(studio, codes_to_json(changed.scene.codes).encode())
    assert again.scene.codes == changed.scene.codes and again.picture is None


def test_the_chosen_cell_and_code_are_marked(begun):
    studio = tiny_studio()
    chosen = begun.act(studio, ["select", 2, 1])
    html = board(chosen, studio, "en")
    pressed = re.findall(r'data-do="([^"]*)"[^>]*aria-pressed="true"', html)
    code = chosen.scene.codes[2][1]
    assert [one.replace("&quot;", '"') for one in pressed] == ['["select",2,1]', f'["code",2,1,{code}]']
