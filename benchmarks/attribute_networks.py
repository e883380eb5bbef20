"""The attribute networks that are shipped: trained for the usual data sets, with their errors in results/.

    python -m benchmarks.attribute_networks                        # all that are missing
    python -m benchmarks.attribute_networks shapes:random          # one of them

Writes src/evaluation/attribute_networks/ and results/attribute_networks.json. Each takes some minutes; one that is
there is not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from src.configs.arguments import Parser
from src.data.catalogue import DRAWN
from src.evaluation.attribute_training import SHIPPED, attribute_network, file_name, network_definition
from src.training.results import commit, hardware, write_json
from src.utils.precision import autocast, resolve_precision

DATA = ("shapes:black", "shapes:random", "multi_dsprites:black", "sprites:black", "sprites:textured")
RESULTS = Path(__file__).resolve().parents[1] / "results" / "attribute_networks.json"


def make(data: str) -> None:
    """Trains the network of `data`, "name:background", ships it, and adds its report to the results."""
    name, background = data.split(":")
    dataset = DRAWN[name](num_samples=1, background=background)
    target = SHIPPED / file_name(network_definition(dataset))
    if target.exists():
        print(f"{data}: {target.name} is there")
        return
    made_by = commit()  # before the files written here change the working tree
    with tempfile.TemporaryDirectory() as folder:
        precision = autocast(resolve_precision("auto", "cpu"), "cpu")
        _, report = attribute_network(dataset, folder, autocast=precision)
        (trained,) = Path(folder).iterdir()
        SHIPPED.mkdir(exist_ok=True)
        target.write_bytes(trained.read_bytes())
    reports = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    reports[data] = {
        "file": target.name,
        "commit": made_by,
        "hardware": hardware(torch.device("cpu")),
        "report": report,
    }
    write_json(RESULTS, reports)
    wanted = ("false_reject", "false_reject_degraded", "false_accept", "rule_missed", "rule_imagined")
    shares = {key: round(report[key]["share"], 4) for key in wanted if key in report}
    print(data, shares)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=DATA, help=f"name:background (all: {' '.join(DATA)})")
    given = parser.parse_args().data
    known = [f"{name}:{background}" for name, kind in DRAWN.items() for background in kind.backgrounds]
    for data in given:
        if data not in known:
            parser.error(f"{data} is unknown; choose from: {', '.join(known)}")
    for data in given:
        make(data)


if __name__ == "__main__":
    main()
