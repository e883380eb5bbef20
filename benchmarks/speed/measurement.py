"""One measured figure: its time, its share of what the hardware can do, and how it compares."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .hardware import Hardware, MatrixProduct
from .timing import CPU, Call, Spread, count_flop, interleave, ratio


@dataclass(frozen=True)
class Measurement:
    """What the rows of the table hold. A call is one pass over `images` images, or over the inputs that a row names."""

    precision: str  # "float32" or "bf16"
    seconds: Spread  # of a call
    share: Spread  # in [0, 1], of what the hardware can do
    hardware: str  # what that was measured with
    hardware_rate: Spread  # FLOP/s or B/s
    work: int  # FLOP or bytes of a call
    images: int | None = None  # of a call
    times_faster: Spread | None = None  # than what the row compares with
    peak_memory: int | None = None  # bytes, of a fresh process: in its memory, or in that of its GPU

    @property
    def images_per_second(self) -> float | None:
        return None if self.images is None else self.images / self.seconds.median


def measure(
    ours: Call,
    rounds: int,
    peer: Call | float | None = None,
    precision: str = "float32",
    images: int | None = None,
    peer_images: int | None = None,
    hardware: Hardware | None = None,
    work: int | None = None,
    peak_memory: int | None = None,
    device: torch.device = CPU,
) -> Measurement:
    """Times `ours`, `peer` and the hardware in turn.

    Args:
        peer: the same work done by another, or other work, compared by the image; or the seconds that the other is
            known to take, on a machine like this one.
        images, peer_images: of one call; the peer's are as many where nothing else is said.
        hardware: what to take the share of: a matrix product of this precision where nothing is said.
        work: of one call, in the hardware's unit: the counted FLOP of its products where nothing is said.
        device: where everything is computed.
    """
    hardware = MatrixProduct(precision, device) if hardware is None else hardware
    work = count_flop(ours) if work is None else work
    calls: dict[str, Call] = {"ours": ours, "hardware": hardware} | ({"peer": peer} if callable(peer) else {})
    seconds = interleave(calls, rounds, device=device)
    if isinstance(peer, float):
        seconds["peer"] = [peer] * rounds
    rates = [hardware.work / each for each in seconds["hardware"]]
    times_faster = None
    if peer is not None:
        peer_size = 1 if peer_images is None else peer_images / (images or 1)  # in calls of ours
        times_faster = ratio([each / peer_size for each in seconds["peer"]], seconds["ours"])
    return Measurement(
        precision=precision,
        seconds=Spread.of(seconds["ours"]),
        share=ratio([work / rate for rate in rates], seconds["ours"]),
        hardware=hardware.name,
        hardware_rate=Spread.of(rates),
        work=work,
        images=images,
        times_faster=times_faster,
        peak_memory=peak_memory,
    )
