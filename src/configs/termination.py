"""A request to terminate ends a command as Ctrl-C does: in one line, and nothing stays half written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM is raised as `Terminated`; without it the process would end at once, and say nothing."""
    if threading.current_thread() is not threading.main_thread():  # elsewhere Python takes no handlers
        yield
        return
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def signal_of(error: KeyboardInterrupt) -> int:
    """The number of the signal behind `error`."""
    return signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
