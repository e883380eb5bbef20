from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from src.training.board import Board


def test_a_full_disk_is_one_error_and_no_traceback(tmp_path: Path, monkeypatch, capsys) -> None:
    from tensorboard.summary.writer import record_writer

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    hook = threading.excepthook
    with pytest.raises(OSError, match="No space left") as error, Board(tmp_path / "run") as board:
        board.scalars("phase", {"loss": 1.0}, 1)
        assert board.writer is not None
        board.writer.flush()
        monkeypatch.setattr(record_writer.RecordWriter, "write", full)
        for step in range(100):
            board.scalars("phase", {"loss": 1.0}, step)
            board.writer.flush()
    assert error.value.filename == str(tmp_path / "run")
    assert "Traceback" not in capsys.readouterr().err
    assert threading.excepthook is hook


def test_errors_of_other_threads_are_shown(tmp_path: Path, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    with Board(tmp_path / "run"):
        other = threading.Thread(target=(tmp_path / "nothing").read_text)
        other.start()
        other.join()
    assert len(shown) == 1
