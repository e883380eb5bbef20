"""What is published of a series of reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.reports import BARS, MINUTES, RESULTS, summarize
from src.reporting.sections import HEADLINE

from ..reporting.test_comparison import result

PUBLISHED = sorted(path.parent for path in RESULTS.glob("*/report/summary.md"))


def test_a_table_of_two_seeds(tmp_path: Path) -> None:
    for seed, ari in ((0, 0.9), (1, 0.94)):
        made = {"hardware": "a laptop", "torch": "2.0", "precision": "bf16", "seconds": {"total": 60 * (1 + seed)}}
        folder = tmp_path / f"seed_{seed}"
        folder.mkdir()
        run = result(f"shapes_seed_{seed}", seed, ari, 0.8) | made
        (folder / "report.json").write_text(json.dumps(run), encoding="utf-8")
    lines = summarize(tmp_path, "shapes").splitlines()
    assert lines[0] == (
        "Seeds: 2. a laptop. PyTorch 2.0, bf16, commit 0123456789. The longest report took 2.0 minutes."
    )
    assert lines[2] == "|  | bar | seed 0 | seed 1 | mean ± std | 95 % interval of the mean |"
    assert any(line.startswith("| FG-ARI |  | 0.900 | 0.940 | 0.920 ± 0.028 |") for line in lines)
    assert lines[-1] == f"| {MINUTES} | ≤ 5 | 1.0 | 2.0 | 1.5 ± 0.7 | – |"
    assert sorted(path.name for path in tmp_path.glob("comparison*")) == [
        *("comparison.json", "comparison.md", "comparison.png"),
    ]


def test_every_bar_belongs_to_a_row() -> None:
    labels = {MINUTES, *(measure.label for measure in HEADLINE)}
    assert all(bars.keys() <= labels for bars in BARS.values())


def test_without_a_report_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no report in"):
        summarize(tmp_path, "shapes")


@pytest.mark.parametrize("folder", PUBLISHED)
def test_a_published_table_is_that_of_its_reports(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("seed_*/report.json"):
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir()
        copy.write_bytes(path.read_bytes())
    assert summarize(tmp_path, folder.parent.name) == (folder / "summary.md").read_text(encoding="utf-8")
