"""A tiny run that writes down, step by step, what its quantizer learns.

python -m tests.training.recorded FOLDER STOP_AT OVERRIDE...

A module, because Fabric starts the second process by the name of the first one's. The last process sends itself
SIGTERM in step STOP_AT (0: never).
"""

from __future__ import annotations

import copy
import signal
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from src.configs.errors import Interrupted
from src.configs.launch import Invocation
from src.models.vector_quantizer import SemanticVectorQuantizer
from src.training import loop
from src.training.run import train
from src.utils.distributed import rank, world_size

from .tiny import in_folder, tiny_config

DECAY = 0.7  # codes die within a few steps


def record(stop_at: int) -> list[dict[str, Tensor]]:
    """Of each call of the quantizer in training, from now on: its buffers, the codes chosen and which were revived."""
    calls: list[dict[str, Tensor]] = []
    learn, clip, steps = SemanticVectorQuantizer._learn, loop.clip_gradients, 0

    def recording(quantizer: SemanticVectorQuantizer, flat: Tensor, codes: Tensor, filled: int) -> None:
        quantizer.decay = DECAY
        unrevived = copy.deepcopy(quantizer)
        unrevived.revive_below = 0.0
        learn(unrevived, flat, codes, filled)
        learn(quantizer, flat, codes, filled)
        revived = quantizer.ema_count != unrevived.ema_count
        buffers = {name: buffer.clone() for name, buffer in quantizer.named_buffers()}
        calls.append({"codes": codes.clone(), "revived": revived, **buffers})

    def stopping(fabric: Fabric, phase: loop.Phase) -> float:
        nonlocal steps
        steps += 1
        if steps == stop_at and rank() == world_size() - 1:
            signal.raise_signal(signal.SIGTERM)
        return clip(fabric, phase)

    SemanticVectorQuantizer._learn = recording
    loop.clip_gradients = stopping
    return calls


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    calls = record(int(sys.argv[2]))
    try:
        train(tiny_config(*in_folder(folder), *sys.argv[3:]), Invocation(folder / "run"))
    except Interrupted as error:
        print(error)
    torch.save(calls, folder / f"calls_{rank()}.pt")
