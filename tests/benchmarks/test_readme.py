"""The READMEs' numbers are those of results/, their Python runs, and the two languages show the same commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.readme import PAGES, PROJECT, READMES, filled
from src.models.svq_model import SVQ
from src.training.checkpoint import save_checkpoint

NO_MEASUREMENTS = {"3.10", "2402.01203"}  # of Python, of arXiv


def read(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[str]:
    return re.findall(r"```.*?```", read(name), re.DOTALL)


def unbacked_numbers(text: str) -> list[str]:
    """Decimals and shares in `text` that stand neither between markers of results nor in code or addresses."""
    for backed in (
        r"<!-- (results|number): .*?<!-- /\1 -->",
        r"```.*?```",
        r"`[^`]*`",
        r"\]\([^)]*\)",
    ):
        text = re.sub(backed, "", text, flags=re.DOTALL)
    return [found for found in re.findall(r"\d+\.\d+|\d+(?= ?%)", text) if found not in NO_MEASUREMENTS]


@pytest.mark.parametrize("name", READMES)
def test_tables_are_those_of_the_results(name: str) -> None:
    text = read(name)
    assert "<!-- results: shapes/summary.md -->" in text
    assert filled(text, PROJECT / "results") == text


def test_the_page_of_results_is_that_of_the_results() -> None:
    text = read("docs/results.md")
    assert text.count("<!-- results: ") >= 4 and filled(text, PROJECT / "results") == text


@pytest.mark.parametrize("name", PAGES)
def test_no_number_without_a_file_behind_it(name: str) -> None:
    assert unbacked_numbers(read(name)) == []


def test_a_number_typed_by_hand_is_found() -> None:
    typed = "FG-ARI is 0.95, of 97 % and 4% (Python 3.10, `0.2`), <!-- number: a b .1f -->0.3<!-- /number -->."
    assert unbacked_numbers(typed) == ["0.95", "97", "4"]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_into_the_project_leads_somewhere(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s#]+)", read(name)) if "://" not in link]
    assert len(links) > (10 if name in READMES else 1)
    assert [link for link in links if not ((PROJECT / name).parent / link).exists()] == []


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SVQ(num_slots=3, slot_size=16, num_codebooks=2, codebook_size=8, code_dim=8, hidden_dim=8)
    model.init_prior(embed_dim=8, num_heads=1, num_layers=1)
    save_checkpoint(tmp_path / "checkpoints" / "best_model.pth", model, step=0, metrics={}, config={})
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    assert len(snippets) == 2
    for code in snippets:
        exec(code.replace("num_samples=1000", "num_samples=64"), {"__name__": "__main__"})


def test_both_languages_show_the_same_code() -> None:
    english, korean = (blocks(name) for name in READMES)
    assert len(english) > 5 and english == korean


def test_a_table_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.md").write_text("| new |\n", encoding="utf-8")
    text = "before\n<!-- results: run/summary.md -->\n| old |\n<!-- /results -->\nafter\n"
    assert filled(text, tmp_path) == text.replace("old", "new")
    with pytest.raises(FileNotFoundError, match="summary.md is missing: run the command"):
        filled(text.replace("run", "other"), tmp_path)


def test_a_number_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"scores": {"share": 0.1234}}', encoding="utf-8")
    text = "so <!-- number: run.json scores.share .1% -->?<!-- /number --> of them"
    assert filled(text, tmp_path) == text.replace("?", "12.3 %")
    assert filled(text.replace("share .1%", "share/2 .3f"), tmp_path).count("0.062") == 1
    with pytest.raises(KeyError, match="run.json has no scores.part: there is no part among share"):
        filled(text.replace("scores.share", "scores.part"), tmp_path)
