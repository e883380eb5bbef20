"""Everything that `python -m benchmarks.speed` measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from src.training.checkpoint import AUTOENCODER, PRIOR

from .data_loading import measure_loading
from .measurement import Measurement
from .paper_model import FEW_FOR_A_CPU, OFFICIAL_STEP, STEP_OF_THE_PAPER, measure_decoding, measure_sampling
from .quantizer import measure_quantizer
from .slot_attention import measure_slot_attention
from .train_step import measure_step


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        name: for `--only`, and where the results have it.
        what: is measured, with its sizes.
        measure: measures it in so many rounds on a device.
        against: what it is compared with, if anything.
        bar: what it must reach on the CPU, if anything.
        devices: where it is measured.
    """

    name: str
    what: str
    measure: Callable[..., Measurement]
    against: str = ""
    bar: str = ""
    devices: tuple[str, ...] = ("cpu", "cuda")


ROWS = (
    Row(
        "quantizer",
        "quantizer, forward and moving averages: 40 × 4 slots, M=16, K=64, C=128",
        measure_quantizer,
        against="`vector-quantize-pytorch`, one codebook a head",
        bar="≥ 2 ×",
    ),
    Row(
        "slot_attention",
        "slot attention, forward and backward: batch 16, 4,096 inputs of width 64, 7 slots, 3 iterations",
        measure_slot_attention,
        against="`slot-attention`",
        bar="≥ 1.3 ×",
    ),
    Row("autoencoder_step", "training step of the default autoencoder", partial(measure_step, name=AUTOENCODER)),
    Row("prior_step", "training step of the default prior", partial(measure_step, name=PRIOR)),
    Row(
        "paper_step",
        "training step of the paper's model: 128 px, batch 4",
        partial(measure_step, name=AUTOENCODER, settings=FEW_FOR_A_CPU, peer=OFFICIAL_STEP, most_rounds=3),
        against="the official code, on another machine",
        bar="≥ 3 images/s, or ≥ 40 % of the matrix product; ≤ 3.5 GB",
        devices=("cpu",),
    ),
    Row(
        "paper_batch",
        "training step of the paper's model: 128 px, batch 40",
        partial(measure_step, name=AUTOENCODER, settings=STEP_OF_THE_PAPER),
        devices=("cuda",),
    ),
    Row(
        "paper_decoding",
        "images painted by the paper's decoder: 1,024 tokens each, 8 at once",
        partial(measure_decoding, most_rounds=3),
        against="the official code (one image), on another machine",
        bar="≥ 25 ×",
    ),
    Row(
        "paper_sampling",
        "8 scenes of 64 codes drawn from the paper's prior",
        measure_sampling,
        against="the whole prefix anew for each code, as the official code does",
        bar="≥ 5 ×",
    ),
    Row(
        "loading",
        "batches of 64×64 pictures in memory, gathered by the training process",
        measure_loading,
        against="training step of the default autoencoder",
    ),
    Row(
        "loading_workers",
        "the same, gathered by two workers",
        partial(measure_loading, num_workers=2),
        against="training step of the default autoencoder",
    ),
)
