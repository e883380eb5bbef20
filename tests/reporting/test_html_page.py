"""The page is whole, needs nothing else, and nothing in a name or a note becomes more than text."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from src.reporting.document import Cell, Document, Gallery, Part, Picture, Remarks, Small, Table
from src.reporting.html_page import as_html
from src.reporting.markdown import as_markdown

EVIL = '<script>alert("x")</script>\'&'
VOID = {"meta", "img", "br", "link", "input"}


def picture_file(width: int = 4, height: int = 2) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 128, np.uint8)).save(file, "png")
    return file.getvalue()


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed in order, and what it refers to is collected."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def assert_self_contained(text: str, folder: Path | None = None) -> Page:
    """Nothing is fetched, nothing is run, every link leads to a part of the page or to a file in its `folder`, every
    picture has words."""
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert len(anchors) == sum("id" in attributes for _, attributes in page.tags)
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            within = value.startswith("data:image/png;base64,") or value[1:] in anchors
            assert not value or within or (folder is not None and (folder / value).is_file()), value
    for image in page.every("img"):
        assert image["alt"] and base64.b64decode(str(image["src"]).partition(",")[2]).startswith(b"\x89PNG")
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text
    return page


def whole_document(words: str = "plain") -> Document:
    table = Table(("", words, "of"), [[words, Cell("0.5", "0.4–0.6", (0.5, 0.4, 0.6)), words], ["b", "1", ""]], words)
    rows = [(words, [[Small(picture_file(), words)], [Small(picture_file(8, 8), words)]])]
    galleries = [Gallery(rows, words), Gallery(rows, words, folded=True)]
    blocks = [words, table, Picture("shown", picture_file(), words, words), *galleries]
    return Document(
        title=words,
        subtitle=words,
        headline=[table],
        parts=[Part("first", words, f"see [the other](#second) {words}", blocks), Part("second", words, words)],
        notes=[words],
        made=Table(("", ""), [[words, words]]),
        settings=words,
    )


def test_the_page_is_whole_and_self_contained() -> None:
    page = assert_self_contained(as_html(whole_document()))
    assert {"#summary", "#first", "#second", "#notes", "#made"} <= {link["href"] for link in page.every("a")}
    assert any(meta.get("name") == "viewport" for meta in page.every("meta"))
    assert len(page.every("img")) == 5 and page.every("html")[0]["lang"] == "en"


def test_text_stays_text() -> None:
    text = as_html(whole_document(EVIL))
    page = assert_self_contained(text)
    assert page.text.count(EVIL) > 10  # seen as it was written
    assert "<script" not in text
    markdown = as_markdown(whole_document(EVIL))
    assert "<script" not in markdown and "see [the other](#second)" in markdown
    assert "](x)" not in as_markdown(whole_document("[a](x)"))


def test_links_to_parts_that_are_not_there_are_plain_words() -> None:
    document = Document("title", "", [], [Part("one", "One", "see [the judge](#judge) and [one](#one)")])
    page = assert_self_contained(as_html(document))
    assert "see the judge and one" in page.text and [link["href"] for link in page.every("a")].count("#one") == 2
    assert "see the judge and [one](#one)" in as_markdown(document)


def test_small_pictures_are_enlarged_by_whole_numbers() -> None:
    crops = [image for image in assert_self_contained(as_html(whole_document())).every("img") if "pixels" in str(image)]
    assert [(image["width"], image["height"]) for image in crops] == 2 * [("64", "32"), ("64", "64")]


def test_the_head_of_a_number_stands_over_it_and_its_interval_has_one_of_its_own() -> None:
    page = Page(as_html(whole_document()))
    heads = [head for head in page.every("th") if head.get("scope") == "col"]
    assert [head.get("class") for head in heads[:5]] == [None, None, "small", "line", None]
    assert not any("colspan" in head for head in heads)  # a column that a narrow screen hides would shift the others
    assert "95 % interval" in page.text and "0 to 1" in page.text


def test_of_several_columns_with_intervals_each_stands_below_its_number() -> None:
    table = Table(("", "in", "out"), [["a", *[Cell("50.0 %", "40.0–60.0", (0.5, 0.4, 0.6))] * 2]])
    text = as_html(Document("title", "", [table], []))
    assert text.count("50.0 %<small>40.0–60.0</small>") == 2 and "<svg" not in text


def test_dots_at_both_ends_are_whole() -> None:
    table = Table(("", "share"), [["all", Cell("100.0 %", "99.0–100.0", (1.0, 0.99, 1.0))]])
    (track,) = Page(as_html(Document("title", "", [table], []))).every("svg")
    left, _, width, _ = map(float, str(track["viewbox"]).split())
    assert left <= -2.5 and left + width >= 96 + 2.5  # the dot's radius


def test_short_and_long_words_of_a_column_are_aligned_alike() -> None:
    made = Table(("", ""), [["scored", "the test split, seed 0, batches of 64"], ["time", "2 minutes"]])
    cells = Page(as_html(Document("title", "", [], [], made=made))).every("td")
    assert [cell.get("class") for cell in cells] == ["words", "words"]


def test_groups_of_pictures_stand_under_each_other_below_their_heads() -> None:
    small = Small(picture_file(), "an object")
    rows = [("many", [[small] * 4, [small]]), ("few", [[small], [small]]), ("none", [[], [small]])]
    page = assert_self_contained(as_html(Document("", "", [Gallery(rows, "codes", heads=("with it", "given it"))], [])))
    widths = [span["style"] for span in page.every("span")]
    assert widths == 3 * ["width: 272px", "width: 68px"] == 3 * [head["style"] for head in page.every("i")]
    assert "with itgiven it" in page.text


def test_remarks_are_small_print_and_many_are_folded() -> None:
    for count, folded in ((4, 0), (5, 1)):
        part = Part("first", "First", "", [Remarks([f"reason {n}" for n in range(count)])])
        page = assert_self_contained(as_html(Document("title", "", [], [part])))
        assert len(page.every("details")) == 1 + folded and f"reason {count - 1}" in page.text
        assert "- reason 1\n" in as_markdown(Document("title", "", [], [part]))


def test_dark_mode_and_small_screens_are_thought_of() -> None:
    text = as_html(whole_document())
    assert "prefers-color-scheme: dark" in text and "max-width: 40rem" in text and "image-rendering: pixelated" in text


def test_markdown_has_the_tables_and_names_the_pictures() -> None:
    text = as_markdown(whole_document())
    assert "| plain | 0.5 (0.4–0.6) | plain |" in text and "![plain](shown.png)" in text
    assert '<a id="second"></a>' in text and "- plain" in text
    assert "\\|" in as_markdown(Document("a | b", "", [Table(("", "x|y"), [["1", "2"]])], []))
