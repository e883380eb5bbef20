"""Trained weights for everybody who has the code: from a published run to a folder of the package.

    python -m benchmarks.ship                                     # src/pretrained/shapes/
    python -m benchmarks.ship --name multi_dsprites

Takes checkpoints/<name>/seed_0/best_model.pth and results/<name>/seed_0.json, which `benchmarks.default_runs` left:
always seed 0, whatever the others reached. Weights that are larger than 5 MB are rounded; how many codes of validation
pictures that changes, and what it costs the prior, is measured and written on the model card. A folder that is there
is not replaced: remove it first.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.configs.arguments import Parser
from src.models.code_model import CodeModel
from src.training.build import open_known
from src.training.checkpoint import BEST, differences
from src.training.results import lookup
from src.utils.checkpoint_io import safe_load
from src.utils.pretrained import SHIPPED, WEIGHTS

from .default_runs import PROJECT, RESULTS, ROWS

LARGEST = 5_000_000  # bytes
PICTURES = 256  # of the validation split, to compare rounded weights on
BATCH = 32


def ship(name: str, checkpoints: Path, results: Path, shipped: Path = SHIPPED) -> Path:
    """Writes `shipped`/<name>/ and returns it.

    Raises:
        SystemExit: a file that is missing or cannot be used, files of different runs, or weights that are too large.
    """
    path, scores, folder = checkpoints / name / "seed_0" / BEST, results / name / "seed_0.json", shipped / name
    if folder.exists():
        raise SystemExit(f"error: {folder} is there already; remove it to ship other weights")
    for file in (path, scores):
        if not file.exists():
            raise SystemExit(f"error: {file} is missing; python -m benchmarks.default_runs --name {name} writes it")
    run = json.loads(scores.read_text(encoding="utf-8"))
    try:
        require_same_run(safe_load(path), run)
        model = CodeModel.from_checkpoint(path)
    except ValueError as error:
        raise SystemExit(f"error: {path} and {scores}: {error}") from error
    if model.prior is None:
        raise SystemExit(f"error: {path} has no prior: its training has not come to its end")
    metrics = dict(card_rows(run))
    with tempfile.TemporaryDirectory() as space:
        draft = Path(space) / name  # the card is titled by the name
        said: dict[str, Any] = {"metrics": metrics, "source": f"results/{name}/seed_0.json"}
        model.save_pretrained(draft, **said)
        size = (draft / WEIGHTS).stat().st_size
        if size > LARGEST:
            model.save_pretrained(draft, **said, compact=True)
            metrics |= lost_by_rounding(model, CodeModel.from_pretrained(draft))
            model.save_pretrained(draft, **said, compact=True)
            size = (draft / WEIGHTS).stat().st_size
        if size > LARGEST:
            raise SystemExit(
                f"error: the weights of {path} take {size:,} bytes, rounded; at most {LARGEST:,} are shipped"
            )
        shutil.copytree(draft, folder)
    return folder


def require_same_run(checkpoint: dict[str, Any], run: dict[str, Any]) -> None:
    """Raises ValueError unless a checkpoint and a results.json are of one run."""
    differing = differences(checkpoint.get("config") or {}, run["config"])
    if differing:
        raise ValueError(f"they were made with different settings: {', '.join(differing)}")
    reached, told = checkpoint.get("metrics") or {}, run["validation"]
    shared = reached.keys() & told.keys()
    if not shared or any(reached[name] != told[name] for name in shared):
        raise ValueError("they are of different runs: their validation metrics are not the same")


def card_rows(run: dict[str, Any]) -> dict[str, str]:
    """What of a run its table of results shows, as it shows it."""
    values = {label: (lookup(run, path), factor, digits) for label, path, factor, digits in ROWS}
    return {
        label: f"{value * factor:.{digits}f}" for label, (value, factor, digits) in values.items() if value is not None
    }


@torch.no_grad()
def lost_by_rounding(model: CodeModel, rounded: CodeModel) -> dict[str, str]:
    """How a copy with rounded weights differs from its model, on validation pictures, computed in float32.

    Raises:
        SystemExit: the pictures are not there.
    """
    try:
        scenes = open_known(model.origin["config"]["data"], "val", PICTURES)
    except FileNotFoundError as error:  # rendered scenes are files of their own
        raise SystemExit(f"error: {error}") from error
    pictures = torch.stack([scenes[index] for index in range(len(scenes))]).split(BATCH)

    def encode(one: CodeModel) -> Tensor:
        return torch.cat([one.encode(batch) for batch in pictures])

    def bits(one: CodeModel) -> float:
        assert one.prior is not None
        nats = torch.cat([one.prior.nll(batch).flatten() for batch in model.in_order(codes).split(BATCH)])
        return (nats.mean() / torch.log(torch.tensor(2.0))).item()

    codes = encode(model)
    differ = (encode(rounded) != codes).float().mean().item()
    off = max((rounded.paint(batch) - model.paint(batch)).abs().max().item() for batch in codes.split(BATCH))
    return {
        f"codes that rounding the weights changes, % of {codes.numel():,}": f"{100 * differ:.2f}",
        "largest change of a pixel painted from the same codes": f"{off:.4f}",
        "prior, bits a code, before and after rounding": f"{bits(model):.3f} {bits(rounded):.3f}",
    }


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="shapes", help="of the series of runs, and of the shipped model")
    folder = ship(parser.parse_args().name, PROJECT / "checkpoints", RESULTS)
    print(f"wrote {folder.relative_to(PROJECT)}, {(folder / WEIGHTS).stat().st_size:,} bytes of weights")
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
