"""The drill's bad inputs: of every command, and judged as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.drill import inputs
from benchmarks.drill.processes import Ended
from benchmarks.drill.things import SENTINEL, make_things

ROOT = Path(__file__).parents[2]
CALLS = [(wrong, *call) for wrong, calls in inputs.CALLS.items() for call in calls]


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> Path:
    return make_things(tmp_path_factory.mktemp("drill") / "things")


def test_there_are_a_hundred_over_every_command():
    lines = [line for lines in inputs.COMMANDS.values() for line, _ in lines]
    assert len(lines) == len(set(lines)) >= 100
    asked = {line.split()[0] for line in lines}
    commands = {f"src.{path.stem}" for path in (ROOT / "src").glob("*.py")} - {"src.__init__"}
    commands |= {
        f"{path.parent.name}.{path.stem}"
        for folder in ("benchmarks", "website")
        for path in (ROOT / folder).glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    commands |= {f"benchmarks.{path.parent.name}" for path in (ROOT / "benchmarks").glob("*/__main__.py")}
    assert asked >= commands


@pytest.mark.parametrize(("wrong", "call", "kind", "fragments"), CALLS, ids=[call[1] for call in CALLS])
def test_a_bad_call_is_refused_in_one_line(things, wrong, call, kind, fragments):
    with inputs.inside(things):
        case = inputs.bad_call(call, wrong, kind, fragments, inputs.namespace())
    assert case.passed, case.happened
    assert not (things / SENTINEL).exists()


@pytest.mark.parametrize(
    ("call", "kind"),
    [("1 + 1", ValueError), ("int('x')", TypeError), ("SVQ(num_slots='a\\nb' * 400)", ValueError)],
)
def test_a_call_that_is_not_refused_so_fails(call, kind):
    assert not inputs.bad_call(call, "", kind, "", inputs.namespace()).passed


def test_only_one_line_with_all_fragments_and_an_exit_code_is_clear():
    line = "error: seed=-1 is out of range; it must be at least 0"
    assert Ended(2, "", f"{line}\n").clear and inputs.holds(line, "seed=-1|at least 0")
    assert not inputs.holds(line, "seed=-1|from 0 to 7")
    assert not inputs.holds("x" * 10_000, "x")
    for code, err in ((0, line), (2, f"usage: x\n{line}\nmore"), (1, f"Traceback (most recent call last):\n{line}")):
        assert not Ended(code, "", err).clear


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["settings or codes in a file that are none", "a checkpoint that cannot be used"])
def test_bad_command_lines_are_refused_in_one_line(things, tmp_path, wrong):
    for line, fragments in inputs.COMMANDS[wrong]:
        case = inputs.bad_command(line, wrong, fragments, things, tmp_path)
        assert case.passed, f"{line}: {case.happened}"
    assert not (things / SENTINEL).exists()
