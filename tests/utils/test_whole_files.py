from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.utils.whole_files import draft_of


def test_the_name_is_taken_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    with draft_of(path) as draft:
        draft.write_text("new")
        assert not path.exists() and draft.parent == path.parent
    assert path.read_text() == "new" and os.listdir(path.parent) == ["file.txt"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), draft_of(path) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]
