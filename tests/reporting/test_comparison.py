"""Two groups of two seeds, compared by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from src.evaluation.comparison import Measure
from src.reporting.comparison import compare_reports, group_names, grouped, interval_of_mean
from src.reporting.html_page import as_html
from src.reporting.markdown import as_markdown

from .test_html_page import assert_self_contained


def result(name: str, seed: int | None, ari: float | None, share: float, **config: Any) -> dict[str, Any]:
    settings = {} if seed is None else {"seed": seed, "model": {"num_slots": 5, **config}}
    return {
        "name": name,
        "seed": seed,
        "checkpoint": "best_model.pth",
        "commit": "0123456789abcdef",
        "split": "test",
        "seconds": {"total": 3.0},
        "data": {"name": "shapes"},
        "config": settings,
        "notes": [f"segmentation: {name}"],
        "scores": {
            "segmentation": {"of": {"deeper": 1}},
            "segmentation_details": {"decoder": {"fg_ari": {"mean": ari, "low": 0.8, "high": 1.0, "n": 9}}},
            "generation": {"share": share, "low": share - 0.1, "high": share + 0.1},
            "attribute_network": {"steps": 2000},
        },
    }


RUNS = [
    result("full_seed_0", 0, 0.90, 0.8),
    result("full_seed_1", 1, 0.94, 0.9),
    result("small_seed_1", 1, 0.90, 0.7, num_slots=3),
    result("small_seed_0", 0, 0.84, 0.5, num_slots=3),
]


def test_runs_that_differ_in_their_seed_only_are_one_group() -> None:
    configs = [run["config"] for run in RUNS]
    assert grouped(configs) == [[0, 1], [2, 3]]
    elsewhere = {**configs[1], "log_dir": "there", "device": "cuda", "seed": 7}
    assert grouped([configs[0], elsewhere]) == [[0, 1]]
    assert grouped([{}, {}]) == [[0], [1]]  # nobody knows


def test_groups_are_called_what_tells_them_apart() -> None:
    groups = [[0, 1], [2, 3]]
    assert group_names(RUNS, groups) == ["full", "small"]
    alike = [{**run, "name": f"seed_{run['seed']}"} for run in RUNS]
    assert group_names(alike, groups) == ["as given", "num_slots=3"]


def test_differences_are_paired_by_seed_whatever_their_order() -> None:
    content, page = compare_reports(RUNS)
    own = content["headline"]["FG-ARI"]
    assert own["full"]["mean"] == pytest.approx(0.92) and own["small"]["mean"] == pytest.approx(0.87)
    assert own["full"]["std"] == pytest.approx(0.0282843, abs=1e-6)
    assert own["small"]["values"] == {"1": 0.90, "0": 0.84}
    difference = own["small"]["difference"]  # 0.84 - 0.90 and 0.90 - 0.94
    assert difference["mean"] == pytest.approx(-0.05) and difference["n"] == 2
    assert difference["low"] == pytest.approx(-0.06) and difference["high"] == pytest.approx(-0.04)
    assert own["full"]["difference"] is None
    assert content["headline"]["well-formed samples, %"]["full"]["mean"] == pytest.approx(85)
    assert content["numbers"]["segmentation.of.deeper"]["small"]["mean"] == 1
    assert not any(name.startswith("attribute_network") for name in content["numbers"])
    text = as_markdown(page)
    assert "| FG-ARI | 0.920 ± 0.028 | 0.870 ± 0.042 |" in text
    assert "| FG-ARI | -0.050 [-0.060, -0.040], d = -3.5 |" in text
    assert "full_seed_0: segmentation: full_seed_0" in text
    assert "|  | small, 2 pairs |" in text
    assert "Of fewer than 6 pairs the bootstrap interval is too narrow" in text
    # t(0.975, 1) = 12.706, standard errors 0.02 and 0.03
    assert "**95 % interval of the mean over seeds (Student's t)**" in text
    assert "| FG-ARI | 0.666–1.174 | 0.489–1.251 |" in text
    assert "| decoder · FG-ARI | 0.920 ± 0.0283 | 0.870 ± 0.0424 |" in text
    assert not any(name.endswith((".low", ".high", ".n")) for name in content["numbers"])
    assert_self_contained(as_html(page))


def test_the_runs_say_which_file_each_is_of_and_lead_to_its_report(tmp_path: Path) -> None:
    told = {"path": "runs/full/seed_0/best_model.pth", "sha256": "f" * 64, "checkpoint_commit": "9876543210abcdef"}
    pages = [f"{run['name']}/report.html" for run in RUNS]
    for place in pages:
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).touch()
    content, page = compare_reports([RUNS[0] | told, *RUNS[1:]], pages)
    assert content["groups"]["full"][0] == {"name": "full_seed_0", "seed": 0, "commit": "0123456789abcdef", **told}
    text = as_markdown(page)
    assert f"| full_seed_0 | full | 0 | {told['path']} | ffffffffff | 9876543210 | 0123456789 | 3 s |" in text
    assert "| full_seed_1 | full | 1 | best_model.pth | – | – | 0123456789 | 3 s |" in text  # an older report
    assert "[small_seed_1](small_seed_1/report.html)" in text
    found = assert_self_contained(as_html(page), tmp_path)
    assert set(pages) <= {link.get("href") for link in found.every("a")}
    assert "report.html" not in as_markdown(compare_reports(RUNS)[1])


def test_seeds_of_one_setting_get_a_column_each() -> None:
    content, page = compare_reports(RUNS[:2])
    text = as_markdown(page)
    # t(0.975, 1) = 12.706, standard error 0.02
    assert "| FG-ARI | 0.900 | 0.940 | 0.920 ± 0.028 | 0.666–1.174 |" in text
    assert list(content["groups"]) == ["full"] and "Differences" not in text
    assert interval_of_mean([1.0]) == (None, None)
    assert interval_of_mean([88.0, 100.0], Measure("right, %", ("right",), 100).limits) == (
        pytest.approx(17.76, abs=0.01),
        100.0,
    )
    assert Measure("x, R²", ("r2",)).limits == (-math.inf, 1.0)
    assert Measure("PSNR, dB", ("psnr",)).limits == (-math.inf, math.inf)
    assert Measure("MSE", ("mse",), higher_is_better=False).limits == (0.0, math.inf)
    assert interval_of_mean([0.90, 0.94]) == pytest.approx((0.92 - 12.7062 * 0.02, 0.92 + 12.7062 * 0.02), abs=1e-4)


def test_groups_without_common_seeds_or_scores_have_no_differences() -> None:
    content, page = compare_reports([RUNS[0], result("small_seed_5", 5, None, 0.5, num_slots=3)])
    small = content["headline"]["FG-ARI"]["small"]
    assert small["mean"] is None and small["difference"] is None
    assert content["headline"]["well-formed samples, %"]["small"]["difference"] is None
    text = as_markdown(page)
    assert "| FG-ARI | – |" in text and "|  | small, 0 pairs |" in text
    assert "small has no seed in common with full (5 against 0), so there are no pairs" in text
    assert "bootstrap interval is too narrow" not in text and "Student" not in text


def test_what_few_pairs_say_is_said() -> None:
    one = as_markdown(compare_reports([RUNS[0], RUNS[1], RUNS[2]])[1])
    assert "|  | small, 1 pair |" in one and "small makes one pair with full: how far its differences are chance" in one
    lacking = [RUNS[0], RUNS[1], RUNS[2], result("small_seed_0", 0, None, 0.5, num_slots=3)]
    text = as_markdown(compare_reports(lacking)[1])
    assert "| FG-ARI | -0.040 (1 pair) |" in text and "|  | small, 2 pairs |" in text
    none = [RUNS[0], RUNS[1], *(result(f"small_seed_{seed}", seed, None, 0.5, num_slots=3) for seed in (0, 1))]
    assert "small: – stands where one run of every pair lacks the number" in as_markdown(compare_reports(none)[1])


def test_converted_checkpoints_have_no_seed_and_are_groups_of_their_own() -> None:
    content, page = compare_reports([result("one", None, 0.5, 0.5), result("two", None, 0.6, 0.5)])
    assert list(content["groups"]) == ["one", "two"]
    assert content["headline"]["FG-ARI"]["two"]["values"] == {"run 1": 0.6}
    assert_self_contained(as_html(page))
