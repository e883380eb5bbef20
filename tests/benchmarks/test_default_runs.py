"""The published tables say what the files beside them say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.default_runs import BARS, RESULTS, ROWS, is_there, run_seed, summarize
from src.configs.launch import compose_config, plain

SERIES = sorted(path.parent.name for path in RESULTS.glob("*/summary.md"))


@pytest.mark.parametrize("name", SERIES)
def test_a_published_table_is_that_of_its_files(name: str) -> None:
    assert summarize(RESULTS / name) == (RESULTS / name / "summary.md").read_text(encoding="utf-8")


def test_every_bar_belongs_to_a_row() -> None:
    labels = {label for label, *_ in ROWS}
    assert len(labels) == len(ROWS)
    assert all(bars.keys() <= labels for bars in BARS.values())


def test_a_table_of_two_seeds(tmp_path: Path) -> None:
    made = {"hardware": "a laptop", "torch": "2.0", "precision": "bf16-mixed", "commit": "0123456789abc"}
    for seed, minutes, ari in ((0, 10, 0.9), (1, 12, None)):
        run = {"wall_seconds": 60 * minutes, **made, "scores": {"segmentation": {"fg_ari": ari}}}
        (tmp_path / f"seed_{seed}.json").write_text(json.dumps(run))
    lines = summarize(tmp_path).splitlines()
    assert lines[0] == "Seeds: 2. a laptop. PyTorch 2.0, bf16-mixed, commit 0123456789."
    assert "| process start to exit, minutes |  | 10.0 | 12.0 | 11.0 ± 1.4 |" in lines
    assert "| FG-ARI of arg-max masks |  | 0.900 | – | 0.900 |" in lines
    assert "| mIoU |  | – | – | – |" in lines


def test_a_setting_that_came_later_had_its_default_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.default_runs.PROJECT", tmp_path)
    config = plain(compose_config(["seed=3"]))
    del config["model"]["salience"], config["data"]["path"], config["training"]["gumbel"]
    (tmp_path / "seed_3.json").write_text(json.dumps({"config": config, "commit": "old"}))
    assert is_there(3, tmp_path, []) and not is_there(4, tmp_path, [])
    for words, said in (
        (["model.salience=false"], "model.salience=True, not False"),
        (["model.num_slots=7"], "=5, not 7"),
    ):
        with pytest.raises(SystemExit, match=said):
            is_there(3, tmp_path, words)


# In place of the training command: what a run leaves and says that took so many seconds, those before a stop included.
RUN = """#!{python}
import json, pathlib
from PIL import Image
folder = pathlib.Path("logs/run")
folder.mkdir(parents=True)
(folder / "results.json").write_text(json.dumps({{"seconds": {{"total": {seconds}}}}}))
Image.new("RGB", (3, 2)).save(folder / "samples.png")
print("wrote logs/run/results.json\\nwrote logs/run/samples.png")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
@pytest.mark.parametrize("seconds", [0.0, 5000.0])
def test_a_resumed_seed_took_what_it_took_before_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    program = tmp_path / "python"
    program.write_text(RUN.format(python=sys.executable, seconds=seconds))
    program.chmod(0o755)
    monkeypatch.setattr("benchmarks.default_runs.PROJECT", tmp_path)
    monkeypatch.setattr("sys.executable", str(program))
    run_seed(3, tmp_path / "series", ["data=shapes"])
    written = json.loads((tmp_path / "series" / "seed_3.json").read_text())
    assert written["wall_seconds"] == 5000 if seconds else written["wall_seconds"] < 1000
    with Image.open(tmp_path / "series" / "seed_3" / "samples.png") as picture:
        assert picture.size == (3, 2)
