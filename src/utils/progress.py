"""Progress bars with the time left: one moving line on a terminal, a line about every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

LINE_EVERY = 10.0  # seconds between lines where there is no terminal


class _Lines:
    """A file in which every refresh of a bar is a line of its own."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            self.file.write(text + "\n")

    def flush(self) -> None:
        self.file.flush()


class _Bar(tqdm):
    """A bar whose times do not depend on the clock on the wall, which somebody may set."""

    monitor_interval = 0  # tqdm's thread that looks after slow bars goes by that clock; with miniters=1 none is slow

    def __init__(self, **settings: Any) -> None:
        super().__init__(miniters=1, **settings)
        self._time = time.monotonic
        self.start_t = self.last_print_t = time.monotonic()


def progress_bar(description: str, total: int, initial: int = 0, unit: str = "step", enabled: bool = True) -> tqdm:
    """A bar from `initial` to `total` on stderr; `update(n)` moves it, `set_postfix` shows live metrics.

    Args:
        unit: what is counted, one of them.
        enabled: False shows nothing; the bar can be used all the same.
    """
    terminal = sys.stderr.isatty()
    return _Bar(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        disable=not enabled,
        file=sys.stderr if terminal else _Lines(sys.stderr),
        mininterval=0.2 if terminal else LINE_EVERY,
        maxinterval=LINE_EVERY,
        dynamic_ncols=terminal,
        ascii=None if terminal else True,
    )
