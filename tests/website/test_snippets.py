"""The Python of every page runs, one piece after the other, where a small training has left its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from src.data.toy_datasets import ShapesDataset
from src.models import code_model
from src.models.catalogue import MODELS
from src.models.svq_model import SVQ
from src.training.checkpoint import save_checkpoint

from .pages import PAGES, blocks, read

ELSEWHERE = {
    *("README.md", "README.ko.md"),  # tests/benchmarks/test_readme.py
    "docs/clusters.md",  # tests/test_clusters.py, with several processes
}
NEEDS_EXPORTED = "exported/"  # tests/training/test_exporting.py runs these, with exported files
PAGES_TO_RUN = [page for page in PAGES if page not in ELSEWHERE and blocks(read(page), "python")]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a checkpoint, the results of a run and some pictures."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = SVQ(num_slots=3, slot_size=16, num_codebooks=2, codebook_size=8, code_dim=8, hidden_dim=8)
    model.init_prior(embed_dim=8, num_heads=1, num_layers=1)
    save_checkpoint(tmp_path / "checkpoints" / "best_model.pth", model, step=0, metrics={}, config={})
    results = {"seed": 0, "scores": {"segmentation": {"fg_ari": 0.5}}, "config": {"training": {"steps": 1}}}
    for folder in ("logs/svq/now", "photos"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "logs/svq/now/results.json").write_text(json.dumps(results), encoding="utf-8")
    for number, image in enumerate(ShapesDataset(num_samples=6, image_size=32).images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def test_there_are_pages_to_run() -> None:
    assert {"docs/own_parts.md", "docs/quick_start.md", "docs/generation.md"} <= set(PAGES_TO_RUN)


@pytest.mark.parametrize("page", PAGES_TO_RUN)
def test_python_runs(page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_model, "upload", lambda *_: "no hub is asked")
    known, names = dict(MODELS), {"__name__": "__main__"}
    try:
        for code in blocks(read(page), "python"):
            if NEEDS_EXPORTED in code:
                continue
            exec(compile(code, page, "exec"), names)
    finally:  # models that the page has added are forgotten
        MODELS.clear()
        MODELS.update(known)
