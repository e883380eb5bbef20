"""What goes wrong around a training: the disk, the data, another process, the numbers, the clock.

The fault comes in the middle of a step of a real training (`src.train` as a process of its own). It has to end with
exit code 1 or 2 and one line, without a traceback, and leave the checkpoints as they were before, byte by byte; once
the fault is gone, the run is resumed and ends with the same bits as one without it. Some faults must not be noticed.

Disks are small ones of their own in memory (tmpfs) where this user may mount them; a limit on the size of files stands
in for them elsewhere, and is tried anyway. Read-only are /proc, a path below a file and a disk that is mounted anew.
Pictures are whole numbers, so NaN gets in through gradients and weights.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import tqdm.std

from src.training import loop
from src.training import run as training_run
from src.training.checkpoint import AUTOENCODER, BEST, LAST, PRIOR
from src.utils import progress

from .case import Case, Settings
from .disk import FILLER, fill, make_read_only, make_writable, small_disk
from .processes import Ended, Running, run
from .tiny import RANDOM, TINY, at_step, both_files, furthest, of_pictures, pictures, places, steps_of, write_steps

STEP = 10  # in which the fault comes, counted from 1; last.pth is then from step 8
ALONE = 120.0  # seconds that a process may go on without the other
HOUR = 3600.0
ONE_LINE = "exit code 1 or 2, one line, checkpoints as before"
UNNOTICED = "the same bits as without the fault"


# ------------------------------------------------------------------ in the child


def inject(checkpoints: Path, phase: str, act: Callable[..., None], *arguments: Any) -> None:
    """In step STEP of `phase` keeps a copy of the checkpoints beside them, and then calls `act`."""

    def faulty(running: loop.Phase) -> None:
        shutil.copytree(checkpoints, before(checkpoints), ignore=shutil.ignore_patterns(FILLER))
        act(running, *arguments)

    at_step(phase, STEP, faulty)


def before(checkpoints: Path) -> Path:
    """Where the copy lies."""
    return checkpoints.with_name(f"{checkpoints.name}_before")


def fill_disk(_: loop.Phase, folder: Path) -> None:
    fill(folder)


def limit_files(_: loop.Phase, size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def lock_disk(_: loop.Phase, folder: Path) -> None:
    make_read_only(folder)


def remove(_: loop.Phase, *folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)


def spoil_gradient(running: loop.Phase) -> None:
    gradient = next(each.grad for each in running.model.parameters() if each.grad is not None)
    gradient[(0,) * gradient.dim()] = float("nan")


@torch.no_grad()
def spoil_weight(running: loop.Phase) -> None:
    weight = next(iter(running.model.parameters()))
    weight[(0,) * weight.dim()] = float("nan")


def terminate(_: loop.Phase) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def lose_a_picture(folder: Path) -> None:
    """Once the pictures are listed and before they are read, one of them goes."""
    prepare = training_run.prepare

    def losing(*data: Any, **settings: Any) -> list[str]:
        next(iter(sorted(folder.glob("*.png")))).unlink(missing_ok=True)
        return prepare(*data, **settings)

    training_run.prepare = losing


def move_clock(checkpoints: Path, jumps: Sequence[float], stop: bool) -> None:
    """The clock on the wall says something else from step to step, by the seconds in `jumps`; a line every 50 ms."""
    true, moved = time.time, [jumps[0]]
    for module in (time, tqdm.std):  # which has a name of its own for it
        patch.object(module, "time", lambda: true() + moved[0]).start()
    progress.LINE_EVERY = 0.05
    begin = loop.set_learning_rates

    def jumping(phase: loop.Phase, step: int) -> float:
        moved[0] = jumps[step % len(jumps)]
        return begin(phase, step)

    loop.set_learning_rates = jumping
    if stop:
        inject(checkpoints, AUTOENCODER, terminate)


# ------------------------------------------------------------------ the cases


@dataclass(frozen=True)
class Run:
    """A tiny training in `folder`, and the folder of one without faults to compare it to."""

    folder: Path
    words: list[str]
    whole: Path | None = None

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def start(self, *more: str, first: Any = None, arguments: Sequence[Any] = ()) -> Ended:
        words = [*TINY, *RANDOM, *self.words, *places(self.folder), *more]
        return run("src.train", words, self.folder / "output", first=first, arguments=arguments)

    def as_before(self) -> str:
        """What is wrong with its checkpoints, compared to those before the fault; empty: nothing."""
        names = [name for name in (BEST, LAST) if (before(self.checkpoints) / name).exists()]
        changed = [name for name in names if not _same(self.checkpoints / name, before(self.checkpoints) / name)]
        left = [path.name for path in self.checkpoints.glob(".*.tmp")]
        return "".join(f"; {name} changed" for name in changed) + "".join(f"; {name} left behind" for name in left)

    def as_whole(self) -> str:
        """What is wrong with its end, compared to a run without the fault; empty: nothing."""
        assert self.whole is not None
        apart = furthest(both_files(self.folder), both_files(self.whole))
        return f"; ended otherwise than without the fault, by {apart:.1e}" if apart else ""

    def hit(self, phase: str, act: Callable[..., None], *arguments: Any) -> Ended:
        return self.start(first=inject, arguments=(self.checkpoints, phase, act, *arguments))


def _same(one: Path, two: Path) -> bool:
    return one.exists() and one.read_bytes() == two.read_bytes()


def faults(work: Path, settings: Settings) -> Iterator[Case]:
    """Each fault is a case."""
    words = of_pictures(pictures(work / "pictures"), work / "cache")
    whole = Run(work / "whole", words)
    ended = whole.start()
    if ended.code:
        raise RuntimeError(f"the training without faults: {ended}")

    def make(name: str) -> Run:
        return Run(work / name, words, whole.folder)

    yield from full_disks(make)
    yield from read_only(make, work)
    yield from vanishing(work, whole.folder)
    yield from not_a_number(make)
    yield from clocks(make)
    yield from dying(make)


def stopped(name: str, done: str, run: Run, ended: Ended, resume: bool = False, said: str = "") -> Case:
    """The case of a fault that stops training; `said` has to be part of its line."""
    wrong = run.as_before() + ("" if ended.clear and said in ended.said else "; not one clear line")
    expected, end = ONE_LINE, ""
    if resume:
        again = run.start("training.resume=auto")
        wrong += f"; resumed: {again}" if again.code else run.as_whole()
        expected, end = f"{ONE_LINE}; resumed to the same bits", "" if wrong else "; resumed to the same bits"
    return Case(name, done, expected, f"{ended}{wrong}{end}", passed=not wrong)


def full_disks(make: Callable[[str], Run]) -> Iterator[Case]:
    run = make("full")
    with small_disk(run.checkpoints) as mounted:
        if mounted:
            ended = run.hit(AUTOENCODER, fill_disk, run.checkpoints)
            (run.checkpoints / FILLER).unlink(missing_ok=True)
            done = "the disk (tmpfs) of the checkpoints filled to its last byte in a step"
            yield stopped("full disk, checkpoints", done, run, ended, resume=True, said="No space left")
    run = make("full_logs")
    with small_disk(run.folder / "run") as mounted:
        if mounted:
            ended = run.hit(AUTOENCODER, fill_disk, run.folder / "run")
            (run.folder / "run" / FILLER).unlink(missing_ok=True)
            done = "the disk (tmpfs) of TensorBoard's files and results.json filled to its last byte in a step"
            yield stopped("full disk, logs", done, run, ended, said="No space left")
    for phase in (AUTOENCODER, PRIOR):
        run = make(f"limited_{phase}")
        ended = run.hit(phase, limit_files, 50_000)
        done = f"from a step of the {phase} on no file may be larger than 50 kB (RLIMIT_FSIZE)"
        yield stopped(f"files cannot grow, {phase}", done, run, ended, resume=True, said="File too large")


def read_only(make: Callable[[str], Run], work: Path) -> Iterator[Case]:
    (work / "a_file").write_text("", encoding="utf-8")
    for number, place in enumerate(("checkpoint_dir=/proc/drill", f"checkpoint_dir={work / 'a_file' / 'folder'}")):
        run = make(f"unwritable_{number}")
        ended = run.start(place)
        yield stopped(f"unwritable checkpoints {number + 1}", f"{place.replace(str(work), '...')}", run, ended)
    for number, place in enumerate(("hydra.run.dir=/proc/drill", f"hydra.run.dir={work / 'a_file' / 'folder'}")):
        run = make(f"unwritable_logs_{number}")
        ended = run.start(place)
        yield stopped(f"unwritable logs {number + 1}", f"{place.replace(str(work), '...')}", run, ended)
    run = make("locked")
    with small_disk(run.checkpoints) as mounted:
        if mounted:
            ended = run.hit(AUTOENCODER, lock_disk, run.checkpoints)
            make_writable(run.checkpoints)
            done = "the disk (tmpfs) of the checkpoints mounted read-only in a step"
            yield stopped("disk becomes read-only", done, run, ended, resume=True, said="Read-only")


def vanishing(work: Path, whole: Path) -> Iterator[Case]:
    folder = pictures(work / "losing")
    run = Run(work / "lost", of_pictures(folder, work / "lost_cache"), whole)
    ended = run.start(first=lose_a_picture, arguments=(folder,))
    yield stopped("a picture vanishes", "a picture removed after all were listed, before it is read", run, ended)
    folder = pictures(work / "vanishing")
    cache = work / "vanishing_cache"
    run = Run(work / "vanished", of_pictures(folder, cache), whole)
    ended = run.hit(AUTOENCODER, remove, folder, cache)
    yield unnoticed("all data vanish", "pictures and what was decoded of them removed in a step", run, ended)
    shutil.rmtree(before(run.checkpoints))  # that training has ended
    ended = run.start("training.resume=auto")
    yield stopped("all data have vanished", "a training started that has no data any more", run, ended)


def unnoticed(name: str, done: str, run: Run, ended: Ended) -> Case:
    """The case of a fault that changes nothing."""
    wrong = f"; {ended}" if ended.code else run.as_whole()
    return Case(name, done, UNNOTICED, f"{ended}{wrong or '; the same bits'}", passed=not wrong)


def not_a_number(make: Callable[[str], Run]) -> Iterator[Case]:
    for phase in (AUTOENCODER, PRIOR):
        for act, what in ((spoil_gradient, "a gradient"), (spoil_weight, "a weight")):
            run = make(f"{act.__name__}_{phase}")
            ended = run.hit(phase, act)
            name, done = f"NaN in {what}, {phase}", f"one number of {what} becomes NaN in a step of the {phase}"
            yield stopped(
                name, done, run, ended, resume=what == "a weight", said="nan" if act is spoil_gradient else ""
            )


def clocks(make: Callable[[str], Run]) -> Iterator[Case]:
    run = make("clock")
    jumps = (5 * HOUR, -3 * HOUR, 0.0, 40 * HOUR)
    first = run.start(first=move_clock, arguments=(run.checkpoints, jumps, True))
    second = run.start(
        "training.resume=auto", first=move_clock, arguments=(run.checkpoints, [-each for each in jumps], False)
    )
    times = [_seconds(text) for text in re.findall(r"[\d:]+(?=<)|(?<=<)[\d:]+", first.err + second.err)]
    longest = max(times, default=float("inf"))
    wrong = "" if first.code == 128 + signal.SIGTERM else f"; the first part: {first}"
    wrong += f"; the second part: {second}" if second.code else run.as_whole()
    wrong += "" if longest < HOUR else f"; a bar says {longest:.0f} seconds"
    yield Case(
        "the clock jumps",
        "the clock on the wall (time.time) jumps by up to 40 hours, back and forth, with every step, and by as much "
        "between two parts of a run",
        f"{UNNOTICED}; no bar says more than an hour",
        f"{first}; {second}{wrong or f'; the same bits; bars say at most {longest:.0f} s'}",
        passed=not wrong,
    )


def _seconds(text: str) -> float:
    return sum(int(part or 0) * 60**power for power, part in enumerate(reversed(text.split(":"))))


def dying(make: Callable[[str], Run]) -> Iterator[Case]:
    """Two processes as `training.devices=2` starts them; one of them is killed."""
    for victim in (1, 0):
        run = make(f"dying_{victim}")
        steps = run.folder / "steps.txt"
        words = [*TINY, *RANDOM, *run.words, *places(run.folder), "training.devices=2"]
        running = Running("src.train", words, run.folder / "output", first=write_steps, arguments=(steps,))
        while running.alive and not any(begun.step >= STEP for begun in steps_of(steps)):
            time.sleep(0.001)
        pids = [running.pid, *_children(running.pid)]
        if len(pids) < 2:
            yield Case(f"process {victim} dies", "", "", f"{running.wait()}; there was no second process", passed=False)
            continue
        os.kill(pids[victim], signal.SIGKILL)
        began, survivor = time.monotonic(), pids[1 - victim]
        while _lives(survivor) and time.monotonic() < began + ALONE:
            time.sleep(0.05)
        took, hung = time.monotonic() - began, _lives(survivor)
        ended = running.wait(1.0)
        # the code of a child that outlived its parent is known to nobody
        one_line = len(ended.errors) == 1 and not ended.traceback and "processes ended" in ended.errors[0]
        whole = [name for name in (BEST, LAST) if _opens(run.checkpoints / name)]
        wrong = ("; hangs" if hung else "") + ("" if one_line else f"; not one clear line: {ended.err[-300:]}")
        wrong += "" if len(whole) == 2 else "; a checkpoint cannot be read"
        wrong += "; exit code" if victim and ended.code != 1 else ""
        yield Case(
            f"process {victim} of two dies",
            f"SIGKILL to process {victim} of two in a step",
            "the other ends within two minutes with one line; checkpoints can be read",
            f"ended after {took:.0f} s: {(ended.errors or [''])[0]}{wrong}",
            passed=not wrong,
            numbers={"seconds": round(took, 1)},
        )


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _opens(path: Path) -> bool:
    try:
        return bool(torch.load(path, weights_only=True)["model_state_dict"])
    except Exception:
        return False
