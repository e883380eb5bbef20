"""Does the system break? Everything that might do it is done to it, and what it makes of it written down.

    python -m benchmarks.drill                  # all sections → results/drill.json and results/drill.md
    python -m benchmarks.drill kills --kills 10 # one section; the others stay as they are in the files

Sections (each a module of this package, which says what it does):

    kills        training killed with SIGKILL at random moments, and resumed
    faults       full disk, folders that cannot be written, a vanishing file, a dying process, NaN, a moving clock
    checkpoints  truncated, flipped, foreign and hostile checkpoints, wherever one is opened
    memory       growth of the memory of a long training
    inputs       bad inputs to every command and to the Python API
    fuzz         settings, pictures, checkpoints and files of codes that hypothesis makes up
    demo_load    the demo page with 32 visitors for a minute, and hostile ones

The exit code is 1 if a case did not pass.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.configs.arguments import Parser
from src.training.results import commit

from .case import Case, Section, Settings
from .checkpoints import checkpoints
from .demo_load import demo_load
from .faults import faults
from .fuzz import fuzz
from .inputs import inputs
from .kills import kills
from .memory import memory
from .record import read, record, write

OUTPUT = Path(__file__).resolve().parents[2] / "results" / "drill.json"
# in the order of the table
SECTIONS: dict[str, Section] = {
    "kills": kills,
    "faults": faults,
    "checkpoints": checkpoints,
    "memory": memory,
    "inputs": inputs,
    "fuzz": fuzz,
    "demo_load": demo_load,
}


def show(case: Case) -> None:
    """A line for a case that is over."""
    print(f"{'passed' if case.passed else 'FAILED'}  {case.name}: {case.happened}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str], sections: Mapping[str, Section]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        prog="python -m benchmarks.drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="section", help="none: all of them")
    parser.add_argument("--kills", type=int, default=Settings.kills, help="of the section kills (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=Settings.seed, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON file; the table goes beside it as .md")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.sections if name not in sections]:
        parser.error(f"there is no section {unknown[0]}; choose of: {', '.join(sections)}")
    if given.kills < 1:
        parser.error(f"argument --kills: must be at least 1, got {given.kills}")
    if given.output.suffix != ".json":
        parser.error(f"argument --output: must end in .json, got {given.output}")
    return given


def main(arguments: Sequence[str] | None = None, sections: Mapping[str, Section] = SECTIONS) -> int:
    """Runs the sections that are asked for, each in a folder of its own; 0 if all their cases passed."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = parse(words, sections)
    command = " ".join(["python -m benchmarks.drill", *words])
    settings, passed = Settings(given.seed, given.kills), True
    code = commit()  # now: what the first section writes is a change, but none of the code
    for name in given.sections or sections:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix=f"drill_{name}_") as work:
            made = record(sections[name], Path(work), settings, command, code, show)
        print(f"{name}: {made['passed']} of {made['cases']} passed in {made['duration_s']:.0f} s", file=sys.stderr)
        passed = passed and made["passed"] == made["cases"]
        every = read(given.output) | {name: made}  # read now: another section may have been run meanwhile
        for path in write(given.output, {each: every[each] for each in sections if each in every}):
            print(f"wrote {path}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
