"""Tests run in as many processes as there are cores, so each computes in one thread: set before PyTorch is imported."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
