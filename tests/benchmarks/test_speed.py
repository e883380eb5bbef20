"""The rows of the speed table: measured at tiny sizes, compared fairly, printed and kept."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.speed.__main__ import main
from benchmarks.speed.data_loading import measure_loading
from benchmarks.speed.hardware import MatrixProduct, MemoryCopy
from benchmarks.speed.measurement import measure
from benchmarks.speed.memory import peak_memory
from benchmarks.speed.quantizer import measure_quantizer
from benchmarks.speed.rows import ROWS, Row
from benchmarks.speed.slot_attention import measure_slot_attention
from benchmarks.speed.timing import Spread, count_flop, interleave
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


class Clock:
    """A clock that only its own calls move on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.called = 0.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def call(self, name: str, seconds: float) -> Callable[[], None]:
        def take_time() -> None:
            self.called.append(name)
            self.now += seconds

        return take_time


def test_functions_take_turns_and_quick_ones_run_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    seconds = interleave({"slow": clock.call("slow", 2.0), "quick": clock.call("quick", 0.25)}, rounds=2, at_least=1.0)
    before, rounds = clock.called[:4], clock.called[4:]
    assert before == ["slow", "slow", "quick", "quick"]
    assert rounds == ["slow", *["quick"] * 4, *["quick"] * 4, "slow"]  # the second round begins with the other
    assert seconds == {"slow": [2.0, 2.0], "quick": [0.25, 0.25]}


def test_products_are_counted_forward_and_backward() -> None:
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    assert count_flop(lambda: left @ right) == 2 * 3 * 4 * 5
    assert count_flop(lambda: (left @ right).sum().backward()) == 3 * 2 * 3 * 4 * 5


def test_a_convolution_is_counted_where_only_part_wants_a_gradient() -> None:
    convolution = torch.nn.Conv2d(2, 3, 5, padding=2)
    image = torch.randn(1, 2, 8, 8)

    def call() -> None:
        with torch.no_grad():
            convolution(image)
        convolution(image).sum().backward()  # the image wants none: once more for the weights

    assert count_flop(call) == 3 * 2 * (3 * 8 * 8) * (2 * 5 * 5)


def test_shares_and_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    hardware = MatrixProduct("float32", size=4)
    monkeypatch.setattr(MatrixProduct, "__call__", lambda _: clock.call("hardware", 2.0)())
    found = measure(
        clock.call("ours", 5.0),
        rounds=3,
        peer=clock.call("peer", 20.0),
        images=10,
        peer_images=5,
        hardware=hardware,
        work=64,
    )
    assert hardware.work == 2 * 4**3 and found.hardware_rate == Spread(64, 64, 64)
    assert found.share == Spread(0.2, 0.2, 0.2)  # 64 FLOP take the hardware 1 s and us 5
    assert found.times_faster == Spread(8, 8, 8)  # four times as long for half of the images
    assert found.images_per_second == 2
    known = measure(clock.call("ours", 5.0), rounds=3, peer=12.5, hardware=hardware, work=64)
    assert known.times_faster == Spread(2.5, 2.5, 2.5)


def test_the_hardware_does_the_work_that_it_says() -> None:
    product, copy = MatrixProduct("bf16", size=8), MemoryCopy(64)
    assert product.work == count_flop(product)
    torch.testing.assert_close(product.out, product.left @ product.right)
    copy()
    assert copy.target.equal(torch.ones(64, dtype=torch.uint8)) and copy.work == 128


@pytest.mark.skipif(sys.platform == "win32", reason="it is not told there, and is None: the next test")
def test_peak_memory_is_that_of_the_fresh_process_alone() -> None:
    mine = torch.ones(2**28, dtype=torch.uint8)  # what this process has must not count
    nothing = peak_memory("builtins:len", "word")
    assert 2**20 < nothing < len(mine)
    with pytest.raises(RuntimeError, match="builtins:no_such_name failed in a process of its own: AttributeError"):
        peak_memory("builtins:no_such_name")


def test_peak_memory_is_left_out_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory("builtins:no_such_name") is None


@pytest.mark.parametrize("name", ["autoencoder", "prior"])
def test_a_step_trains(name: str) -> None:
    training = start(name, *TINY)
    before = {key: value.clone() for key, value in training.phase.model.named_parameters()}
    training.step()
    still = [key for key, value in training.phase.model.named_parameters() if torch.equal(value, before[key])]
    assert [key for key in still if "sketcher" not in key] == []  # at half of the steps there is no sketch
    assert training.batch_size == (4 if name == "autoencoder" else 8)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_is_compared_with_training_by_the_image(num_workers: int) -> None:
    found = measure_loading(
        2, num_workers=num_workers, num_images=40, batch_size=4, side=16, calls=2, settings=(*TINY, "precision=float32")
    )
    assert found.images == 8 and found.work == 8 * 3 * 16**2 * 5
    assert found.times_faster is not None and found.times_faster.median > 0


@pytest.mark.slow
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
        (["--only", "paper_batch"], "paper_batch is measured with --device cuda alone"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_wrong_words(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert error in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cuda"])
    assert "error: device=cuda is not available here" in capsys.readouterr().err.splitlines()[-1]


def test_names_of_rows_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
