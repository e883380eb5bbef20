"""What is written beside numbers says what made them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from src.training import results


def test_a_changed_file_shows_in_the_commit_and_a_new_result_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(results, "PROJECT", tmp_path.resolve())
    assert results.commit() is None
    (tmp_path / "results").mkdir()
    for name in ("model.py", "results/scores.json"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    clean = results.commit()
    assert clean is not None and len(clean) == 40
    for name in ("results/scores.json", "results/new.json"):
        (tmp_path / name).write_text("2", encoding="utf-8")
    assert results.commit() == clean
    (tmp_path / "model.py").write_text("2", encoding="utf-8")
    assert results.commit() == f"{clean}-dirty"
