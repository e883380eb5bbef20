"""The notebook runs from end to end, its settings are known, and it is small."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from src.configs.launch import compose_config
from website import notebook

from .pages import broken_links, missing_names

SHRINK = """
settings += [
    "model.slot_size=20", "model.hidden_dim=8", "model.num_iterations=1", "data.num_train=64", "data.num_val=16",
    "visualization.dpi=40", "training.prior.embed_dim=16",
]
"""


def test_its_settings_are_known_and_its_links_lead_somewhere() -> None:
    whole = notebook.read()
    names: dict = {}
    exec(notebook.parameters(whole).source, names)
    config = compose_config(names["settings"])
    assert config.name == "quickstart" and config.training.steps == names["steps"]
    for cell in whole.cells:
        if cell.cell_type == "code":
            assert list(missing_names(cell.source)) == []
        else:
            assert broken_links("notebooks/quickstart.ipynb", cell.source) == []


def test_it_is_small_and_tells_nothing_of_a_machine() -> None:
    assert notebook.NOTEBOOK.stat().st_size < 300_000
    whole = notebook.read()
    before = copy.deepcopy(whole)
    notebook.tidy(whole)
    assert whole == before, "run: python -m website.notebook"


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a few steps of a tiny model: every cell, in a process of its own, as Jupyter would."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    whole = notebook.read()
    cell = notebook.parameters(whole)
    first, rest = cell.source.split("\n", 1)
    assert first.startswith("steps, prior_steps = ")
    cell.source = f"steps, prior_steps = 20, 20\n{rest}\n{SHRINK}"
    notebook.execute(whole, tmp_path)
    assert (tmp_path / "checkpoints" / "quickstart" / "best_model.pth").exists()
    pictures = [out for cell in whole.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(pictures) == 3
