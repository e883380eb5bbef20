"""The drill's own machinery, and a cheap case of each of its sections."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.drill import checkpoints, faults, kills, memory, tiny
from benchmarks.drill.__main__ import SECTIONS, main
from benchmarks.drill.case import Case, Settings
from benchmarks.drill.processes import Ended, run
from benchmarks.drill.record import page, record
from src.configs.launch import compose_config
from src.training.build import make_model
from src.training.checkpoint import AUTOENCODER, LAST, PRIOR, TrainingState, rng_state, save_checkpoint

FINE = Case("fine", "nothing", "nothing", "nothing", passed=True, numbers={"seconds": 0.5})


def good(work: Path, settings: Settings) -> Iterator[Case]:
    assert work.is_dir() and not list(work.iterdir())
    (work / "file").write_text("")
    yield FINE


def bad(work: Path, settings: Settings) -> Iterator[Case]:
    yield FINE
    yield Case("bad", "a | b", "c", "<img>\nd", passed=False)
    raise ZeroDivisionError("seed 0")


def test_an_error_of_a_section_is_a_case_that_failed(tmp_path: Path, capsys) -> None:
    shown: list[Case] = []
    made = record(bad, tmp_path, Settings(seed=3), "a command", "0123abc", shown.append)
    assert (
        [case.name for case in shown]
        == [case["name"] for case in made["each"]]
        == ["fine", "bad", "the section itself"]
    )
    assert (made["cases"], made["passed"], made["seed"], made["command"]) == (3, 1, 3, "a command")
    assert made["each"][-1]["happened"] == "ZeroDivisionError: seed 0"
    assert made["each"][0]["numbers"] == {"seconds": 0.5}


def test_a_section_that_is_run_leaves_the_others_in_the_files(tmp_path: Path, capsys) -> None:
    output = tmp_path / "results" / "drill.json"
    sections = {"good": good, "bad": bad}
    assert main(["--output", str(output)], sections) == 1
    before = json.loads(output.read_text())["sections"]
    assert list(before) == ["good", "bad"]
    assert main(["good", "--seed", "5", "--output", str(output)], sections) == 0
    after = json.loads(output.read_text())["sections"]
    assert after["bad"] == before["bad"] and after["good"]["seed"] == 5
    table = output.with_suffix(".md").read_text()
    assert "| good | 1 of 1 |" in table and "| bad | 1 of 3 |" in table


def test_a_cell_stays_a_cell(tmp_path: Path, capsys) -> None:
    text = page({"bad": record(bad, tmp_path, Settings(), "a command", "0123abc")})
    assert "| bad | a \\| b | c | &lt;img> d | **no** |" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "there is no section nothing; choose of: kills"),
        (["--kills", "0"], "must be at least 1"),
        (["--output", "drill.txt"], "must end in .json"),
    ],
)
def test_what_the_command_cannot_use(words, said, capsys) -> None:
    with pytest.raises(SystemExit):
        main(words, SECTIONS)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "err", "clear"),
    [
        (1, "bar\nerror: full\n", True),
        (2, "error: wrong\n", True),
        (0, "error: full\n", False),
        (-9, "error: full\n", False),
        (None, "error: full\n", False),
        (1, "error: full\nerror: full\n", False),
        (1, "error: full\nand more\n", False),
        (1, "Traceback (most recent call last):\nerror: full\n", False),
        (1, "", False),
    ],
)
def test_what_a_clear_end_is(code, err, clear) -> None:
    assert Ended(code, "", err).clear == clear


def test_moments_are_in_the_order_in_which_a_run_comes_by(tmp_path: Path) -> None:
    steps = [tiny.Begun(phase, step, 10.0 + step) for phase in (AUTOENCODER, PRIOR) for step in range(tiny.STEPS)]
    took = kills.durations(7.0, steps, 99.0)
    assert took["start", 0] == 3 and took["end", 0] == 99 - steps[-1].moment and took[AUTOENCODER, 3] == 1
    for processes in (1, 2):
        drawn = kills.moments(random.Random(1), 50, processes, took)
        assert drawn == kills.moments(random.Random(1), 50, processes, took) and len(drawn) == 50
        later = [(kills.ORDER.index(each.phase), each.step) for each in drawn if each.phase != kills.START]
        assert later == sorted(later)
        assert {each.phase for each in drawn} == set(kills.ORDER) and any(each.writing for each in drawn)
        assert {each.victims for each in drawn} == ({(0,)} if processes == 1 else {(0,), (1,), (0, 1)})


def test_steps_are_read_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert tiny.steps_of(path) == [] and tiny.last_step(path) is None
    path.write_text("".join(f"{AUTOENCODER} {step} {step}.5\n" for step in range(100)) + f"{PRIOR} 1")
    assert tiny.last_step(path) == tiny.steps_of(path)[-1] == tiny.Begun(AUTOENCODER, 99, 99.5)
    assert len(tiny.steps_of(path)) == 100


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A checkpoint of a training that stands in its second phase."""
    config = compose_config([word for word in tiny.TINY if not word.startswith("hydra.")])
    model = make_model(config.model)
    model.init_prior(8, 2, 1)
    state = TrainingState(PRIOR, 3, rng=[rng_state()])
    path = tmp_path / LAST
    save_checkpoint(path, model, step=3, metrics={"loss": 1.0}, config=asdict(config), state=state)
    return path


