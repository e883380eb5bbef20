"""What is published of a study is all that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ablation import FILES, publish
from src.configs.variants import FULL
from src.training.ablation import write_study


def test_all_files_of_a_study_are_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_by = {"commit": "0", "hardware": "a laptop", "precision": "32-true", "torch": "2"}
    run = {**made_by, "scores": {"segmentation": {"fg_ari": 0.5}}}
    (tmp_path / "study").mkdir()
    write_study(tmp_path / "study", [FULL, "other"], [0], {(FULL, 0): run, ("other", 0): run}, {})
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == sorted(FILES)
    publish(tmp_path / "study", tmp_path / "results" / "ablation")
    for name in FILES:
        assert (tmp_path / "results" / "ablation" / name).read_bytes() == (tmp_path / "study" / name).read_bytes()
