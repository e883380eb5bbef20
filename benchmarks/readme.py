"""Fills the tables and numbers of the READMEs and of pages in docs/ from `results/`; none of them is typed by hand.

    python -m benchmarks.readme

Between `<!-- results: shapes/summary.md -->` and `<!-- /results -->` goes that file of `results/`. Between
`<!-- number: shapes/seed_0.json scores.segmentation.miou .3f -->` and `<!-- /number -->` goes one number of it: the
keys that lead there, and how Python is to format it (`.1%` gives per cent); `wall_seconds/60` divides it.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from src.configs.arguments import Parser

PROJECT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.ko.md")
PAGES = (*READMES, "docs/results.md", "docs/demo.md")
_FILE = re.compile(r"(<!-- results: (?P<file>\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)
_NUMBER = re.compile(
    r"(?P<marker><!-- number: (?P<file>\S+) (?P<keys>[^\s/]+)(/(?P<divisor>\d+))? (?P<format>\S+) -->)"
    r".*?(?P<end><!-- /number -->)",
    re.DOTALL,
)


def filled(text: str, results: Path) -> str:
    """`text` with everything between markers replaced by what `results` has.

    Raises:
        FileNotFoundError: a marker names a file that is not there.
        KeyError: a marker names a number that is not in its file.
    """

    def table(match: re.Match[str]) -> str:
        return match[1] + _read(results / match["file"]) + match[3]

    def number(match: re.Match[str]) -> str:
        value = json.loads(_read(results / match["file"]))
        for key in match["keys"].split("."):
            if key not in value:
                raise KeyError(f"{match['file']} has no {match['keys']}: there is no {key} among {', '.join(value)}")
            value = value[key]
        value /= int(match["divisor"] or 1)
        return match["marker"] + f"{value:{match['format']}}".replace("%", " %") + match["end"]

    return _NUMBER.sub(number, _FILE.sub(table, text))


def _read(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the command of benchmarks/ that writes it")
    return path.read_text(encoding="utf-8")


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for name in PAGES:
        path = PROJECT / name
        path.write_text(filled(path.read_text(encoding="utf-8"), PROJECT / "results"), encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
