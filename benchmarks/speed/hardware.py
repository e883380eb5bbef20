"""What the machine can do at best: calls that are timed in turn with whatever is measured."""

from __future__ import annotations

import torch

from .timing import CPU


class MatrixProduct:
    """A square matrix product.

    Args:
        precision: "float32" or "bf16".
        device: where it is computed.
        size: rows and columns; None: as many as keep the device busy.
    """

    unit = "FLOP"

    def __init__(self, precision: str, device: torch.device = CPU, size: int | None = None) -> None:
        size = size or (8192 if device.type == "cuda" else 2048)
        dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.name = f"{precision} matrix product"
        self.left, self.right = torch.randn(2, size, size, device=device).to(dtype)
        self.out = torch.empty_like(self.left)
        self.work = 2 * size**3  # of one call

    def __call__(self) -> None:
        torch.mm(self.left, self.right, out=self.out)


class MemoryCopy:
    """A copy of more bytes than the caches hold; they are read and written, so each counts twice.

    Args:
        num_bytes: how many are copied.
        device: whose memory it is.
    """

    unit, name = "B", "copy in memory"

    def __init__(self, num_bytes: int = 2**28, device: torch.device = CPU) -> None:
        self.source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
        self.target = torch.empty_like(self.source)
        self.work = 2 * num_bytes

    def __call__(self) -> None:
        self.target.copy_(self.source)


Hardware = MatrixProduct | MemoryCopy
