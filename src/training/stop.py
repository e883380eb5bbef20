"""Ctrl-C and a request to terminate end the step first: a checkpoint of half a step could not be resumed."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from ..configs.termination import Terminated


class StopRequest:
    """Within `with`, the first signal is only noted; the loop asks `number`. A second one ends at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        self.number = number
