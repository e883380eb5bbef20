"""Checkpoints that are not what they should be, opened wherever one is opened.

Each is opened by commands (each a process of its own: `src.generate`, `src.evaluate`, `src.export`, and `src.train`
with training.resume) and from Python (`CodeModel.from_checkpoint`, `SVQ.from_pretrained`, `load_checkpoint`, which
resuming calls). All have to refuse it in one line. Files with code inside would make a folder when it runs.

Single bits are flipped at 100 random places of a checkpoint, and of each file of a folder of weights. A flipped file is
refused, or what comes out of it is the same, bit by bit: every part of a checkpoint has a checksum.
"""

from __future__ import annotations

import os
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from src.models.code_model import CodeModel
from src.models.patch_vqvae import PatchVQVAE
from src.models.svq_model import SVQ
from src.training.checkpoint import LAST, PRIOR, load_checkpoint
from src.utils.checkpoint_io import VERSION
from src.utils.pretrained import CONFIG, WEIGHTS

from .case import Case, Settings
from .faults import inject, terminate
from .processes import run
from .tiny import TINY, places

FLIPS = 100
TRUNCATED = (0.001, 0.1, 0.5, 0.9, 0.999)  # shares of the file that are left
REFUSED = "refused in one line, without a traceback"

PYTHON: dict[str, Callable[[Path], Any]] = {
    "CodeModel.from_checkpoint": CodeModel.from_checkpoint,
    "SVQ.from_pretrained": SVQ.from_pretrained,
    "load_checkpoint": load_checkpoint,
}


# Files of which some need not know: a model of another kind is none to refuse for who opens all kinds, and who resumes
# builds the model from the settings, into which the weights fit or do not.
RESUMING = ("load_checkpoint", "src.train")
ANY_KIND = ("CodeModel.from_checkpoint", "load_checkpoint", "src.generate", "src.evaluate", "src.export")
UNAWARE = {
    "another kind of model": ANY_KIND,
    "other sizes": RESUMING,
    "an unknown model": RESUMING,
} | dict.fromkeys(("a weight is missing", "a weight of another shape", "NaN in a weight"), ("load_checkpoint",))


