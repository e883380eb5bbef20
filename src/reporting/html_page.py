"""A report as one HTML file that needs nothing else: style and pictures are inside, and there is no script."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from html import escape

from .document import Block, Cell, Document, Gallery, Part, Picture, Remarks, Small, Table

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbf9; --panel: #ffffff; --ink: #1f2328; --muted: #66707a; --line: #e2e3de; --accent: #2f6f9f;
  --band: #cfe0ec; --plate: #f6f6f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16181b; --panel: #1d2024; --ink: #e4e6e8; --muted: #98a1aa; --line: #31353b; --accent: #7db5dd;
    --band: #2f4a5e; --plate: #e9e9e5;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
}
a { color: var(--accent); text-underline-offset: 0.15em; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--panel); padding: 0.5rem 1rem; }
.sheet { max-width: 80rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header h1 { margin: 0; font-size: clamp(1.6rem, 1.2rem + 2vw, 2.4rem); line-height: 1.2; letter-spacing: -0.015em; }
header p { margin: 0.5rem 0 0; color: var(--muted); max-width: 46rem; overflow-wrap: anywhere; }
nav { margin: 1.75rem 0; font-size: 0.9rem; }
nav summary { cursor: pointer; color: var(--muted); }
nav ol { list-style: none; margin: 0.5rem 0 0; padding: 0; }
nav li a { display: block; padding: 0.2rem 0; text-decoration: none; }
nav li a:hover { text-decoration: underline; }
main { min-width: 0; }
section { margin: 0 0 3rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
section:first-child { border-top: 0; padding-top: 0; }
h2 { margin: 0 0 0.25rem; font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; }
h3 { margin: 1.75rem 0 0.4rem; font-size: 1rem; }
.about { margin: 0 0 1rem; color: var(--muted); max-width: 46rem; }
section > p { max-width: 46rem; }
.wide { overflow-x: auto; margin: 0.75rem 0 1.25rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 1.1rem 0.35rem 0; text-align: right; vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
thead th { color: var(--muted); font-weight: 500; border-bottom: 1px solid var(--line); vertical-align: bottom;
  white-space: normal; max-width: 11rem; }
thead th.small, thead th.line { white-space: nowrap; }
tbody th { font-weight: 400; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
td.words { text-align: left; white-space: normal; overflow-wrap: anywhere; }
td.small, td small { color: var(--muted); font-size: 0.8rem; text-align: left; }
td small { display: block; line-height: 1.25; text-align: right; }
th.small, th.line { font-size: 0.8rem; text-align: left; font-weight: 400; }
td.line { padding-top: 0; padding-bottom: 0; }
.track { display: block; width: 6.5rem; height: 0.75rem; align-self: center; }
.track rect { fill: var(--line); } .track .band { fill: var(--band); } .track .dot { fill: var(--accent); }
figure { margin: 1rem 0 1.75rem; }
figure img { display: block; max-width: 100%; height: auto; background: var(--plate); border-radius: 4px; }
figcaption { margin-top: 0.5rem; color: var(--muted); font-size: 0.88rem; max-width: 46rem; }
.row { display: flex; align-items: center; gap: 0.75rem; padding: 0.35rem 0; border-top: 1px solid var(--line); }
.row b { flex: 0 0 9rem; font-weight: 400; font-size: 0.88rem; }
.row div { display: flex; flex-wrap: wrap; gap: 4px 1rem; }
.row span { display: flex; flex-wrap: wrap; gap: 4px; }
.heads { border-top: 0; color: var(--muted); font-size: 0.8rem; }
.heads i { font-style: normal; overflow-wrap: anywhere; }
.remarks { padding-left: 1.1rem; }
.remarks, summary.remarks { color: var(--muted); font-size: 0.88rem; max-width: 46rem; overflow-wrap: anywhere; }
main details { margin: 0.75rem 0; }
.pixels { image-rendering: crisp-edges; image-rendering: pixelated; border-radius: 2px; }
.notes li { margin: 0.3rem 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 4px;
  font: 0.8rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details summary { cursor: pointer; color: var(--muted); }
@media (min-width: 64rem) {
  .columns { display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: 2.5rem; margin-top: 2.5rem; }
  nav { position: sticky; top: 2rem; align-self: start; margin: 0; max-height: 90vh; overflow-y: auto; }
}
@media (max-width: 40rem) {
  .sheet { padding-top: 1.5rem; }
  td.line, th.line { display: none; }
  table { font-size: 0.86rem; } th, td { padding-right: 0.7rem; } thead th { hyphens: auto; }
  th:first-child, td:first-child { min-width: 6.5rem; }
  nav ol { columns: 2; }
  .row { display: block; } .row b { display: block; padding-bottom: 0.25rem; } .row div { zoom: 0.75; }
}
@media print { nav, .skip { display: none; } section { break-inside: avoid-page; } }
"""
_CROP = 64  # CSS pixels that a small picture is wide, at least
_GAP = 4  # between two of them
_REMARKS = 4  # so many are shown at once; more are folded
_BEYOND = 3  # of the 96 units of a track: so far it goes on at both ends, so that no dot is cut


