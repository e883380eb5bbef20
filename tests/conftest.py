"""What all tests have in common.

Tests run in as many processes as there are cores, so each computes in one thread: set before PyTorch is imported. In a
job of the background Ctrl-C is ignored, by what the tests start as well: they are about what it does elsewhere.
"""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
