"""What the benchmark installs is what the README says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.first_edit import PROJECT, timed, wanted


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_both_readmes_have_the_two_commands(readme: str) -> None:
    assert wanted((PROJECT / readme).read_text(encoding="utf-8")) == ["-r", "requirements.txt", "gradio>=6.10,<7"]


def test_a_readme_without_them_is_an_error() -> None:
    with pytest.raises(ValueError, match="README.md has no line"):
        wanted("pip install gradio")


def test_a_command_that_fails_ends_with_what_it_said(tmp_path: Path) -> None:
    assert timed([sys.executable, "-c", ""], tmp_path) > 0
    with pytest.raises(SystemExit, match="error: .*\nno such thing"):
        timed([sys.executable, "-c", "import sys; sys.exit('no such thing')"], tmp_path)
