"""Processes that share work. Imports no torch, so that they start at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def follow_the_parent() -> None:
    """In a worker, first: an interruption is the parent's business, and when the parent is gone, so is the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
