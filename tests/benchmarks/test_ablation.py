"""What is published of a study is all that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.ablation import FILES, add, publish
from src.configs.variants import FULL
from src.training.ablation import write_study


def test_all_files_of_a_study_are_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_by = {"commit": "0", "hardware": "a laptop", "precision": "32-true", "torch": "2"}
    run = {**made_by, "scores": {"segmentation": {"fg_ari": 0.5}}}
    (tmp_path / "study").mkdir()
    write_study(tmp_path / "study", [FULL, "other"], [0], {(FULL, 0): run, ("other", 0): run}, {})
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == sorted(FILES)
    publish(tmp_path / "study", tmp_path / "results" / "ablation")
    for name in FILES:
        assert (tmp_path / "results" / "ablation" / name).read_bytes() == (tmp_path / "study" / name).read_bytes()


def test_further_seeds_stand_beside_those_published_before(tmp_path: Path) -> None:
    study, results = tmp_path / "study", tmp_path / "results"

    def write(folder: Path, seeds: list[int], hardware: str) -> None:
        folder.mkdir(exist_ok=True)
        made_by = {"commit": "0", "hardware": hardware, "precision": "32-true", "torch": "2"}
        runs = {
            (name, seed): {**made_by, "scores": {"segmentation": {"fg_ari": share + seed / 10}}}
            for name, share in ((FULL, 0.5), ("other", 0.25))
            for seed in seeds
        }
        write_study(folder, [FULL, "other"], seeds, runs, {"command": f"seeds {seeds}", "seconds": 1.5})

    write(study, [0, 2], "a server")
    with pytest.raises(ValueError, match="ablation.json does not exist; leave --add out"):
        add(study, results)
    write(results, [1], "a laptop")
    add(study, results)
    together = json.loads((results / "ablation.json").read_text(encoding="utf-8"))
    assert together["seeds"] == [0, 1, 2]
    assert together["values"]["FG-ARI"] == {FULL: [0.5, 0.6, 0.7], "other": [0.25, 0.35, 0.45]}
    assert (together["hardware"], together["seconds"]) == ("a laptop; a server", 3.0)
    write(study, [3], "a server")
    add(study, results)
    together = json.loads((results / "ablation.json").read_text(encoding="utf-8"))
    assert (together["hardware"], together["seconds"]) == ("a laptop; a server", 4.5)  # each named once
    write(study, [0, 1, 2, 3], "both")
    assert (results / "ablation.md").read_bytes() == (study / "ablation.md").read_bytes()
    with pytest.raises(ValueError, match=r"has seeds \[0, 1, 2, 3\] already"):
        add(study, results)
