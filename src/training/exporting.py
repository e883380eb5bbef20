"""Encoder and decoder as files that other programs run, each compared with the model at once."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ..configs.errors import CommandError, ConfigError, as_config_error
from ..configs.mistakes import choose
from ..configs.schema import ExportConfig
from ..models.code_model import CodeModel
from ..models.graphs import DecoderGraph, EncoderGraph, Graph
from ..utils.progress import progress_bar
from .build import open_known
from .results import write_json

BATCH = 16  # pictures at once when a graph is compared; the first comes alone, so that two batch sizes are seen
MOST_CODES, LARGEST_ERROR = 0.01, 1e-3  # share of codes that may differ, and how much anything else may
# ... but slots, in which iterated attention amplifies what two programs round differently; codes are compared apart.
LARGEST_ERROR_OF_SLOTS = 0.05
FORMATS = ("pt2", "onnx")

Run = Callable[[Tensor], list[Tensor]]


def write_graphs(config: ExportConfig) -> list[Path]:
    """Writes encoder and decoder in every format of `config`, and export.json, which says how far each is from the
    model. All batch sizes will do; everything is computed in float32.

    Raises:
        ConfigError: a checkpoint or setting that cannot be used, or a package that is missing.
        CommandError: a graph that is too far from the model.
    """
    formats = list(dict.fromkeys(config.formats))
    if not formats:
        raise ConfigError(f"formats=[] leaves nothing to write; {choose('', FORMATS)}")
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"formats has {name}, which is unknown; {choose(name, FORMATS)}")
    if "onnx" in formats:
        _require_onnx()
    with as_config_error():
        model = CodeModel.from_checkpoint(config.checkpoint)
        graphs: dict[str, Graph] = {"encoder": EncoderGraph(model), "decoder": DecoderGraph(model)}
    model.prior = None  # which would only make files larger
    folder = Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={config.output} is a file; give a folder for the graphs and export.json")
    folder.mkdir(parents=True, exist_ok=True)

    pictures, source = _pictures(model, config.num_images)
    with torch.no_grad():
        codes = torch.cat([model.encode(batch) for batch in pictures.split(BATCH)])
    inputs = {"encoder": pictures, "decoder": codes}
    paths, entries = [], {}
    with progress_bar("exporting", len(graphs) * (1 + len(formats)), unit="graph") as bar:
        for name, graph in graphs.items():
            bar.set_description(f"tracing the {name}")
            with torch.no_grad(), _quiet():
                twice = inputs[name][[0, 0]]  # a batch of one would be taken for a constant
                program = torch.export.export(graph, (twice,), dynamic_shapes=({0: Dim("batch", min=1)},))
                program = program.run_decompositions({})  # without blocks of autocast, which .pt2 files do not keep
            bar.update()
            for kind in formats:
                path = folder / f"{name}.{kind}"
                bar.set_description(f"writing and checking {path.name}")
                run = _write(program, graph, path)
                entries[path.name] = {"bytes": path.stat().st_size, **compare(graph, run, inputs[name])}
                paths.append(path)
                bar.update()
    for name, entry in entries.items():
        print(_line(name, entry), flush=True)
    files = {name: {**entry, "largest_error": _finite(entry["largest_error"])} for name, entry in entries.items()}
    content = {"checkpoint": config.checkpoint, "pictures": source, "torch": torch.__version__, "files": files}
    paths.append(write_json(folder / "export.json", content))
    for name, entry in entries.items():
        few = entry["codes_differ"] <= MOST_CODES * entry["codes"]
        allowed = {"slots": LARGEST_ERROR_OF_SLOTS}
        if not few or any(error > allowed.get(at, LARGEST_ERROR) for at, error in entry["largest_error"].items()):
            raise CommandError(f"{folder / name} does not do what the model does: {_line(name, entry)}")
    return paths


@torch.no_grad()
def compare(graph: Graph, run: Run, inputs: Tensor) -> dict[str, Any]:
    """How far what `run` makes of `inputs` is from what `graph` makes of them.

    Returns:
        codes_differ: how many of `codes` codes; 0 of 0 where no codes come out.
        largest_error: by output, over scenes whose codes are all the same; infinite where one of the two has no number.
    """
    differ = codes = 0
    errors = dict.fromkeys((name for name in graph.outputs if name != "codes"), 0.0)
    for batch in inputs.split([1, *(len(part) for part in inputs[1:].split(BATCH) if len(part))]):
        expected = dict(zip(graph.outputs, graph(batch), strict=True))
        found = dict(zip(graph.outputs, run(batch), strict=True))
        same = torch.ones(len(batch), dtype=torch.bool)
        if "codes" in expected:
            wrong = found["codes"] != expected["codes"]
            differ, codes = differ + int(wrong.sum()), codes + wrong.numel()
            same = ~wrong.flatten(1).any(dim=1)
        for name, largest in errors.items():
            off = (found[name] - expected[name])[same].abs().nan_to_num(nan=math.inf)
            errors[name] = max(largest, off.max().item()) if off.numel() else largest
    return {"images": len(inputs), "codes": codes, "codes_differ": differ, "largest_error": errors}


def _write(program: ExportedProgram, graph: Graph, path: Path) -> Run:
    """Writes the file, and returns what runs it."""
    if path.suffix == ".pt2":
        with _quiet():
            torch.export.save(program, path)
            module = torch.export.load(path).module()
        return lambda batch: list(module(batch))
    import onnxruntime

    with _quiet():
        torch.onnx.export(
            program,
            (),
            path,
            input_names=[graph.input],
            output_names=list(graph.outputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: [torch.from_numpy(each) for each in session.run(None, {graph.input: batch.numpy()})]


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"formats=[onnx] needs {error.name}, which is not installed; the extra `export` has it (pip install onnx "
            "onnxscript onnxruntime), and formats=[pt2] does without"
        ) from error


def _pictures(model: CodeModel, count: int) -> tuple[Tensor, str]:
    """Pictures (count, in_channels, H, W) to compare on, and where they are from: the validation split of what the
    model was trained on or, where that is not known or not here, random codes that it paints."""
    data = (model.origin.get("config") or {}).get("data") or {}
    try:
        scenes = open_known(data, "val", count)
        pictures = torch.stack([scenes[index % len(scenes)] for index in range(count)])
        return pictures[:, : model.config["in_channels"]], f"{scenes.name}, validation split"
    except (ValueError, FileNotFoundError):
        shape = (count, model.num_slots, model.num_codebooks)
        codes = torch.randint(model.codebook_size, shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return torch.cat(
                [model.paint(each).clamp(0, 1) for each in codes.split(BATCH)]
            ), "painted from random codes"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PyTorch says of its own insides while it makes a graph."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _finite(errors: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON holds them: what is infinite is None."""
    return {output: error if math.isfinite(error) else None for output, error in errors.items()}


def _line(name: str, entry: dict[str, Any]) -> str:
    said = [f"{entry['bytes'] / 1e6:.1f} MB"]
    if entry["codes"]:
        said.append(f"{entry['codes_differ']:,} of {entry['codes']:,} codes differ")
    said += [f"{output} by {error:.1g} at most" for output, error in entry["largest_error"].items()]
    return f"{name}: {', '.join(said)}"
