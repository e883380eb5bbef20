from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from src.utils.whole_files import draft_of, remove_drafts


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


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left.*file\.txt") as error, draft_of(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "file.txt")


def test_drafts_of_killed_processes_go_and_no_others(tmp_path: Path) -> None:
    for name in (".file[1].txt.123.tmp", ".file1.txt.123.tmp", ".another.txt.123.tmp", "file[1].txt"):
        (tmp_path / name).write_text("half")
    remove_drafts(tmp_path / "file[1].txt")
    assert sorted(os.listdir(tmp_path)) == [".another.txt.123.tmp", ".file1.txt.123.tmp", "file[1].txt"]
