from __future__ import annotations

import time

import pytest

from src.utils import progress
from src.utils.progress import progress_bar


def test_without_a_terminal_every_refresh_is_a_line(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with progress_bar("counting", 3, initial=1, unit="sheep") as bar:
        bar.update()
        bar.update()
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert "\r" not in said and all(line.startswith("counting: ") for line in lines)
    assert "1/3" in lines[0] and "3/3" in lines[-1] and "sheep" in lines[-1]


def test_a_disabled_bar_says_nothing(capsys):
    with progress_bar("counting", 3, enabled=False) as bar:
        bar.update(3)
        bar.set_postfix({"loss": "1"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_is_set_changes_no_bar(capsys, monkeypatch, hours):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    true = time.time
    with progress_bar("counting", 3) as bar:
        bar.update()
        monkeypatch.setattr("tqdm.std.time", lambda: true() + 3600 * hours)
        bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert "2/3 [00:00<00:00" in lines[-1]
