"""Commands as processes of their own that start at once: forked from one that has PyTorch imported.

A child is what `python -m src.<command> <words>` is: a process with its own settings, signals, exit code and output.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = ["src.training.run", "src.training.sampling", "src.reporting.run", "src.editor.serve", __name__]
LIMIT = 600.0  # seconds

_context = (
    multiprocessing.get_context("forkserver") if "forkserver" in multiprocessing.get_all_start_methods() else None
)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal that killed it; None: it ran past its time, and was
    killed), and what it wrote."""

    code: int | None
    out: str
    err: str

    @property
    def traceback(self) -> bool:
        """Whether it showed one."""
        return "Traceback (most recent call last)" in self.out + self.err

    @property
    def said(self) -> str:
        """The last line of its errors."""
        return (self.err.strip().splitlines() or [""])[-1]

    @property
    def errors(self) -> list[str]:
        """The lines that begin with "error: "."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def clear(self) -> bool:
        """Whether it failed as a command should: exit code 1 or 2, one line that says why, no traceback."""
        return self.code in (1, 2) and not self.traceback and len(self.errors) == 1 and self.said == self.errors[0]

    def __str__(self) -> str:
        code = "ran past its time" if self.code is None else f"exit code {self.code}"
        return f"{code}, traceback: {self.said}" if self.traceback else f"{code}: {self.said}" if self.code else code


class Running:
    """A command that has been started: the leader of a process group of its own.

    Args:
        command: the module, such as "src.train".
        words: its command line.
        folder: receives stdout and stderr as files.
        environment: variables besides those of this process.
        first: called in the child before the command, with `arguments`; a function of a module.
    """

    def __init__(
        self,
        command: str,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        first: Any = None,
        arguments: Sequence[Any] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = folder / "stdout.txt", folder / "stderr.txt"
        # one thread: so the server has none that a fork would lose, and so do the sums always come in one order
        environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **(environment or {})}
        task = (command, list(words), [str(path) for path in self._files], environment, first, tuple(arguments))
        self._process = _start(task)
        self.started = time.perf_counter()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self, group: bool = True) -> None:
        """SIGKILL, to its children too unless `group` is False."""
        for send in (os.killpg, os.kill) if group else (os.kill,):  # right after its start it leads no group yet
            with suppress(ProcessLookupError):  # it has ended
                send(self.pid, signal.SIGKILL)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Waits for its end, at most `limit` seconds; then it is killed. Nothing of its group stays."""
        self._process.join(limit)
        late = self.alive
        self.kill()
        self._process.join()
        return Ended(None if late else self._process.exitcode, self._written(0), self._written(1))

    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._written(1)

    def _written(self, number: int) -> str:
        path = self._files[number]
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def run(command: str, words: Sequence[str], folder: Path, limit: float = LIMIT, **more: Any) -> Ended:
    """Runs a command to its end; arguments as those of `Running`."""
    return Running(command, words, folder, **more).wait(limit)


def _start(task: tuple) -> Any:
    if _context is None:
        raise OSError("the drill needs a system that can fork, such as Linux")
    _context.set_forkserver_preload(PRELOADED)
    process = _context.Process(target=_child, args=task)
    process.start()
    return process


def _child(
    command: str, words: list[str], files: list[str], environment: dict[str, str], first: Any, arguments: tuple
) -> None:
    """The child's life."""
    os.setsid()
    for number, path in enumerate([os.devnull, *files]):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [command, *words]
    if first is not None:
        first(*arguments)
    runpy.run_module(command, run_name="__main__", alter_sys=True)
