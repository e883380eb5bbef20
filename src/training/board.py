"""What a run shows in TensorBoard: scalars, pictures, and how each codebook is used."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ..utils.codebook_stats import usage


class Board:
    """Writes events below `folder`; where `enabled` is false (not the first process) it writes nothing.

    Raises, in any of its methods:
        OSError: TensorBoard's thread could not write earlier events, because the disk is full for instance.
    """

    def __init__(self, folder: Path, enabled: bool = True) -> None:
        self.folder = folder
        self.writer = SummaryWriter(str(folder)) if enabled else None

    def __enter__(self) -> Board:
        self._hook, threading.excepthook = threading.excepthook, self._note
        return self

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._hook
        if self.writer is not None:
            self.writer.close()

    def _note(self, failed: threading.ExceptHookArgs) -> None:
        """What TensorBoard's thread could not write is raised again by the next event: no traceback of it here."""
        error, ours = failed.exc_value, type(failed.thread).__module__.startswith("tensorboard.")
        if not ours or not isinstance(error, OSError):
            self._hook(failed)
        elif error.filename is None:
            error.filename = str(self.folder)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Each value as the curve `group/name`."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """A matplotlib figure as a picture."""
        if self.writer is not None:
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., :3]
            self.writer.add_image(tag, pixels, step, dataformats="HWC")

    def codebooks(self, group: str, counts: Tensor, step: int) -> None:
        """Per block: perplexity, share of codes used, and the histogram of `counts` (M, K)."""
        if self.writer is None:
            return
        use = usage(counts)
        for block, row in enumerate(counts):
            name = f"{group}/block_{block + 1}"
            self.writer.add_scalar(f"{name}/perplexity", float(use.perplexity[block]), step)
            self.writer.add_scalar(f"{name}/share_used", float(use.share[block]), step)
            codes = torch.arange(len(row)).repeat_interleave(row)
            self.writer.add_histogram(f"{name}/codes", codes, step, bins="auto")
