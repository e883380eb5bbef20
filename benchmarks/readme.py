"""Fills the READMEs' tables from `results/`, so that no number there is typed by hand.

    python -m benchmarks.readme

Between `<!-- results: NAME -->` and `<!-- /results -->` goes `results/NAME/summary.md`, which
`python -m benchmarks.default_runs` writes.
"""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.ko.md")
_SLOT = re.compile(r"(<!-- results: (?P<name>\w+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def filled(text: str, results: Path) -> str:
    """`text` with every table between markers replaced by the one in `results`.

    Raises:
        FileNotFoundError: a marker names results that are not there.
    """

    def table(match: re.Match[str]) -> str:
        path = results / match["name"] / "summary.md"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: run python -m benchmarks.default_runs --name {match['name']}")
        return match[1] + path.read_text(encoding="utf-8") + match[3]

    return _SLOT.sub(table, text)


def main() -> None:
    for name in READMES:
        path = PROJECT / name
        path.write_text(filled(path.read_text(encoding="utf-8"), PROJECT / "results"), encoding="utf-8")
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
