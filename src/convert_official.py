"""`python -m src.convert_official IN.pt OUT.pth`: a checkpoint of the paper's official code becomes one of ours.

python -m src.convert_official best_model.pt nlotm.pth
python -m src.convert_official best_model.pt nlotm.pth --prior best_prior.pt --num-slots 4

IN.pt may hold the state dict itself or a training checkpoint with it; SysBinder's, too. `SVQ.from_checkpoint` and all
commands open OUT.pth.
"""

from __future__ import annotations

import os
import sys

from .configs.arguments import Parser


def main(arguments: list[str] | None = None) -> None:
    """Reads, converts and writes; one line and exit code 2 where that cannot be done."""
    settings = _parser().parse_args(arguments)
    from .models.official_import import TOLD, import_official, read_official  # torch comes in here
    from .training.checkpoint import save_checkpoint

    try:
        for read in (settings.input, settings.prior):
            if read is not None and os.path.abspath(read) == os.path.abspath(settings.output):
                raise ValueError(f"{settings.output} is read, so it cannot be written as well: give another output")
        if os.path.isdir(settings.output):
            raise ValueError(
                f"{settings.output} is a folder; give the file to write, such as {settings.output}/nlotm.pth"
            )
        found = read_official(settings.input)
        if settings.prior is not None:
            found["prior"] = read_official(settings.prior).get("prior")
            if found["prior"] is None:
                raise ValueError(f"{settings.prior} holds an autoencoder, not a prior")
        if "model" not in found:
            raise ValueError(f"{settings.input} holds a prior only; give the autoencoder first, and it with --prior")
        told = {name: value for name, value in found.get("config", {}).items() if name in TOLD}
        told |= {
            name: value
            for name in ("num_slots", "num_iterations", "num_decoder_heads", "prior_num_heads")
            if (value := getattr(settings, name)) is not None
        }
        model = import_official(found["model"], found.get("prior"), **told)
        save_checkpoint(settings.output, model, step=0, metrics={}, config={"converted_from": settings.input})
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    size = f"N={model.num_slots}, M={model.num_codebooks}, K={model.codebook_size}"
    print(f"{settings.output}: {size}, {'with' if model.prior is not None else 'without'} a prior")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m src.convert_official",
        description="A checkpoint of the paper's official code becomes one of ours, with the same numbers.",
    )
    parser.add_argument("input", help="official checkpoint or state dict")
    parser.add_argument("output", help="file to write, such as nlotm.pth")
    parser.add_argument("--prior", help="official checkpoint or state dict of the prior")
    of_weights = "where neither the weights nor the file tell; official default: "
    parser.add_argument("--num-slots", type=int, help=f"{of_weights}4")
    parser.add_argument("--num-iterations", type=int, help=f"{of_weights}3")
    parser.add_argument("--num-decoder-heads", type=int, help=f"{of_weights}4")
    parser.add_argument("--prior-num-heads", type=int, help=f"{of_weights}4")
    return parser


if __name__ == "__main__":
    main()
