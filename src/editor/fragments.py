"""The parts of the page that show a scene, as HTML with its pictures inside: nothing is written to a file.

What is clickable has `data-do`, an action of `Session.act`; page.js sends it. Texts come from texts.py, words of data
sets and numbers only, so nothing of a visitor's own gets into the HTML; all of it is escaped anyway.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..utils.visualization import slot_colours
from .scene import codes_to_json
from .session import Session, block_name, slot_names
from .studio import EMPTY, OBJECT, Studio, View
from .texts import say, word

SAVED = 512  # pixels, side of a picture that is saved


def board(session: Session, studio: Studio, language: str) -> str:
    """The scene and its codes: what was said, pictures, table, palette."""
    said = session.said
    kind = "error" if said is not None and said.is_error else "note"
    line = "" if said is None else escape(said.line(language))
    status = f'<p class="said {kind}" role="status" aria-live="polite">{line}</p>'
    if session.scene is None:
        return status
    before, now = studio.look([session.scene.before, session.scene.codes])
    return "".join(
        (
            status,
            _pictures(session, before, now, language),
            '<div class="codes">',
            _table(session, studio, now, language),
            _palette(session, studio, now, language),
            "</div>",
        )
    )


def proposals(session: Session, studio: Studio, language: str) -> str:
    """Scenes to choose from."""
    if not session.proposals:
        return ""
    cells = []
    for number, view in enumerate(studio.look(session.proposals)):
        name = say(language, "scene", number=number + 1)
        cells.append(_button(["take", number], name, _picture(view.picture, "")))
    label = _text(language, "prior_title")
    return f'<div class="proposals" data-arrows role="group" aria-label="{label}">{"".join(cells)}</div>'


def _pictures(session: Session, before: View, now: View, language: str) -> str:
    assert session.scene is not None
    shown = []
    if session.picture is not None:
        shown.append(("input", session.picture))
    shown += [("before", before.picture), ("now", now.picture)]
    if now.owner is not None:
        shown.append(("objects", _segments(now)))
    figures = [
        f'<figure class="{key}">{_picture(pixels, say(language, key))}'
        f"<figcaption>{_text(language, key)}</figcaption></figure>"
        for key, pixels in shown
    ]
    return f'<div class="pictures">{"".join(figures)}</div>{_save(session, now, language)}'


def _save(session: Session, now: View, language: str) -> str:
    """Links that hold the files themselves."""
    assert session.scene is not None
    large = Image.fromarray(now.picture).resize((SAVED, SAVED), Image.Resampling.NEAREST)
    codes = base64.b64encode(codes_to_json(session.scene.codes).encode()).decode()
    return (
        f'<p class="save"><a download="scene.png" href="{_uri(np.asarray(large))}">'
        f"{_text(language, 'save_picture')}</a>"
        f'<a download="codes.json" href="data:application/json;base64,{codes}">'
        f"{_text(language, 'save_codes')}</a></p>"
    )


def _table(session: Session, studio: Studio, now: View, language: str) -> str:
    assert session.scene is not None
    codes = session.scene.codes
    blocks = [block_name(studio, block).text(language) for block in range(len(codes[0]))]
    pictures = studio.thumbnails((block, code) for slot in codes for block, code in enumerate(slot))
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in blocks)
    colours = [f"rgb({r * 255:.0f},{g * 255:.0f},{b * 255:.0f})" for r, g, b in slot_colours(len(codes))]
    rows = []
    for slot, (name, role) in enumerate(zip(slot_names(now), now.roles, strict=True)):
        called = name.text(language)
        part = ""
        if now.parts is not None:
            part = _picture(now.parts[slot], say(language, "mask_of", name=called))
        cells = []
        for block, code in enumerate(codes[slot]):
            label = say(language, "code_of", block=blocks[block], name=called, code=code)
            chosen = session.selected == (slot, block)
            content = f"{_picture(pictures[block, code], '')}<small>{code}</small>"
            cells.append(f"<td>{_button(['select', slot, block], label, content, pressed=chosen)}</td>")
        keep = _button(
            ["keep", slot], say(language, "keep_of", name=called), _text(language, "keep"), slot in session.kept, "keep"
        )
        gone = _button(["remove", slot], say(language, "remove", name=called), "✕", kind="remove")
        chip = f'<i style="background:{colours[slot]}"></i>' if now.owner is not None else ""
        rows.append(
            f'<tr class="{role}"><th scope="row">{part}<span>{chip}{escape(called)}</span></th>{"".join(cells)}'
            f'<td class="do">{keep}{gone if role != EMPTY else ""}</td></tr>'
        )
    label = _text(language, "table")
    return (
        f'<table data-arrows aria-label="{label}"><thead><tr><th scope="col">{_text(language, "objects")}</th>{heads}'
        f"<td></td></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _palette(session: Session, studio: Studio, now: View, language: str) -> str:
    assert session.scene is not None
    if session.selected is None:
        return f'<section class="palette"><p>{_text(language, "choose")}</p></section>'
    slot, block = session.selected
    names = [name.text(language) for name in slot_names(now)]
    block_text = block_name(studio, block).text(language)
    meaning, current = studio.meanings[block], session.scene.codes[slot][block]
    shown = list(meaning.shown)
    if current not in shown:
        shown.insert(0, current)
    pictures = studio.thumbnails((block, code) for code in shown)
    cells = []
    for code in shown:
        words = _word(meaning.words, code, language)
        label = say(language, "code", code=code) + (f", {words}" if words else "")
        content = f"{_picture(pictures[block, code], '')}<small>{escape(words) or code}</small>"
        cells.append(_button(["code", slot, block, code], label, content, pressed=code == current))
    swaps = [
        _button(["swap", block, slot, other], text := say(language, "swap", block=block_text, name=names[other]), text)
        for other, role in enumerate(now.roles)
        if other != slot and role == OBJECT
    ]
    title = escape(say(language, "palette", name=names[slot], block=block_text))
    return (
        f'<section class="palette" aria-label="{title}"><h3>{title}</h3><p>{_text(language, "palette_help")}</p>'
        f'<div class="symbols" data-arrows role="group" aria-label="{title}">{"".join(cells)}</div>'
        f'<div class="swaps">{"".join(swaps)}</div></section>'
    )


# ------------------------------------------------------------------ small parts


def _word(words: Mapping[int, str], code: int, language: str) -> str:
    return word(language, words[code]) if code in words else ""


def _text(language: str, key: str, **values: Any) -> str:
    return escape(say(language, key, **values))


def _button(action: list[Any], label: str, content: str, pressed: bool | None = None, kind: str = "") -> str:
    """`content` is HTML, `label` text."""
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    named = f' class="{kind}"' if kind else ""
    do = escape(json.dumps(action, separators=(",", ":")))
    label = escape(label)
    return f'<button type="button"{named} data-do="{do}" aria-label="{label}" title="{label}"{state}>{content}</button>'


def _picture(pixels: NDArray[np.uint8], alt: str) -> str:
    return f'<img src="{_uri(pixels)}" alt="{escape(alt)}" draggable="false">'


def _uri(pixels: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3 or 4) as an address that holds it, PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _segments(view: View) -> NDArray[np.uint8]:
    """Each pixel in the colour of the object that owns it; the background, and the empty slots' share of it, grey."""
    assert view.owner is not None
    colours = np.array(slot_colours(len(view.roles)))
    for slot, role in enumerate(view.roles):
        if role != OBJECT:
            colours[slot] = 0.25
    return (colours[view.owner] * 255).round().astype(np.uint8)
