"""Progress with the time left: a moving line on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress_bar(description: str, total: int, unit: str, enabled: bool = True) -> tqdm:
    """A bar on stderr; `update(n)` moves it."""
    every = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=description, unit=unit, disable=not enabled, mininterval=every)
