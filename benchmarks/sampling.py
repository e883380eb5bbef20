"""How much faster the prior draws scenes with cached keys and values than by recomputing everything.

    python -m benchmarks.sampling

One process, one machine, the same weights and the same random numbers: in each round every method draws the
same scenes once, in an order that turns from round to round, and ratios are taken within a round. Methods:

    cached      `AutoregressiveTransformer.sample`: one new token a step
    prefix      a forward pass over all codes so far at each step, as the official code of the paper does;
                only the output layer is spared all positions but the last
    sequence    the same over the full length at each step, whatever is known of it

The headline is prefix / cached. Weights are random: the time does not depend on what they say.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.configs.arguments import Parser
from src.models.transformer_decoder import AutoregressiveTransformer
from src.training.results import commit, hardware, write_json
from src.utils.precision import autocast, resolve_device, resolve_precision

OUTPUT = Path(__file__).resolve().parents[1] / "results" / "sampling_benchmark.json"


def sample_cached(prior: AutoregressiveTransformer, scenes: int, generator: torch.Generator) -> Tensor:
    """`scenes` scenes (B, N, M), with cached keys and values."""
    return prior.sample(scenes, generator=generator)


@torch.no_grad()
def sample_by_prefix(prior: AutoregressiveTransformer, scenes: int, generator: torch.Generator) -> Tensor:
    """The same draws, from a forward pass over the codes so far at each step; `prior` in eval mode."""
    codes = torch.empty(scenes, 0, dtype=torch.int64, device=prior.head.device)
    begin = prior.begin.expand(scenes, 1, -1)
    blocks = torch.arange(prior.num_slots * prior.num_codebooks, device=codes.device) % prior.num_codebooks
    for position in range(len(blocks)):
        embedded = prior.code_embedding[blocks[:position], codes]
        x = torch.cat([begin, embedded], dim=1) + prior.position_embedding[: position + 1]
        for layer in prior.layers:
            x = layer(x)
        logits = (prior.norm(x[:, -1]) @ prior.head[blocks[position]]).float()
        codes = torch.cat([codes, torch.multinomial(logits.softmax(-1), 1, generator=generator)], dim=1)
    return codes.unflatten(1, (prior.num_slots, prior.num_codebooks))


@torch.no_grad()
def sample_by_sequence(prior: AutoregressiveTransformer, scenes: int, generator: torch.Generator) -> Tensor:
    """The same draws, from a forward pass over the whole length at each step; `prior` in eval mode."""
    shape = (scenes, prior.num_slots, prior.num_codebooks)
    codes = torch.zeros(shape, dtype=torch.int64, device=prior.head.device)
    for position in range(prior.num_slots * prior.num_codebooks):
        slot, block = divmod(position, prior.num_codebooks)
        probabilities = prior(codes)[:, slot, block].softmax(-1)
        codes[:, slot, block] = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    return codes


METHODS: dict[str, Callable[[AutoregressiveTransformer, int, torch.Generator], Tensor]] = {
    "cached": sample_cached,
    "prefix": sample_by_prefix,
    "sequence": sample_by_sequence,
}


def measure(prior: AutoregressiveTransformer, scenes: int, rounds: int, precision: str) -> dict[str, Any]:
    """Times every method once a round, after an unmeasured round that checks that all draw the same scenes.

    Returns the seconds and their median for each method, the share of codes that equal those of `cached`, and
    for the other methods the median and range, over the rounds, of their time divided by that of `cached`.
    """
    device = prior.head.device
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    drawn: dict[str, Tensor] = {}
    names = list(METHODS)
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            generator = torch.Generator(device).manual_seed(number)
            start = time.perf_counter()
            with autocast(precision, device.type):
                codes = METHODS[name](prior, scenes, generator)
            if device.type != "cpu":
                getattr(torch, device.type).synchronize()
            if number > 0:
                seconds[name].append(time.perf_counter() - start)
            else:
                drawn[name] = codes
    same = {name: (codes == drawn["cached"]).float().mean().item() for name, codes in drawn.items()}
    if precision == "float32" and min(same.values()) < 0.99:  # one draw on an edge changes all that follow it
        raise RuntimeError(f"the methods drew different codes, so their times mean nothing: {same}")
    result: dict[str, Any] = {"precision": precision}
    for name in METHODS:
        rounded = [round(value, 5) for value in seconds[name]]
        result[name] = {"median_s": statistics.median(rounded), "seconds": rounded, "same_codes": same[name]}
    for name in names[1:]:
        ratios = [slow / fast for slow, fast in zip(seconds[name], seconds["cached"], strict=True)]
        result[f"{name}_over_cached"] = {
            "median": round(statistics.median(ratios), 2),
            "min": round(min(ratios), 2),
            "max": round(max(ratios), 2),
        }
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; the defaults are the sizes of the published number."""
    parser = Parser(prog="python -m benchmarks.sampling", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=int, default=64, help="scenes drawn at once")
    parser.add_argument("--slots", type=int, default=8, help="N; N·M codes make a scene")
    parser.add_argument("--blocks", type=int, default=8, help="M")
    parser.add_argument("--codes", type=int, default=64, help="K")
    parser.add_argument("--embed-dim", type=int, default=256)
    parser.add_argument("--num-heads", type=int, default=8)
    parser.add_argument("--num-layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds, each with every method")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=None,
        help="float32, bf16 or both; default: all the hardware computes",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the JSON file goes")
    settings = parser.parse_args(arguments)
    for name in ("scenes", "slots", "blocks", "codes", "embed_dim", "num_heads", "num_layers", "rounds"):
        if getattr(settings, name) < 1:
            parser.error(f"argument --{name.replace('_', '-')}: must be at least 1, got {getattr(settings, name)}")
    if settings.embed_dim % settings.num_heads:
        parser.error(f"argument --embed-dim: {settings.embed_dim} is no multiple of --num-heads {settings.num_heads}")
    try:
        settings.device = resolve_device(settings.device)
        for name in settings.precision or []:
            resolve_precision(name, settings.device)
    except ValueError as error:
        parser.error(str(error))
    return settings


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints a table and writes a JSON file."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse(arguments)
    start = time.perf_counter()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None  # before this process adds to it
    device = settings.device
    precisions = settings.precision or sorted({"float32", resolve_precision("auto", device)}, reverse=True)
    torch.manual_seed(0)
    prior = AutoregressiveTransformer(
        settings.slots,
        settings.blocks,
        settings.codes,
        embed_dim=settings.embed_dim,
        num_heads=settings.num_heads,
        num_layers=settings.num_layers,
    )
    prior.to(device).eval()
    measured = [
        measure(prior, settings.scenes, settings.rounds, resolve_precision(name, device)) for name in precisions
    ]

    print(
        f"{settings.scenes} scenes of {settings.slots} × {settings.blocks} codes, K = {settings.codes}; "
        f"{settings.num_layers} layers of {settings.embed_dim}; {settings.rounds} rounds on "
        f"{hardware(torch.device(device))}"
    )
    print(f"{'precision':<10}{'method':<10}{'median':>10}{'× cached (range)':>26}")
    for result in measured:
        for name in METHODS:
            ratio = result.get(f"{name}_over_cached")
            shown = f"{ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})" if ratio else "1"
            print(f"{result['precision']:<10}{name:<10}{result[name]['median_s']:>8.3f} s{shown:>26}")
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    written = write_json(
        settings.output,
        {
            "what": "seconds to draw the codes of scenes, with cached keys and values or not",
            "command": " ".join(["python -m benchmarks.sampling", *arguments]),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "duration_s": round(time.perf_counter() - start, 1),
            "commit": commit(),
            "hardware": hardware(torch.device(device)),
            "device": device,
            "threads": torch.get_num_threads(),
            "load_at_start": load,
            "torch": torch.__version__,
            "settings": {
                name: value for name, value in vars(settings).items() if name not in ("output", "device", "precision")
            },
            "results": measured,
        },
    )
    print(f"written: {written}")


if __name__ == "__main__":
    main()
