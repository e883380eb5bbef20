"""The benchmark compares a run in one process with one in two, and writes down what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.two_processes import main

from ..training.tiny import TINY


@pytest.mark.slow
def test_differences_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "two_processes.json"
    few = ["training.steps=4", "training.eval_every=4", "training.prior.steps=4", "training.log_every=1"]
    main(["--quantize-at", "last", "--output", str(output), *TINY, *few])
    assert "quantize_at=last, two processes: losses differ by at most" in capsys.readouterr().out
    written = json.loads(output.read_text(encoding="utf-8"))
    found = written["results"]["last"]["two processes"]
    assert written["results"]["last"].keys() == {"two processes", "control"}
    assert {"autoencoder/loss", "autoencoder/recon_loss", "prior/loss"} <= found["curves_relative"].keys()
    assert max(found["curves_relative"].values()) < 1e-4
    assert found["codebook_absolute"] < 1e-4 < found["codebook_scale"]
    assert found["codes"] == 16 and found["codes_further_than_1e-4"] == 0
