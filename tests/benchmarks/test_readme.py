"""The READMEs' tables are the files in results/, and the two languages show the same commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.readme import PROJECT, READMES, filled


def blocks(name: str) -> list[str]:
    return re.findall(r"```.*?```", (PROJECT / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", READMES)
def test_tables_are_those_of_the_results(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    assert "<!-- results: shapes -->" in text
    assert filled(text, PROJECT / "results") == text


def test_both_languages_show_the_same_code() -> None:
    english, korean = (blocks(name) for name in READMES)
    assert len(english) > 5 and english == korean


def test_a_table_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.md").write_text("| new |\n", encoding="utf-8")
    text = "before\n<!-- results: run -->\n| old |\n<!-- /results -->\nafter\n"
    assert filled(text, tmp_path) == text.replace("old", "new")
    with pytest.raises(FileNotFoundError, match="summary.md is missing: run python -m benchmarks.default_runs"):
        filled(text.replace("run", "other"), tmp_path)