def test_bad_checkpoints_are_refused_from_python_and_run_nothing(tmp_path: Path, whole: Path) -> None:
    sentinel = tmp_path / "made_by_code"
    files = checkpoints.unusable(tmp_path / "files", whole, sentinel)
    for name, path in files.items():
        assert checkpoints.outcome(checkpoints.PYTHON["SVQ.from_pretrained"], path).startswith("refused"), name
    assert not sentinel.exists()
    said = checkpoints.outcome(checkpoints.PYTHON["load_checkpoint"], whole)
    assert said == "loads, differs"  # from nothing


def test_flipped_bits_never_change_what_is_read(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "FLIPS", 15)
    cases = list(checkpoints.flipped(tmp_path / "flipped", whole, random.Random(0)))
    assert len(cases) == 4 and all(case.passed for case in cases)
    assert all(sum(number or 0 for number in case.numbers.values()) == 15 for case in cases)


def test_differences_are_found() -> None:
    import torch

    one = {"a": torch.zeros(2), "b": [1, {"c": 2.0}]}
    assert checkpoints.same(one, {"a": torch.zeros(2), "b": [1, {"c": 2.0}]})
    assert not checkpoints.same(one, {"a": torch.tensor([0.0, 1e-30]), "b": [1, {"c": 2.0}]})
    assert not checkpoints.same(one, {"a": torch.zeros(2), "b": [1, {"c": 2}]})
    assert tiny.furthest({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 0.5])}) == 0.5
    assert tiny.furthest({"a": torch.zeros(2)}, {"b": torch.zeros(2)}) == float("inf")


@pytest.mark.slow
def test_a_killed_and_a_faulty_training(tmp_path: Path) -> None:
    for case in kills.kills(tmp_path / "kills", Settings(seed=1, kills=2)):
        assert case.passed, case
    spoiled = faults.Run(tmp_path / "spoiled", [])
    ended = spoiled.hit(AUTOENCODER, faults.spoil_gradient)
    assert faults.stopped("NaN", "", spoiled, ended, said="nan").passed
    (tmp_path / "memory").mkdir()
    for case in memory.growth(tmp_path / "memory", 2, 20, ()):
        assert case.passed, case


@pytest.mark.slow
def test_a_command_is_a_process_of_its_own(tmp_path: Path) -> None:
    ended = run("src.generate", ["checkpoint=nothing"], tmp_path / "output")
    assert ended.clear and "checkpoint nothing does not exist" in ended.said
    assert run("src.train", ["--help"], tmp_path / "output").code == 0
