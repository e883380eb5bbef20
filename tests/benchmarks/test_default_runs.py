"""The published tables say what the files beside them say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.default_runs import BARS, RESULTS, ROWS, summarize

SERIES = sorted(path.parent.name for path in RESULTS.glob("*/summary.md"))


@pytest.mark.parametrize("name", SERIES)
def test_a_published_table_is_that_of_its_files(name: str) -> None:
    assert summarize(RESULTS / name) == (RESULTS / name / "summary.md").read_text(encoding="utf-8")


def test_every_bar_belongs_to_a_row() -> None:
    labels = {label for label, *_ in ROWS}
    assert len(labels) == len(ROWS)
    assert all(bars.keys() <= labels for bars in BARS.values())


def test_a_table_of_two_seeds(tmp_path: Path) -> None:
    made = {"hardware": "a laptop", "torch": "2.0", "precision": "bf16-mixed", "commit": "0123456789abc"}
    for seed, minutes, ari in ((0, 10, 0.9), (1, 12, None)):
        run = {"wall_seconds": 60 * minutes, **made, "scores": {"segmentation": {"fg_ari": ari}}}
        (tmp_path / f"seed_{seed}.json").write_text(json.dumps(run))
    lines = summarize(tmp_path).splitlines()
    assert lines[0] == "Seeds: 2. a laptop. PyTorch 2.0, bf16-mixed, commit 0123456789."
    assert "| process start to exit, minutes |  | 10.0 | 12.0 | 11.0 ± 1.4 |" in lines
    assert "| FG-ARI of arg-max masks |  | 0.900 | – | 0.900 |" in lines
    assert "| mIoU |  | – | – | – |" in lines
