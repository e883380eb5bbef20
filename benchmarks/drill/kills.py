"""Training is killed with SIGKILL at random moments, resumed with training.resume=auto, and killed again.

Seven kills of ten hit training in one process, three in two (as torchrun starts them, Gloo on the CPU): both processes
at once, or one of them, and then the other has to end by itself with one line. Up to five kills hit one run, one after
the other; then it is resumed to its end and compared with a run that nobody killed: the weights and metrics in
best_model.pth and last.pth, and the scores in results.json. With one process they have to be the same bits.

A moment is drawn from where the run that nobody killed was: two fifths of them in each phase, the others at the start,
where checkpoints are read, or after the last step, where scores and pictures are made. Every third kill waits until a
checkpoint is being written.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from src.training.checkpoint import AUTOENCODER, PRIOR

from .case import Case, Settings
from .processes import Running, free_port
from .tiny import RANDOM, STEPS, TINY, Begun, both_files, furthest, of_pictures, pictures, places, steps_of, write_steps

START, END = "start", "end"
ORDER = (START, AUTOENCODER, PRIOR, END)
TOLERANCE = 1e-5  # of two processes; weights are of the size of 0.1
IN_A_ROW = 5  # kills of one run
POLL = 0.0005  # seconds between looks at what a run has come to
LIMIT = 900.0  # seconds that a run of a few may take
ALONE = 120.0  # seconds that a process may go on without the other


@dataclass(frozen=True)
class Moment:
    """`delay` seconds after a step of `phase` began, or, if `writing`, after the next checkpoint is begun."""

    phase: str
    step: int
    delay: float
    writing: bool
    victims: tuple[int, ...]  # ranks of the processes that are killed

    def __str__(self) -> str:
        where = {START: "before the first step", END: "after the last step"}.get(
            self.phase, f"in step {self.step + 1} of {STEPS} of the {self.phase}"
        )
        return f"at the next checkpoint after step {self.step} of the {self.phase}" if self.writing else where


@dataclass
class Run:
    """A training in `folder` by some processes, and what happened to it so far."""

    folder: Path
    words: list[str]
    processes: int
    starts: int = 0
    killed: list[tuple[Moment, str]] = field(default_factory=list)  # and what it hit
    wrong: list[str] = field(default_factory=list)

    @property
    def steps(self) -> Path:
        """What the present processes write down."""
        return self.folder / f"steps_{self.starts}.txt"

    def start(self) -> list[Running]:
        """Starts it anew, or goes on."""
        self.starts += 1
        words = [*self.words, *places(self.folder), "training.resume=auto", f"training.devices={self.processes}"]
        port = free_port()
        return [
            Running(
                "src.train",
                words,
                self.folder / f"process_{rank}",
                environment=torchrun(rank, self.processes, port) if self.processes > 1 else None,
                first=write_steps if rank == 0 else None,
                arguments=(self.steps,) if rank == 0 else (),
            )
            for rank in range(self.processes)
        ]

    def drafts(self) -> list[Path]:
        """Checkpoints that are being written, or were when a kill came."""
        return list((self.folder / "checkpoints").glob(".*.tmp"))

    def kill(self, moment: Moment) -> bool:
        """Starts or resumes it and kills it at that moment; False: it ended before."""
        running = self.start()
        if not self._await(moment, running[0]):
            self._ended(running)
            return False
        for rank in moment.victims:
            running[rank].kill()
        ended = [process.wait(ALONE) for process in running]
        if any(ended[rank].code != -9 for rank in moment.victims):
            return False
        for rank, each in enumerate(ended):
            if rank not in moment.victims and not each.clear:
                self.wrong.append(f"process {rank} went on without the other: {each}")
        begun, drafts = steps_of(self.steps), self.drafts()
        hit = f"step {begun[-1].step + 1} of the {begun[-1].phase}" if begun else "before the first step"
        self.killed.append((moment, f"{hit}{', writing ' + drafts[0].name.split('.pth')[0][1:] if drafts else ''}"))
        return True

    def finish(self) -> None:
        """Resumes it to its end."""
        self._ended(self.start())

    def _ended(self, running: Sequence[Running]) -> None:
        ended = [process.wait(LIMIT) for process in running]
        self.wrong += [f"did not end: {each}" for each in ended if each.code != 0]

    def _await(self, moment: Moment, process: Running) -> bool:
        """Waits for the moment; False: the process was faster."""
        # drafts of earlier kills are removed when the run starts
        while process.alive and not (moment.phase == START or _reached(steps_of(self.steps), moment)):
            time.sleep(POLL)
        while moment.writing and process.alive and not self.drafts():
            time.sleep(POLL)
        time.sleep(moment.delay)
        return process.alive


def _reached(begun: Sequence[Begun], moment: Moment) -> bool:
    phase, step = (PRIOR, STEPS - 1) if moment.phase == END else (moment.phase, moment.step)
    return any((ORDER.index(each.phase), each.step) >= (ORDER.index(phase), step) for each in begun)


def torchrun(rank: int, processes: int, port: int) -> dict[str, str]:
    """The environment in which torchrun starts a process on one machine."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "drill",
    }  # fmt: skip


