"""The page itself: Gradio's components around `fragments`, and which action each of them is."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.navbar import Navbar
from gradio.themes import Soft

from ..data.scenes import COLOUR_NAMES, COLOUR_VALUES
from .fragments import board, proposals
from .session import TEMPERATURES, Session
from .studio import Studio
from .texts import LANGUAGES, Refused, say, word

HERE = Path(__file__).parent
PNG = "data:image/png;base64,"
OWN: dict[str, Any] = {"elem_classes": "svq", "apply_default_css": False}  # of parts that page.css lays out
TOOLS = ("circle", "square", "triangle", "brush")

# Fonts that the system has: none is fetched. Soft's own grey of lesser text is too light to be read on white.
THEME = Soft(
    primary_hue="indigo",
    font=["system-ui", "-apple-system", "Segoe UI", "Noto Sans KR", "Noto Sans CJK KR", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(body_text_color_subdued="*neutral_500")


def make_page(studio: Studio, language: str = "auto") -> gr.Blocks:
    """The page in `language` at /, and in the other one at /ko or /en; with "auto", / leads Korean browsers to /ko.

    Nothing runs until it is launched (`serve.py`).
    """
    first = LANGUAGES[0] if language == "auto" else language
    with gr.Blocks(title="SVQ", analytics_enabled=False, delete_cache=(60, 60)) as page:
        _lay_out(page, studio, first, language == "auto")
    for other in LANGUAGES:
        if other != first:
            with page.route(say(other, "title"), f"/{other}", show_in_navbar=False):
                _lay_out(page, studio, other, False)
    return page


def _lay_out(page: gr.Blocks, studio: Studio, language: str, finds_language: bool) -> None:
    def text(key: str) -> str:
        return say(language, key)

    other = next(one for one in LANGUAGES if one != language)
    Navbar(visible=False)
    session = gr.State(None, time_to_live=3600)  # a `Session`, on this side only; None: a new one
    gr.HTML(_header(language, other), **OWN, js_on_load=_on_load(language, finds_language))
    with gr.Row():
        at_random = gr.Button(text("random"), variant="primary", min_width=120, elem_id="random")
        upload = gr.UploadButton(text("upload"), type="binary", file_types=["image"], min_width=120, elem_id="upload")
        load = gr.UploadButton(text("load"), type="binary", file_types=[".json"], min_width=120, elem_id="load")
        add = gr.Button(text("add"), min_width=120, elem_id="add")
        undo = gr.Button(text("undo"), min_width=120, elem_id="undo")
    with gr.Accordion(text("draw"), open=False, elem_id="draw"):
        drawing = gr.HTML(_drawing(language), **OWN, js_on_load=_script("drawing.js"))
    scene = gr.HTML(**OWN, elem_id="board", js_on_load=_script("page.js"))
    if studio.model.prior is None:
        gr.Markdown(text("no_prior"))
    else:
        gr.Markdown(f"### {text('prior_title')}\n{text('prior_help')}")
        with gr.Row():
            low, high = TEMPERATURES
            form = {"buttons": [], "min_width": 260}  # on a phone one below the other
            temperature = gr.Slider(
                low, high, 1.0, step=0.05, label=text("temperature"), info=text("temperature_help"), **form
            )
            top_k = gr.Slider(
                0, studio.model.codebook_size, 0, step=1, label=text("top_k"), info=text("top_k_help"), **form
            )
        with gr.Row():
            sample = gr.Button(text("sample"), variant="primary", min_width=160, elem_id="sample")
            complete = gr.Button(text("complete"), min_width=160, elem_id="complete")
        offered = gr.HTML(**OWN, elem_id="offered", js_on_load=_script("page.js"))

    def shown(change: Callable[..., Session], old: Session | None, *arguments: Any) -> tuple[Session, str]:
        """The page after a change; where that is refused, the old page that says why."""
        old = old or Session()
        try:
            now = change(old, *arguments)
        except Refused as error:
            now = old.refused(error)
        return now, board(now, studio, language)

    def on_random(old: Session | None) -> tuple[Session, str]:
        return shown(Session.at_random, old, studio, secrets.randbelow(2**31))

    def on_upload(old: Session | None, data: bytes | None) -> tuple[Session, str]:
        return shown(Session.from_picture, old, studio, data or b"")

    def on_load(old: Session | None, data: bytes | None) -> tuple[Session, str]:
        return shown(Session.from_codes, old, studio, data or b"")

    def on_drawing(old: Session | None, event: gr.EventData) -> tuple[Session, str]:
        return shown(lambda now: now.from_picture(studio, _bytes_of(event._data)), old)

    def on_action(old: Session | None, event: gr.EventData) -> tuple[Session, str]:
        asked = event._data.get("do") if isinstance(event._data, dict) else None
        return shown(Session.act, old, studio, asked, secrets.randbelow(2**31))

    def on_add(old: Session | None) -> tuple[Session, str]:
        return shown(Session.act, old, studio, ["add"], secrets.randbelow(2**31))

    def on_undo(old: Session | None) -> tuple[Session, str]:
        return shown(Session.act, old, studio, ["undo"])

    quick: dict[str, Any] = {
        "outputs": [session, scene],
        "show_progress": "hidden",
        "trigger_mode": "always_last",
        "api_visibility": "private",
        "concurrency_id": "model",
    }
    page.load(on_random, [session], **quick)
    at_random.click(on_random, [session], **quick)
    upload.upload(on_upload, [session, upload], **quick)
    load.upload(on_load, [session, load], **quick)
    drawing.submit(on_drawing, [session], **quick)
    scene.click(on_action, [session], **quick)
    add.click(on_add, [session], **quick)
    undo.click(on_undo, [session], **quick)
    if studio.model.prior is None:
        return

    def offer(complete: bool, old: Session | None, heat: float, among: float) -> tuple[Session, str, str]:
        seed = secrets.randbelow(2**31)
        now, scenes = shown(Session.propose, old, studio, complete, heat, among, seed)
        return now, scenes, proposals(now, studio, language)

    slow = {**quick, "outputs": [session, scene, offered], "show_progress": "minimal", "trigger_mode": "once"}
    offered.click(on_action, [session], **quick)
    sample.click(lambda *now: offer(False, *now), [session, temperature, top_k], **slow)
    complete.click(lambda *now: offer(True, *now), [session, temperature, top_k], **slow)


def _bytes_of(sent: Any) -> bytes:
    """The PNG that the drawing area sends. Raises Refused for anything else."""
    picture = sent.get("picture") if isinstance(sent, dict) else None
    if not isinstance(picture, str) or not picture.startswith(PNG):
        raise Refused("bad_action")
    try:
        return base64.b64decode(picture[len(PNG) :], validate=True)
    except (binascii.Error, ValueError):
        raise Refused("bad_action") from None


def _header(language: str, other: str) -> str:
    title, intro, switch = (escape(say(language, key)) for key in ("title", "intro", "other_language"))
    return (
        f'<header><h1>{title}</h1><a href="#" class="switch" lang="{other}" hreflang="{other}">{switch}</a>'
        f"<p>{intro}</p></header>"
    )


def _on_load(language: str, finds_language: bool) -> str:
    """Says which language the page is in, makes the switch lead to the other one's page and, if that is wanted, goes
    there at once where the browser prefers it."""
    other = next(one for one in LANGUAGES if one != language)
    go = "" if not finds_language else (
        f"if (navigator.language.startsWith({other!r}) && !sessionStorage.getItem('svq-language')) go();"
    )  # fmt: skip
    return f"""
        document.documentElement.lang = {language!r};
        const path = location.pathname.replace(/\\/+$/, '');
        const end = path.slice(path.lastIndexOf('/') + 1);
        const root = {list(LANGUAGES)!r}.includes(end) ? path.slice(0, path.lastIndexOf('/')) : path;
        const there = end === {language!r} ? root + '/' : root + '/' + {other!r};
        const go = () => {{ sessionStorage.setItem('svq-language', {other!r}); location.assign(there); }};
        const link = element.querySelector('.switch');
        link.href = there;
        link.addEventListener('click', (event) => {{ event.preventDefault(); go(); }});
        {go}
    """


def _drawing(language: str) -> str:
    def text(key: str) -> str:
        return escape(say(language, key))

    tools = "".join(
        f'<label><input type="radio" name="tool" value="{tool}"{" checked" * (tool == "circle")}> '
        f"{text('brush') if tool == 'brush' else escape(word(language, tool))}</label>"
        for tool in TOOLS
    )
    inks = "".join(
        f'<label><input type="radio" name="ink" value="{css}"{" checked" * (number == 0)}> '
        f'{escape(word(language, name))}<i class="swatch" style="background:{css}"></i></label>'
        for number, (name, css) in enumerate(
            [(name, f"rgb({r * 255},{g * 255},{b * 255})") for name, (r, g, b) in
             zip(COLOUR_NAMES, COLOUR_VALUES, strict=True)]
        )
    )  # fmt: skip
    return (
        f'<p class="said">{text("draw_help")}</p><div class="draw"><div class="paper">'
        f'<canvas width="256" height="256" tabindex="0" role="application" aria-label="{text("canvas")}"></canvas>'
        f'<i class="cursor"></i></div><div class="tools"><fieldset><legend>{text("tool")}</legend>{tools}</fieldset>'
        f"<fieldset><legend>{text('ink')}</legend>{inks}</fieldset>"
        f'<label>{text("size")} <input type="range" min="8" max="40" value="24"></label>'
        f'<div class="buttons"><button type="button" class="use">{text("use_drawing")}</button>'
        f'<button type="button" class="clear">{text("clear")}</button></div></div></div>'
    )


def _script(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
