"""The time that is kept is that of the whole process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report_time import main


@pytest.mark.slow
def test_a_report_is_timed(tmp_path: Path) -> None:
    output = tmp_path / "time.json"
    main(["--output", str(output), "sections=[reconstruction]", "data.num_train=64", "data.num_test=16"])
    result = json.loads(output.read_text(encoding="utf-8"))
    assert result["command"].startswith("python -m src.evaluate checkpoint=shapes sections=[reconstruction]")
    seconds = result["seconds"]
    assert 0 < seconds["section reconstruction"] <= seconds["total"] < seconds["process"]


def test_a_report_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--output", str(tmp_path / "time.json"), "sections=[none]"])
    assert caught.value.code == 2
    assert not list(tmp_path.iterdir())
