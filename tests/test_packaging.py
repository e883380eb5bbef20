"""What requirements.txt installs is what the package asks for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_both_lists_of_requirements_are_the_same() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (dependencies,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    asked = re.findall(r'^ *"(.+?)"', dependencies, re.MULTILINE)  # tomllib is new in Python 3.11
    assert len(asked) > 5
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [re.sub(r"(torch>=[\d.]+),<.*", r"\1", line) for line in lines if not line.startswith("#")]
    assert listed == asked


def test_the_tests_have_what_the_extras_ask_for() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r"^\[project.optional-dependencies\]\n(.*?)^\[", project, re.DOTALL | re.MULTILINE)
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    asked = re.findall(r'"(.+?)"', extras)
    assert len(asked) > 4 and set(asked) <= set(lines)
