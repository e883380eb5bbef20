"""What the pages of the project say, taken apart: links and headings, commands, Python."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [path.name for path in PROJECT.glob("*.md")]
    + [path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("docs/**/*.md")]
)
_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def read(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """The text of a page without its blocks of code."""
    return _FENCED.sub("", text)


def blocks(text: str, language: str) -> list[str]:
    """A page's blocks of code in one language."""
    return [code for name, code in _FENCED.findall(text) if name == language]


def inline_code(text: str) -> list[str]:
    """What stands between single backquotes, lines joined."""
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", without_code(text))]


def links(text: str) -> list[str]:
    """Where a page's links lead, those to the web left out."""
    return [link for link in _LINK.findall(without_code(text)) if "://" not in link and not link.startswith("mailto:")]


def anchors(text: str) -> set[str]:
    """The names that links can lead to within a page: those of its headings, as GitHub makes them, and of its own."""
    found: set[str] = set(re.findall(r"<a id=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#+ +(.+?) *#*$", without_code(text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(name if not number else f"{name}-{number}")
    return found


def broken_links(page: str, text: str) -> list[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (PROJECT / page).parent / path if path else PROJECT / page
        if not target.exists():
            broken.append(link)
        elif anchor and target.suffix == ".md":
            there = text if not path else target.read_text(encoding="utf-8")
            if anchor not in anchors(there):
                broken.append(link)
    return broken


def commands(text: str) -> list[list[str]]:
    """The words of every command of a page, of its blocks and in its lines."""
    lines = [line for code in blocks(text, "bash") for line in code.replace("\\\n", " ").splitlines()]
    lines += [code for code in inline_code(text) if re.match(r"(python|pip|make|bash|torchrun|svq-\w+)\s", code)]
    found = []
    for line in lines:
        words = shlex.split(re.sub(r"<(\w+)>", r"\1", line), comments=True)  # a name in angles stands for any
        start = 0
        for end in [*(index for index, word in enumerate(words) if word in ("&&", "|", ";")), len(words)]:
            if words[start:end]:
                found.append(words[start:end])
            start = end + 1
    return found


def missing_names(code: str) -> Iterator[str]:
    """What Python imports that does not exist; what does not compile raises SyntaxError."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name))
