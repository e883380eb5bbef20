"""Hooks of MkDocs: pages that are made from the project's other files, and links from docs/ to them.

In docs/ a link leads to the file itself, `../src/models/svq_model.py`, so that it works wherever the repository is
read. On the site it leads to the file's page: a module's API reference, a file's text. Pictures come along.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parents[1]
PAGES = {  # files of the project that are pages of the site
    "README.md": "index.md",
    "README.ko.md": "korean.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "notebooks/quickstart.ipynb": "notebook.md",
}
PICTURES = (".png", ".svg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".sh": "bash"}
_LINK = re.compile(r"(?P<before>!?\[[^\]]*\]\()(?P<target>[^)\s#]+)(?P<after>(?:#[^)\s]*)?(?:\s+\"[^\"]*\")?\))")
_CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of PAGES, of every module, and of every file that a page links to."""

    def add(address: str, **content: Any) -> None:
        files.append(File.generated(config, address, **content))

    for source, address in PAGES.items():
        if files.get_file_from_path(address) is None:  # docs/ has an index of its own
            path = PROJECT / source
            text = notebook_page(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
            add(address, content=text)
    modules = module_pages()
    add("api/index.md", content=api_index(modules))
    for address, name in modules.items():
        add(address, content=f"# {name.removeprefix('src.')}\n\n::: {name}\n")
    to_read = list(files.documentation_pages())
    while to_read:
        page = to_read.pop()
        for target in targets(page.content_string, origin(page.src_uri)):
            address = address_of(target)
            if files.get_file_from_path(address) is not None or not (PROJECT / target).exists():
                continue
            if address.endswith(PICTURES):
                add(address, abs_src_path=str(PROJECT / target))
            else:
                add(address, content=file_page(target))
                to_read.append(files.src_uris[address])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to files of the project to their pages."""
    return led(markdown, page.file.src_uri)


def led(markdown: str, address: str) -> str:
    """The text of the page at `address` with its links as they are on the site."""
    source = origin(address)

    def lead(match: re.Match[str]) -> str:
        target = inside(match["target"], source)
        if target is None:
            return match[0]
        return (
            match["before"] + posixpath.relpath(address_of(target), posixpath.dirname(address) or ".") + match["after"]
        )

    pieces = _CODE.split(markdown)  # code, every second one, stays as it is
    text = "".join(piece if index % 2 else _LINK.sub(lead, piece) for index, piece in enumerate(pieces))
    return text.replace("<details>", '<details markdown="1">')  # or what is in it would stay as it is


def origin(address: str) -> str:
    """The file of the project that a page of the site was made from."""
    if (PROJECT / "docs" / address).exists():
        return f"docs/{address}"
    if address.startswith("files/"):
        return address.removeprefix("files/").removesuffix(".md")
    return next((source for source, page in PAGES.items() if page == address), address)


def inside(target: str, source: str) -> str | None:
    """Where in the project a link of the file `source` leads; None outside of it, on the web or to docs/ itself."""
    if "://" in target or target.startswith(("mailto:", "/")):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    return None if path.startswith("..") else path


def targets(markdown: str, source: str) -> list[str]:
    """The files of the project that a page links to."""
    text = "".join(_CODE.split(markdown)[::2])
    found = (inside(match["target"], source) for match in _LINK.finditer(text))
    return [path for path in found if path is not None]


def address_of(path: str) -> str:
    """The page or picture of the site that stands for a file or folder of the project."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("src/") and path.endswith(".py") and not path.endswith("__init__.py"):
        return "api/" + path.removeprefix("src/").removesuffix(".py") + ".md"
    shown = path.replace("/.", "/").lstrip(".")  # MkDocs leaves out what is hidden
    if (PROJECT / path).is_dir():
        return f"files/{shown}/index.md"
    return f"files/{shown}" if path.endswith(PICTURES) else f"files/{shown}.md"


def module_pages() -> dict[str, str]:
    """The page of each module of src, and its name."""
    paths = sorted(path for path in (PROJECT / "src").rglob("*.py") if path.name != "__init__.py")
    names = [path.relative_to(PROJECT).as_posix() for path in paths]
    return {address_of(name): name.removesuffix(".py").replace("/", ".") for name in names}


def api_index(modules: dict[str, str]) -> str:
    """All modules, a package after the other, with the first line of what each says of itself."""
    lines = ["# API reference", "", "In a clone the package is `src`; installed, it is `svq`.", ""]
    package = None
    for address, name in sorted(modules.items(), key=lambda item: (item[1].count(".") > 1, item[1])):
        parent = name.rpartition(".")[0]
        if parent != package:
            package = parent
            lines += ["", f"## {package}", "", f"{first_line(package) or ''}", "", "| module | |", "|---|---|"]
        short = address.removeprefix("api/")
        lines.append(f"| [`{name.rpartition('.')[2]}`]({short}) | {first_line(name)} |")
    return "\n".join(lines) + "\n"


def first_line(name: str) -> str:
    """The first line of a module's docstring."""
    path = PROJECT / name.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    return text.split('"""')[1].strip().split("\n")[0].replace("|", "\\|") if text.startswith('"""') else ""


def file_page(path: str) -> str:
    """A file of the project as a page: Markdown as it is, anything else as code; a folder as a list of its files."""
    if (PROJECT / path).is_dir():
        names = sorted(child.name for child in (PROJECT / path).iterdir() if not child.name.startswith(("_", ".")))
        return f"# `{path}/`\n\n" + "".join(f"- [`{name}`]({name})\n" for name in names)
    text = (PROJECT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return f"# `{path}`\n\n{text}" if not text.startswith("# ") else text
    return f"# `{path}`\n\n```{LANGUAGES.get(Path(path).suffix, 'text')}\n{text.rstrip()}\n```\n"


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: text, code, and the pictures and lines that cells have left."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [shown for output in cell["outputs"] if (shown := output_of(output))]
    return "\n\n".join(parts) + "\n"


def output_of(output: dict[str, Any]) -> str:
    """What a cell left, as Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="what the cell draws" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
