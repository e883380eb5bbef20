"""A report as Markdown: its tables, and its pictures by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .document import Block, Cell, Document, Gallery, Picture, Table


def as_markdown(document: Document) -> str:
    """The document as Markdown text."""
    lines = [f"# {_text(document.title)}", "", _text(document.subtitle), ""]
    for block in document.headline:
        lines += _block(block)
    for part in document.parts:
        lines += [f'<a id="{part.name}"></a>', "", f"## {_text(part.title)}", "", part.about, ""]
        for block in part.blocks:
            lines += _block(block)
    if document.notes:
        lines += ["## Notes", "", *(f"- {_text(note)}" for note in document.notes), ""]
    if document.made is not None:
        lines += ["## How this was made", "", *table(document.made), ""]
    return "\n".join(lines).rstrip() + "\n"


def table(content: Table) -> list[str]:
    """The lines of one table."""
    rows = [list(content.head), ["---"] * len(content.head), *content.rows]
    return [f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows]


def _block(block: Block) -> Sequence[str]:
    if isinstance(block, str):
        return [block, ""]
    if isinstance(block, Table):
        heading = [f"**{_text(block.title)}**", ""] if block.title else []
        return [*heading, *table(block), ""]
    if isinstance(block, Picture):
        return [f"![{_text(block.alt)}]({block.name}.png)", "", *([_text(block.caption), ""] if block.caption else [])]
    assert isinstance(block, Gallery)
    return [f"**{_text(block.title)}**: {len(block.rows)} rows of pictures, on the page.", ""]


def _text(cell: Cell | str) -> str:
    """In one line, with nothing in it that Markdown or HTML would read as more than text."""
    line = " ".join(str(cell).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", line) if line != "---" else line