class Code:
    """Pickled, it is a call that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def checkpoints(work: Path, settings: Settings) -> Iterator[Case]:
    """A case for each file and place where it is opened, and for each place with the flips."""
    whole, settings_of_it = interrupted(work / "whole")
    sentinel = work / "made_by_code"
    for name, path in unusable(work / "files", whole, sentinel).items():
        for door, opened in PYTHON.items():
            if door in UNAWARE.get(name, ()):
                continue
            said = outcome(opened, path)
            refused = said.startswith("refused")
            yield Case(f"{name}, {door}", "opened it from Python", "an exception of one line", said, passed=refused)
        for command, words in commands(path, settings_of_it, work / "out").items():
            if command in UNAWARE.get(name, ()):
                continue
            ended = run(command, words, work / "output")
            yield Case(f"{name}, {command}", "opened it by the command", REFUSED, str(ended), passed=ended.clear)
    yield Case(
        "code in a file",
        "opened files whose pickles call os.mkdir in all of these ways",
        "never run",
        "run: it made its folder" if sentinel.exists() else "never run",
        passed=not sentinel.exists(),
    )
    yield from flipped(work / "flipped", whole, random.Random(settings.seed))


def interrupted(folder: Path) -> tuple[Path, list[str]]:
    """The last.pth of a training that was stopped in its second phase, and the settings with which it goes on."""
    words = [*TINY, *places(folder)]
    stop = (folder / "checkpoints", PRIOR, terminate)
    ended = run("src.train", words, folder / "output", first=inject, arguments=stop)
    if ended.code != 143:
        raise RuntimeError(f"the training that makes a checkpoint: {ended}")
    return folder / "checkpoints" / LAST, words


def unusable(folder: Path, whole: Path, sentinel: Path) -> dict[str, Path]:
    """Files none of which is a checkpoint of this version that fits its model."""
    folder.mkdir()
    data, content = whole.read_bytes(), torch.load(whole, weights_only=True)
    config, weights = content["model_config"], content["model_state_dict"]
    first = next(iter(weights))
    files: dict[str, Path] = {}

    def add(name: str, made: bytes | Mapping[str, Any]) -> None:
        files[name] = path = folder / f"{name.replace(' ', '_')}.pth"
        path.write_bytes(made) if isinstance(made, bytes) else torch.save(dict(made), path)

    for share in TRUNCATED:
        add(f"truncated to {share:.1%}", data[: int(share * len(data))])
    add("empty", b"")
    add("text", b"not a checkpoint\n" * 1000)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "picture.png")
    add("a picture", (folder / "picture.png").read_bytes())
    add("random bytes", random.Random(0).randbytes(10_000))
    add("pickled code", pickle.dumps(Code(sentinel)))
    add("code among the weights", content | {"model_state_dict": {**weights, first: Code(sentinel)}})
    add("code beside the weights", content | {"extra": Code(sentinel)})
    add("another program's", {"state_dict": weights})
    add("a future version", content | {"version": VERSION + 1})
    add("without a version", {key: value for key, value in content.items() if key != "version"})
    add("other sizes", content | {"model_config": config | {"slot_size": 2 * config["slot_size"]}})
    add("an unknown model", content | {"model_config": config | {"kind": "unheard_of"}})
    add("a weight is missing", content | {"model_state_dict": {k: v for k, v in weights.items() if k != first}})
    add("a weight of another shape", content | {"model_state_dict": weights | {first: weights[first][..., None]}})
    add("NaN in a weight", content | {"model_state_dict": weights | {first: weights[first] * float("nan")}})
    add("weights are a list", content | {"model_state_dict": list(weights.values())})
    other = PatchVQVAE(image_size=16, codebook_size=8, hidden_dim=8)
    add("another kind of model", content | {"model_config": other.config, "model_state_dict": other.state_dict()})
    return files


def commands(path: Path, settings: list[str], output: Path) -> dict[str, list[str]]:
    """The command lines that open `path`."""
    quiet = f"hydra.run.dir={output / 'run'}"
    return {
        "src.generate": [f"checkpoint={path}", f"output={output}", "num_images=1", quiet],
        "src.evaluate": [f"checkpoint={path}", f"output={output}", quiet],
        "src.export": [f"checkpoint={path}", f"output={output}", quiet],
        "src.train": [*settings, f"checkpoint_dir={output / 'checkpoints'}", f"training.resume={path}"],
    }


def outcome(opened: Callable[[Path], Any], path: Path, expected: Any = None) -> str:
    """What opening it from Python comes to: "refused: ...", or "loads, ..." or "not one line: ..."."""
    try:
        found = opened(path)
    except (ValueError, OSError) as error:
        kind, message = type(error).__name__, str(error)
        return f"not one line: {kind}: {message}" if "\n" in message else f"refused: {kind}: {message}"
    except Exception as error:
        return f"not one line: {type(error).__name__}: {error}"
    return "loads, the same" if expected is not None and same(content_of(found), expected) else "loads, differs"


def content_of(found: Any) -> Any:
    """All that was read of a file."""
    if isinstance(found, CodeModel):
        return {"config": found.config, "weights": dict(found.state_dict())}
    return {**found, "training_state": vars(found["training_state"])}


def same(one: Any, two: Any) -> bool:
    """Whether nested containers are equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(value, two[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and one == two


def flipped(folder: Path, whole: Path, rng: random.Random) -> Iterator[Case]:
    """A case for each file and place where it is opened, with counts of what the flips came to."""
    weights = folder / "weights"
    CodeModel.from_checkpoint(whole).save_pretrained(weights)
    copy = folder / LAST
    copy.write_bytes(whole.read_bytes())
    opened = {each: copy for each in PYTHON} | {"SVQ.from_pretrained": weights}
    for file, doors in (
        (copy, ("CodeModel.from_checkpoint", "load_checkpoint")),
        (weights / WEIGHTS, ("SVQ.from_pretrained",)),
        (weights / CONFIG, ("SVQ.from_pretrained",)),
    ):
        data, settings = file.read_bytes(), file.name == CONFIG
        expected = {door: content_of(PYTHON[door](opened[door])) for door in doors}
        counts: dict[str, Counter[str]] = {door: Counter() for door in doors}
        wrong: dict[str, str] = {}
        for _ in range(FLIPS):
            place, bit = rng.randrange(len(data)), rng.randrange(8)
            file.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            for door in doors:
                said = outcome(PYTHON[door], opened[door], expected[door])
                counts[door][said.split(":")[0]] += 1
                if said.startswith("not one line") or (said == "loads, differs" and not settings):
                    wrong.setdefault(door, f"; byte {place}, bit {bit}: {said}")
        file.write_bytes(data)
        for door in doors:
            found = ", ".join(f"{name} {count}" for name, count in sorted(counts[door].items()))
            yield Case(
                f"flipped bits of {file.name}, {door}",
                f"opened it {FLIPS} times, each time with one bit flipped",
                "refused in one line, or the same comes out"
                + (
                    " (numbers and names in this file have no checksum: others come out)" if file.name == CONFIG else ""
                ),
                f"{found}{wrong.get(door, '')}",
                passed=door not in wrong,
                numbers={name.replace(", ", "_"): count for name, count in counts[door].items()},
            )
