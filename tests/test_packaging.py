"""What requirements.txt installs is what the package asks for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_both_lists_of_requirements_are_the_same() -> None:
    import tomllib

    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [re.sub(r"(torch>=[\d.]+),<.*", r"\1", line) for line in lines if not line.startswith("#")]
    assert listed == asked
