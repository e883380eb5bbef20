"""The rows of the speed table: measured at tiny sizes, compared fairly, printed and kept."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.speed.__main__ import main
from benchmarks.speed.data_loading import measure_loading
from benchmarks.speed.hardware import MatrixProduct
from benchmarks.speed.measurement import measure
from benchmarks.speed.memory import peak_memory
from benchmarks.speed.quantizer import measure_quantizer
from benchmarks.speed.rows import ROWS, Row
from benchmarks.speed.slot_attention import measure_slot_attention
from benchmarks.speed.timing import count_flop, interleave
from benchmarks.speed.train_step import start

from ..training.tiny import TINY

TINY_ROWS = (
    Row("quantizer", "a quantizer", partial(measure_quantizer, batch=3, num_codebooks=2, codebook_size=5, width=4)),
    Row(
        "slot_attention",
        "slot attention",
        partial(measure_slot_attention, batch=2, length=30, width=8, num_slots=3),
        against="the other",
        bar="≥ 1 ×",
    ),
)


def test_functions_take_turns_and_quick_ones_run_several_times() -> None:
    called: list[str] = []

    def sleeper(name: str, seconds: float):
        def sleep() -> None:
            called.append(name)
            time.sleep(seconds)

        return sleep

    seconds = interleave({"slow": sleeper("slow", 0.02), "quick": sleeper("quick", 0.002)}, rounds=2, at_least=0.01)
    assert called[:4] == ["slow", "slow", "quick", "quick"]  # before the rounds
    turns = [name for name, before in zip(called[4:], [None, *called[4:]], strict=False) if name != before]
    assert turns == ["slow", "quick", "slow"]  # the second round begins with the quick one
    assert called[4:].count("slow") == 2 and 4 <= called[4:].count("quick") <= 10
    assert all(0.02 <= each < 0.2 for each in seconds["slow"])
    assert all(0.002 <= each < 0.02 for each in seconds["quick"])


def test_products_are_counted_forward_and_backward() -> None:
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    assert count_flop(lambda: left @ right) == 2 * 3 * 4 * 5
    assert count_flop(lambda: (left @ right).sum().backward()) == 3 * 2 * 3 * 4 * 5


def test_a_product_measured_against_itself() -> None:
    product, other = MatrixProduct("float32", 128), MatrixProduct("float32", 128)
    found = measure(product, 5, peer=other, images=10, peer_images=5, hardware=MatrixProduct("float32", 128))
    assert found.work == 2 * 128**3
    assert found.share.median == pytest.approx(1, rel=0.5)
    assert found.times_faster is not None
    assert found.times_faster.median == pytest.approx(2, rel=0.5)  # the other makes half as many images in that time
    assert found.images_per_second == pytest.approx(10 / found.seconds.median)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_peak_memory_is_that_of_the_fresh_process_alone() -> None:
    mine = torch.ones(2**28, dtype=torch.uint8)  # what this process has must not count
    nothing = peak_memory("builtins:len", "word")
    assert 2**20 < nothing < len(mine)
    with pytest.raises(RuntimeError, match="builtins:no_such_name failed in a process of its own: AttributeError"):
        peak_memory("builtins:no_such_name")


@pytest.mark.parametrize("name", ["autoencoder", "prior"])
def test_a_step_trains(name: str) -> None:
    training = start(name, *TINY)
    before = {key: value.clone() for key, value in training.phase.model.named_parameters()}
    training.step()
    still = [key for key, value in training.phase.model.named_parameters() if torch.equal(value, before[key])]
    assert [key for key in still if "sketcher" not in key] == []  # at half of the steps there is no sketch
    assert training.batch_size == (4 if name == "autoencoder" else 8)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_is_compared_with_training_by_the_image(num_workers: int) -> None:
    found = measure_loading(
        2, num_workers, num_images=40, batch_size=4, side=16, calls=2, settings=(*TINY, "precision=float32")
    )
    assert found.images == 8 and found.work == 8 * 3 * 16**2 * 5
    assert found.times_faster is not None and found.times_faster.median > 0


def test_rows_are_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "speed.json"
    main(["--rounds", "2", "--output", str(output)], TINY_ROWS)
    written = json.loads(output.read_text(encoding="utf-8"))
    assert list(written) == ["quantizer", "slot_attention"]
    for found in written.values():
        assert found["share"]["median"] > 0 and found["times_faster"]["median"] > 0
        assert found.keys() >= {"commit", "made_on", "threads", "load_at_start", "duration_s", "date", "torch"}
    text = output.with_suffix(".md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "| slot attention | float32 |" in text and "the other: " in text and "≥ 1 ×" in text

    main(["--rounds", "1", "--only", "slot_attention", "--output", str(output)], TINY_ROWS)
    again = json.loads(output.read_text(encoding="utf-8"))
    assert again["quantizer"] == written["quantizer"]
    assert again["slot_attention"]["rounds"] == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--only", "nothing"], "invalid choice: 'nothing'"),
        (["--rounds", "0"], "must be at least 1, got 0"),
        (["--output", "speed.txt"], "must end in .json, got speed.txt"),
    ],
)
def test_wrong_words(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert error in capsys.readouterr().err


def test_names_of_rows_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
