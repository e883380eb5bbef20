"""Published pictures keep their pixels, in fewer bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import shrink
from src.utils.visualization import codebook_use, save_figure


def figure(path: Path) -> Path:
    counts = np.random.default_rng(0).integers(0, 20, (4, 32))
    return save_figure(codebook_use(counts), path)


def test_pixels_stay_and_bytes_go(tmp_path: Path) -> None:
    pytest.importorskip("oxipng")
    path = figure(tmp_path / "picture.png")
    before, bytes_before = np.asarray(Image.open(path).convert("RGB")), path.stat().st_size
    (tmp_path / "table.md").write_text("text")
    shrink(tmp_path.iterdir())
    assert path.stat().st_size < 0.8 * bytes_before
    assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), before)
    assert (tmp_path / "table.md").read_text() == "text"


def test_without_the_package_they_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oxipng", None)
    path = figure(tmp_path / "picture.png")
    before = path.read_bytes()
    shrink([path])
    assert path.read_bytes() == before
