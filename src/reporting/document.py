"""What a report says, before it is written as a page (html_page.py) or as Markdown (markdown.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One entry of a table: the number as text, its interval in smaller print, and where both lie between 0 and 1."""

    text: str
    small: str = ""
    track: tuple[float, float, float] | None = None  # value, low, high

    def __str__(self) -> str:
        return f"{self.text} ({self.small})" if self.small else self.text


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; the first column names the rows; `folded` shows the title only at first."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG file: the name it gets, what is seen on it (for those who cannot see it), and what stands below it."""

    name: str
    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Small:
    """A small picture, shown enlarged pixel by pixel, and words for it."""

    png: bytes
    words: str


@dataclass(frozen=True)
class Gallery:
    """Rows of small pictures, each with a label and its pictures in groups, which stand under each other, with a head
    each; `folded` shows the title only at first."""

    rows: Sequence[tuple[str, Sequence[Sequence[Small]]]]
    title: str
    folded: bool = False
    heads: Sequence[str] = ()


@dataclass(frozen=True)
class Remarks:
    """Lines in small print: why something is missing, or is to be taken with care."""

    lines: Sequence[str]


Block = str | Table | Picture | Gallery | Remarks  # text may hold links: [words](#part), [words](folder/report.html)


@dataclass(frozen=True)
class Part:
    """A section: its anchor, its heading, what is measured and how to read it, and what was found."""

    name: str
    title: str
    about: str
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    headline: Sequence[Block]
    parts: Sequence[Part]
    notes: Sequence[str] = ()
    made: Table | None = None  # how the numbers were made
    settings: str = ""  # long, so it is folded away
    pictures: list[Picture] = field(init=False)

    def __post_init__(self) -> None:
        blocks = [*self.headline, *(block for part in self.parts for block in part.blocks)]
        object.__setattr__(self, "pictures", [block for block in blocks if isinstance(block, Picture)])
