"""The benchmark compares methods that draw the same scenes, and writes down what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.sampling import METHODS, main
from src.models.transformer_decoder import AutoregressiveTransformer

TINY = [
    *("--scenes", "2", "--slots", "2", "--blocks", "2", "--codes", "5"),
    *("--embed-dim", "8", "--num-heads", "2", "--num-layers", "1"),
]


@pytest.mark.parametrize("name", METHODS)
def test_methods_draw_the_same_scenes(name: str) -> None:
    prior = AutoregressiveTransformer(3, 4, 7, embed_dim=16, num_heads=2, num_layers=2, dropout=0.5).eval()
    torch.nn.init.normal_(prior.head)
    expected = prior.sample(20, generator=torch.Generator().manual_seed(3))
    assert torch.equal(METHODS[name](prior, 20, torch.Generator().manual_seed(3)), expected)


def test_results_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "sampling.json"
    main([*TINY, "--rounds", "2", "--precision", "float32", "bf16", "--output", str(output)])
    printed = capsys.readouterr().out
    assert all(printed.count(name) >= 2 for name in METHODS)
    written = json.loads(output.read_text(encoding="utf-8"))
    assert written["command"].startswith("python -m benchmarks.sampling --scenes 2 ")
    for name in ("commit", "hardware", "torch", "threads", "date", "duration_s", "settings"):
        assert name in written
    assert [result["precision"] for result in written["results"]] == ["float32", "bf16"]
    for result in written["results"]:
        assert all(len(result[name]["seconds"]) == 2 for name in METHODS)
        assert result["prefix_over_cached"]["median"] > 0
    assert written["results"][0]["prefix"]["same_codes"] == 1
