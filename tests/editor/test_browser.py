"""The page in a real browser: open, pick, edit, see the picture change, sample, draw, save; by mouse and keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.browser import browser, chromium

pytest.importorskip("gradio")
pytest.importorskip("playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]

WAIT = 300_000  # milliseconds, on a machine that does other work


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(chrome, address, request) -> Iterator[Any]:
    """The page, opened; a test that asks anybody but this machine, or makes an error in the page, fails."""
    context = chrome.new_context(**getattr(request, "param", {"locale": "en-GB"}))
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    elsewhere, errors = [], []
    opened.on("request", lambda r: elsewhere.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else 0)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("#board table")
    yield opened
    assert (elsewhere, errors) == ([], [])
    context.close()


def now(page: Any) -> str:
    """The picture as it is now."""
    return page.get_attribute("#board figure.now img", "src")


def codes(page: Any) -> list[list[int]]:
    """Those in the file that the page would save."""
    link = page.get_attribute("#board a[download='codes.json']", "href")
    return page.evaluate("async (link) => (await (await fetch(link)).json()).codes[0]", link)


def said(page: Any, words: str) -> None:
    page.wait_for_function("words => document.querySelector('#board .said').textContent.includes(words)", arg=words)


def other_code(page: Any) -> Any:
    """A code of the palette that is not the chosen one."""
    return page.locator("#board .symbols button[aria-pressed=false]").last


def test_a_code_is_edited_and_the_picture_changes_beside_the_old_one(page):
    page.click("#random")
    said(page, "random scene")
    old, before = codes(page), now(page)
    page.locator("#board [data-do='[\"select\",1,0]']").click()
    page.wait_for_selector("#board [data-do='[\"select\",1,0]'][aria-pressed=true]")
    other_code(page).click()
    said(page, "is code")
    assert now(page) != before and page.get_attribute("#board figure.before img", "src") == before
    changed = codes(page)
    assert [(n, m) for n in range(3) for m in range(2) if changed[n][m] != old[n][m]] == [(1, 0)]
    page.click("#undo")
    said(page, "undone")
    assert codes(page) == old


def test_the_keyboard_is_enough(page):
    page.focus("#board [data-do='[\"select\",0,0]']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.do") == '["select",1,1]'
    page.keyboard.press("Enter")
    page.wait_for_selector("#board [data-do='[\"select\",1,1]'][aria-pressed=true]")
    assert page.evaluate("document.activeElement.dataset.do") == '["select",1,1]'  # the page was drawn anew
    before = codes(page)
    page.keyboard.press("Tab")  # leaves the table
    focus = page.evaluate("document.activeElement.dataset.do")
    assert json.loads(focus)[:3] == ["code", 1, 1]
    page.keyboard.press("ArrowRight" if json.loads(focus) == ["code", 1, 1, before[1][1]] else "ArrowLeft")
    page.keyboard.press("Enter")
    said(page, "is code")
    assert codes(page) != before


def test_scenes_are_written_and_one_is_taken(page):
    page.click("#sample")
    page.wait_for_selector("#offered img")
    assert page.locator("#offered button").count() == 8
    page.locator("#offered button").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.do") == '["take",1]'
    page.locator("#offered button").nth(2).click()
    said(page, "Scene 3 was chosen")
    kept = codes(page)[0]
    page.locator("#board [data-do='[\"keep\",0]']").click()
    page.wait_for_selector("#board [data-do='[\"keep\",0]'][aria-pressed=true]")
    page.click("#complete")
    said(page, "4 scenes were written")
    page.locator("#offered button").first.click()
    said(page, "Scene 1 was chosen")
    assert kept in codes(page)


def test_a_drawing_is_read(page):
    page.click("#draw button")
    canvas = page.locator("#draw canvas")
    canvas.click(position={"x": 60, "y": 60})
    page.check("#draw input[value=square]")
    canvas.press("ArrowRight")
    canvas.press("Enter")
    page.click("#draw .use")
    said(page, "read as 3 slots")
    assert page.locator("#board figure.input img").count() == 1


def test_files_are_saved_and_loaded_and_bad_ones_get_a_line(page, tmp_path):
    with page.expect_download() as picture:
        page.click("#board a[download='scene.png']")
    assert picture.value.suggested_filename == "scene.png"
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as listing:
        page.click("#board a[download='codes.json']")
    listing.value.save_as(tmp_path / "codes.json")
    saved = json.loads((tmp_path / "codes.json").read_text())["codes"][0]
    assert saved == codes(page)
    page.click("#random")
    said(page, "random scene")
    page.set_input_files("input[accept*='json']", tmp_path / "codes.json")
    said(page, "loaded")
    assert codes(page) == saved
    (tmp_path / "bad.json").write_text('{"codes": [[[0, 1, 2]]]}')
    page.set_input_files("input[accept*='json']", tmp_path / "bad.json")
    said(page, "shape 1 × 3")
    assert codes(page) == saved


@pytest.mark.parametrize("page", [{"locale": "ko-KR", "color_scheme": "dark"}], indirect=True)
def test_a_korean_browser_gets_korean_and_may_switch(page):
    page.wait_for_url(re.compile("/ko/?$"))
    page.wait_for_selector("#board table")
    assert "코드로 장면 고치기" in page.inner_text("header") and page.get_attribute("html", "lang") == "ko"
    page.click("a.switch")
    page.wait_for_selector("text=Edit a scene by its codes")
    assert not page.url.rstrip("/").endswith("ko")


@pytest.mark.parametrize(
    "page", [{"locale": "en-GB", "color_scheme": dark} for dark in ("dark", "light")], indirect=True
)
def test_it_follows_the_systems_light_or_dark_mode(page):
    """Text and ground differ as much as WCAG asks of normal text, 4.5 to 1, in both."""
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground, *inks = (_luminance(page.evaluate(_COLOUR, selector)) for selector in _SHOWN)
    assert (ground < 0.2) == dark
    for ink in inks:
        light, deep = max(ground, ink), min(ground, ink)
        assert (light + 0.05) / (deep + 0.05) >= 4.5


_SHOWN = ("body", "header h1", "#board thead th", "#board tbody th span", "#board figcaption", "#board .said")
_COLOUR = """selector => {
    const style = getComputedStyle(document.querySelector(selector));
    return (selector === "body" ? style.backgroundColor : style.color).match(/[\\d.]+/g).slice(0, 3).map(Number);
}"""


def _luminance(colour: list[float]) -> float:
    """Relative luminance of sRGB as WCAG 2 defines it, 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", [{"viewport": {"width": 360, "height": 740}, "locale": "en-GB"}], indirect=True)
def test_a_phone_scrolls_down_only(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    sides = page.evaluate("[...document.querySelectorAll('#board button')].map(b => b.getBoundingClientRect().right)")
    assert max(sides) <= 360