def moments(rng: random.Random, count: int, processes: int, took: dict[tuple[str, int], float]) -> list[Moment]:
    """`count` moments in the order in which a run comes by, but for those at the start, which come between."""
    drawn = []
    for number in range(count):
        phase = rng.choices(ORDER, (1, 4, 4, 1))[0]
        step = rng.randrange(STEPS) if phase in (AUTOENCODER, PRIOR) else 0
        writing = number % 3 == 2 and phase in (AUTOENCODER, PRIOR)
        delay = rng.random() * (0.003 if writing else took[phase, step])
        victims = tuple(range(processes))
        if processes > 1 and phase in (AUTOENCODER, PRIOR):
            victims = rng.choice([victims, *((rank,) for rank in range(processes))])
        drawn.append(Moment(phase, step, delay, writing, victims))
    late = sorted(
        (each for each in drawn if each.phase != START), key=lambda each: (ORDER.index(each.phase), each.step)
    )
    for early in (each for each in drawn if each.phase == START):
        late.insert(rng.randrange(len(late) + 1), early)
    return late


def durations(started: float, begun: Sequence[Begun], ended: float) -> dict[tuple[str, int], float]:
    """Seconds of each step of a run that nobody killed, of its start and of its end."""
    took = {(START, 0): begun[0].moment - started, (END, 0): ended - begun[-1].moment}
    for one, two in pairwise(begun):
        took[one.phase, one.step] = two.moment - one.moment
    return took | {(begun[-1].phase, begun[-1].step): took[END, 0]}


def scores(folder: Path) -> dict:
    """What results.json says of the model, but for the time that it took."""
    results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
    scored = {name: score for name, score in results["scores"].items() if name != "seconds"}
    return {"validation": results["validation"], "scores": scored, "objective": results["objective"]}


def kills(work: Path, settings: Settings) -> Iterator[Case]:
    """A case for each kill."""
    rng = random.Random(settings.seed)
    data = of_pictures(pictures(work / "pictures"), work / "cache")
    words = [*TINY, *RANDOM, *data, "evaluation.enabled=true", "evaluation.num_generated=8"]
    two = settings.kills * 3 // 10
    hits: Counter[str] = Counter()
    for processes, count in ((1, settings.kills - two), (2, two)):
        if not count:
            continue
        expected = Run(work / f"by_{processes}", words, processes)
        started = time.monotonic()
        expected.finish()
        took = durations(started, steps_of(expected.steps), time.monotonic())
        made = runs = 0
        while made < count and runs < 3 * count and not expected.wrong:
            run = Run(work / f"by_{processes}_killed_{runs}", words, processes)
            runs += 1
            for moment in moments(rng, min(IN_A_ROW, count - made), processes, took):
                if not run.kill(moment):
                    break
            run.finish()
            for case in compared(run, expected, made):
                hits.update(_kinds(case.happened))
                made += 1
                yield case
        yield Case(
            f"{_by(processes)}: all of them",
            f"{count} kills",
            f"{count} runs that end as if there had been none",
            "; ".join([f"{made} kills in {runs} runs", *expected.wrong]),
            passed=made == count,
        )
    yield Case(
        "where they hit",
        "counted the kills of each kind",
        "some in each phase and while a checkpoint is written" if settings.kills >= 20 else "too few to expect any",
        ", ".join(f"{name} {hits[name]}" for name in KINDS),
        passed=settings.kills < 20 or all(hits[name] for name in (AUTOENCODER, PRIOR, "writing")),
        numbers={name: hits[name] for name in KINDS},
    )


KINDS = (AUTOENCODER, PRIOR, "writing", "before the first step")


def _kinds(happened: str) -> list[str]:
    return [name for name in KINDS if name in happened.split(";")[0]]


def _by(processes: int) -> str:
    return "one process" if processes == 1 else "two processes"


def compared(run: Run, expected: Run, before: int) -> Iterator[Case]:
    """The cases of a run that was killed and has come to its end; `before` that were already told of."""
    wrong, apart, same = list(run.wrong), float("nan"), False
    if not wrong:
        apart = furthest(both_files(run.folder), both_files(expected.folder))
        same = scores(run.folder) == scores(expected.folder)
        if apart > (0 if run.processes == 1 else TOLERANCE):
            wrong.append(f"weights differ by {apart:.1e}")
        if run.processes == 1 and not same:
            wrong.append("results.json differs")
        if left := run.drafts():
            wrong.append(f"{left[0].name} was left behind")
    bits = "the same bits and scores" if apart == 0 and same else f"weights differ by at most {apart:.1e}"
    ended = "; ".join(wrong) or bits
    within = "the same bits" if run.processes == 1 else f"weights within {TOLERANCE:g}"
    for number, (moment, hit) in enumerate(run.killed, start=before + 1):
        done = f"SIGKILL {moment}" + _whom(moment, run.processes)
        yield Case(
            f"{_by(run.processes)}, kill {number}",
            done,
            f"{within} as without kills",
            f"hit {hit}; {ended}",
            passed=not wrong,
        )


def _whom(moment: Moment, processes: int) -> str:
    if processes == 1:
        return ""
    return {1: f", process {moment.victims[0]} alone"}.get(len(moment.victims), ", both processes")
