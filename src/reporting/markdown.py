"""A report as Markdown: its tables, and its pictures by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from .document import Block, Cell, Document, Gallery, Picture, Remarks, Table


def as_markdown(document: Document) -> str:
    """The document as Markdown text."""
    lines = [f"# {_text(document.title)}", "", _text(document.subtitle), ""]
    for block in document.headline:
        lines += _block(block)
    for part in document.parts:
        lines += [f'<a id="{part.name}"></a>', "", f"## {_text(part.title)}", "", _text(part.about), ""]
        for block in part.blocks:
            lines += _block(block)
    if document.notes:
        lines += ["## Notes", "", *(f"- {_text(note)}" for note in document.notes), ""]
    if document.made is not None:
        lines += ["## How this was made", "", *table(document.made), ""]
    names = [part.name for part in document.parts]
    text = "\n".join(lines).rstrip() + "\n"  # links to parts that were left out become plain words
    return re.sub(r"\[([^\]]+)\]\(#([\w-]+)\)", lambda link: link[0] if link[2] in names else link[1], text)


def table(content: Table) -> list[str]:
    """The lines of one table."""
    head, *rows = [" | ".join(map(_text, row)) for row in (content.head, *content.rows)]
    return [f"| {line} |" for line in (head, " | ".join(["---"] * len(content.head)), *rows)]


def _block(block: Block) -> Sequence[str]:
    if isinstance(block, str):
        return [_text(block), ""]
    if isinstance(block, Table):
        heading = [f"**{_text(block.title)}**", ""] if block.title else []
        return [*heading, *table(block), ""]
    if isinstance(block, Remarks):
        return [*(f"- {_text(line)}" for line in block.lines), ""]
    if isinstance(block, Picture):
        return [f"![{_text(block.alt)}]({block.name}.png)", "", *([_text(block.caption), ""] if block.caption else [])]
    assert isinstance(block, Gallery)
    return [f"**{_text(block.title)}**: {len(block.rows)} rows of pictures, on the page.", ""]


def _text(cell: Cell | str) -> str:
    """In one line, with nothing in it that Markdown or HTML would read as more than text, but for links to a part or to
    a report in a folder beside it."""
    line = escape(" ".join(str(cell).split()), quote=False)
    line = re.sub(r"([\\|`*])", r"\\\1", line)
    return re.sub(r"\]\((?!#|[\w.-]+/report\.html\))", r"]\\(", line)