def as_html(document: Document) -> str:
    """The whole page; every text of the document is escaped."""
    parts = [Part("summary", "In short", "", document.headline), *document.parts]
    if document.notes:
        parts.append(Part("notes", "Notes", "What was left out, or is undefined, and why.", [_notes(document.notes)]))
    if document.made is not None:
        parts.append(Part("made", "How this was made", "", [document.made]))
    listed = "".join(f'<li><a href="#{escape(part.name)}">{escape(part.title)}</a></li>' for part in parts)
    sections = _without_dead_links("\n".join(map(_section, parts)), [part.name for part in parts])
    if document.settings:
        sections += (
            "\n<section><details><summary>The settings it was trained with</summary>"
            f"<pre>{escape(document.settings)}</pre></details></section>"
        )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(document.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#summary">Skip to the numbers</a>
<div class="sheet">
<header><h1>{escape(document.title)}</h1><p>{escape(document.subtitle)}</p></header>
<div class="columns">
<nav aria-label="Sections"><details open><summary>Sections</summary><ol>{listed}</ol></details></nav>
<main>
{sections}
</main>
</div>
</div>
</body>
</html>
"""


class _Html(str):
    """Text that is HTML already."""


def _section(part: Part) -> str:
    about = f'<p class="about">{_linked(part.about)}</p>' if part.about else ""
    blocks = "\n".join(_block(block) for block in part.blocks)
    return f'<section id="{escape(part.name)}">\n<h2>{escape(part.title)}</h2>\n{about}\n{blocks}\n</section>'


def _block(block: Block) -> str:
    if isinstance(block, _Html):
        return block
    if isinstance(block, str):
        return f"<p>{_linked(block)}</p>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Remarks):
        return _remarks(block)
    return _picture(block) if isinstance(block, Picture) else _gallery(block)


def _remarks(remarks: Remarks) -> str:
    lines = f'<ul class="remarks">{"".join(f"<li>{_linked(line)}</li>" for line in remarks.lines)}</ul>'
    if len(remarks.lines) <= _REMARKS:
        return lines
    summary = f'<summary class="remarks">{len(remarks.lines)} remarks on these numbers</summary>'
    return f"<details>{summary}{lines}</details>"


def _table(table: Table) -> str:
    """Of a single column with intervals these become columns of their own, as numbers and, of what lies between 0 and
    1, as a picture; of several each interval stands below its number."""
    columns = [[row[index] for row in table.rows] for index in range(1, len(table.head))]
    with_interval = [any(isinstance(cell, Cell) and cell.small for cell in cells) for cells in columns]
    apart = sum(with_interval) == 1
    rich = [
        (apart and small, apart and small and any(map(_track, cells)))
        for small, cells in zip(with_interval, columns, strict=True)
    ]
    wordy = [any(map(_is_words, cells)) for cells in columns]
    head = ""
    if any(table.head) or apart:
        names = [f'<th scope="col">{escape(table.head[0])}</th>']
        for name, (small, track) in zip(table.head[1:], rich, strict=True):
            names.append(f'<th scope="col">{escape(name)}</th>')
            names += ['<th scope="col" class="small">95 % interval</th>'] * small
            names += ['<th scope="col" class="line">0 to 1</th>'] * track
        head = f"<thead><tr>{''.join(names)}</tr></thead>"
    lines = []
    for name, *cells in table.rows:
        shown = "".join(map(_cell, cells, wordy, rich))
        lines.append(f'<tr><th scope="row">{escape(str(name))}</th>{shown}</tr>')
    rows = "\n".join(lines)
    shown = f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{shown}</details>"
    return (f"<h3>{escape(table.title)}</h3>" if table.title else "") + shown


def _is_words(cell: Cell | str) -> bool:
    """Whether it is a text, which is aligned as one."""
    return len(str(cell)) > 24 and re.search(r"[A-Za-z]{3}", str(cell)) is not None


def _cell(cell: Cell | str, wordy: bool, parts: tuple[bool, bool]) -> str:
    """The number, or the words of a column of words; its interval in a cell of its own (`small`), or below it; and the
    picture of both (`track`)."""
    small, track = parts
    text, interval = (cell, "") if isinstance(cell, str) else (cell.text, cell.small)
    words = ' class="words"' if wordy else ""
    below = f"<small>{escape(interval)}</small>" if interval and not small else ""
    found = f"<td{words}>{escape(text)}{below}</td>"
    if small:
        found += f'<td class="small">{escape(interval)}</td>'
    return found + (f'<td class="line">{_track(cell)}</td>' if track else "")


def _track(cell: Cell | str) -> str:
    """A line from 0 to 1 with the interval on it; what it shows is beside it in numbers."""
    if isinstance(cell, str) or cell.track is None:
        return ""
    value, low, high = (round(96 * position, 2) for position in cell.track)
    return (
        f'<svg class="track" viewBox="{-_BEYOND} 0 {96 + 2 * _BEYOND} 12" aria-hidden="true">'
        '<rect y="5" width="96" height="2" rx="1"/>'
        f'<rect class="band" x="{low}" y="3" width="{max(high - low, 1):.2f}" height="6" rx="2"/>'
        f'<circle class="dot" cx="{value}" cy="6" r="2.5"/></svg>'
    )


def _picture(picture: Picture) -> str:
    width, height = struct.unpack(">II", picture.png[16:24])
    caption = f"<figcaption>{_linked(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f'<figure><img src="{_uri(picture.png)}" alt="{escape(picture.alt)}" width="{width}" height="{height}" '
        f'loading="lazy">{caption}</figure>'
    )


def _gallery(gallery: Gallery) -> str:
    """Every group is as wide as the widest of its column, so that those of all rows stand under each other."""
    count = max((len(groups) for _, groups in gallery.rows), default=0)
    widths = [
        max(sum(_size(small)[0] + _GAP for small in groups[place]) for _, groups in gallery.rows if place < len(groups))
        for place in range(count)
    ]
    rows = []
    if gallery.heads:
        heads = zip(gallery.heads, widths, strict=True)
        named = "".join(f'<i style="width: {width}px">{escape(head)}</i>' for head, width in heads)
        rows.append(f'<div class="row heads"><b></b><div>{named}</div></div>')
    for name, groups in gallery.rows:
        pictures = "".join(
            f'<span style="width: {width}px">{"".join(map(_small, group))}</span>'
            for group, width in zip(groups, widths, strict=False)
        )
        rows.append(f'<div class="row"><b>{escape(name)}</b><div>{pictures}</div></div>')
    shown, title = "\n".join(rows), escape(gallery.title)
    if gallery.folded:
        return f"<details><summary>{title}</summary>{shown}</details>"
    return f"<h3>{title}</h3>{shown}"


def _size(picture: Small) -> tuple[int, int]:
    """CSS pixels: enlarged by a whole number."""
    width, height = struct.unpack(">II", picture.png[16:24])
    scale = max(1, -(-_CROP // width))
    return scale * width, scale * height


def _small(picture: Small) -> str:
    (width, height), words = _size(picture), escape(picture.words)
    return (
        f'<img class="pixels" src="{_uri(picture.png)}" alt="{words}" title="{words}" '
        f'width="{width}" height="{height}" loading="lazy">'
    )


def _notes(notes: Sequence[str]) -> _Html:
    return _Html(f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>')


def _linked(text: str) -> str:
    """Escaped text whose [words](#part) lead to a part of the page, or to a report in a folder beside it."""
    return re.sub(r"\[([^\]]+)\]\((#[\w-]+|[\w.-]+/report\.html)\)", r'<a href="\2">\1</a>', escape(text))


def _without_dead_links(html: str, names: Sequence[str]) -> str:
    """Links to parts that were left out become plain words."""
    return re.sub(r'<a href="#([\w-]+)">(.*?)</a>', lambda link: link[0] if link[1] in names else link[2], html)


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
