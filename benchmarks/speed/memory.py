"""Peak memory of a function, in a fresh process that does nothing else."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def peak_memory(function: str, *words: str) -> int | None:
    """Bytes at the peak of a new process that calls `function`, "module:name", with `words`: see `own_peak`.

    None on Windows, where Python's library does not tell it.

    Raises:
        RuntimeError: the process failed; with its last line.
    """
    if sys.platform == "win32":
        return None
    command = [sys.executable, "-m", "benchmarks.speed.memory", function, *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function} failed in a process of its own: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout.split()[-1])


def own_peak() -> int:
    """Bytes of the largest resident set this process has had; once it has used a GPU, of the GPU's memory."""
    torch = sys.modules.get("torch")  # not imported for this: that alone takes more than what some ask about
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.max_memory_reserved()
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts what the parent had before `exec` as the child's, except here
        (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource  # here, because Windows lacks it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    getattr(importlib.import_module(module), name)(*sys.argv[2:])
    print(own_peak())
