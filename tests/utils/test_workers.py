from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from src.utils.workers import follow_the_parent, processors


def test_there_is_a_processor_to_use() -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)


def _work(pids) -> None:
    follow_the_parent()
    pids.put((os.getpid(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN))
    time.sleep(60)


def _parent(pids) -> None:
    multiprocessing.get_context("spawn").Process(target=_work, args=(pids,)).start()
    time.sleep(60)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="asks Linux whether a process runs")
def test_a_worker_ends_with_its_parent_and_leaves_interruptions_to_it() -> None:
    context = multiprocessing.get_context("spawn")
    pids = context.Queue()
    parent = context.Process(target=_parent, args=(pids,))
    parent.start()
    worker, ignores = pids.get(timeout=30)
    assert ignores
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 30
    while _runs(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process is there and is no zombie that nobody waits for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
