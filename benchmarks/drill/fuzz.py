"""Section `fuzz`: settings, pictures, checkpoints and files of codes that nobody would write, made by hypothesis.

Whatever they are, there are two ways out: what was asked for, or the documented exception with a message of one line.
Anything else is a case that failed, and so are an example that takes more than a minute and code of a file that was
run; the smallest such example is named.
"""

from __future__ import annotations

import io
import json
import pickle
import signal
import struct
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from src.configs import launch, schema
from src.configs.errors import ConfigError
from src.data.decoding import PictureError, decode_file
from src.editor.scene import codes_from_json
from src.editor.texts import Refused
from src.models.code_model import CodeModel
from src.training.checkpoint import TrainingState, load_checkpoint

from .case import Case, Settings
from .things import SENTINEL, Hostile, content_of, tiny_model

LIMIT = 60.0  # seconds of the processor, of an example
LONGEST = 1000  # characters of a message; the list of a config's keys is the longest
CONFIGS, PICTURES, CHECKPOINTS, CODES = 100, 1000, 200, 500  # examples
SIDE = 16  # of pictures

Outcome = str  # how an example came out; counted


def fuzz(work: Path, settings: Settings) -> Iterator[Case]:
    """The cases of the section."""
    yield _tried("settings", "keys and values of all commands", configs(), compose, CONFIGS, settings)
    yield _tried("pictures", "bytes, mutated and bombs", pictures(), decode, PICTURES, settings)
    yield _tried("codes", "JSON and bytes as a file of codes", code_files(), read_codes, CODES, settings)
    files = Files(work)
    of_files = (
        ("checkpoints, their bytes", "flipped, cut, filled in", file_bytes(files.bytes), files.open_bytes),
        ("checkpoints, their content", "other values in place of some", contents(), files.open_content),
        ("checkpoints, raw pickles", "pickles of this and that", raw_pickles(files), files.open_bytes),
        ("folders of weights", "mutated config.json and weights", folders(files), files.open_folder),
    )
    for name, done, strategy, function in of_files:
        yield _tried(name, done, strategy, function, CHECKPOINTS, settings)
    executed = files.sentinel.exists()
    happened = f"{SENTINEL} was made" if executed else "nothing was made"
    yield Case("code in files", "opened all of these files", "nothing of them is run", happened, not executed)


def _tried(
    name: str,
    done: str,
    examples: SearchStrategy[Any],
    function: Callable[[Any], Outcome],
    count: int,
    settings: Settings,
) -> Case:
    """Calls `function` with `count` examples."""
    outcomes: Counter[Outcome] = Counter()
    longest = 0.0

    @hypothesis.seed(settings.seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(examples)
    def attempt(example: Any) -> None:
        nonlocal longest
        started = time.process_time()
        with at_most(LIMIT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes[function(example)] += 1
        longest = max(longest, time.process_time() - started)

    expected = "done, or refused in one line"
    try:
        attempt()
    except Exception as error:
        told = "; ".join(getattr(error, "__notes__", []))
        return Case(name, done, expected, f"{type(error).__name__}: {error} ({told})", passed=False)
    total = sum(outcomes.values())
    listed = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    numbers: dict[str, int | float | None] = {"examples": total, **outcomes, "longest_s": round(longest, 3)}
    return Case(name, done, expected, f"{total} examples: {listed}", passed=total > 0, numbers=numbers)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what takes longer, in time of the processor: others may use it too."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def refused(error: Exception) -> Outcome:
    """The outcome of an exception of the documented kind; AssertionError if its message is not one line."""
    line = str(error)
    assert line.strip() and "\n" not in line and len(line) <= LONGEST, f"no line to be read: {line[:LONGEST]!r}"
    return "refused"


# ------------------------------------------------------------------ values of any kind


def plain_values() -> SearchStrategy[Any]:
    """What JSON and YAML can say, and more: numbers without bounds, NaN, text of any letters, nested."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([-1, 0, 1, 2, 7, 2**31, 2**63, 10**30]),
        st.floats(),
        st.text(max_size=12),
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    )


# ------------------------------------------------------------------ settings


def keys_of(kind: type, prefix: str = "") -> list[str]:
    """The dotted keys of a schema, groups too."""
    found = []
    for entry in fields(kind):
        inner = vars(schema).get(entry.type) if isinstance(entry.type, str) else entry.type
        found.append(prefix + entry.name)
        if is_dataclass(inner) and isinstance(inner, type):
            found += keys_of(inner, f"{prefix}{entry.name}.")
    return found


def configs() -> SearchStrategy[tuple[str, list[str]]]:
    """A command and words on its command line, some of them as it knows them."""

    def words(command: str) -> SearchStrategy[tuple[str, list[str]]]:
        key = st.one_of(
            st.sampled_from(keys_of(schema.COMMANDS[command])),
            st.sampled_from(["data", "model", "training", "experiment", "evaluation", "hydra/launcher", "hydra.run"]),
            st.text(alphabet="abcdefghijklmnopqrstuvwxyz_.@/", max_size=12),
        )
        value = st.one_of(
            st.integers(-3, 100).map(str),
            st.floats().map(str),
            plain_values().map(json.dumps),
            st.sampled_from(["null", "true", "[]", "{}", "${seed}", "${nothing}", "cnn", "shapes", "sprites", "nlotm"]),
            st.text(max_size=12),
        )
        word = st.tuples(st.sampled_from(["", "", "", "+", "++", "~"]), key, value).map(
            lambda parts: f"{parts[0]}{parts[1]}={parts[2]}"
        )
        return st.tuples(st.just(command), st.lists(word | st.text(max_size=8), min_size=1, max_size=3))

    return st.sampled_from(["train", *schema.COMMANDS]).flatmap(words)


def compose(example: tuple[str, list[str]]) -> Outcome:
    """As a command does it."""
    command, words = example
    try:
        launch.compose_settings(command, words, schema.COMMANDS[command])
    except ConfigError as error:
        return refused(error)
    return "composed"


# ------------------------------------------------------------------ pictures


def whole_pictures() -> list[bytes]:
    """One of each format and mode."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 4), dtype=np.uint8)
    found = []
    for form, modes in {
        "PNG": ("RGB", "RGBA", "L", "P", "1", "LA"), "JPEG": ("RGB", "L", "CMYK"), "GIF": ("P",), "BMP": ("RGB", "P"),
        "WEBP": ("RGB", "RGBA"), "TIFF": ("RGB", "CMYK", "L"), "PPM": ("RGB", "L"),
    }.items():  # fmt: skip
        for mode in modes:
            file = io.BytesIO()
            Image.fromarray(pixels, "RGBA").convert("RGB").convert(mode).save(file, form)
            found.append(file.getvalue())
    wide = io.BytesIO()
    Image.fromarray((pixels[..., 0].astype(np.uint16)) * 257).save(wide, "PNG")
    return [*found, wide.getvalue()]


def mutated(whole: bytes, head: int = 64) -> SearchStrategy[bytes]:
    """`whole` with some bytes changed, most of them in the first `head`, cut, or with others put in."""
    place = st.integers(0, min(head, len(whole)) - 1) | st.integers(0, len(whole) - 1)
    changes = st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)

    def change(parts: tuple[list[tuple[int, int]], int, bytes]) -> bytes:
        data = bytearray(whole)
        for at, value in parts[0]:
            data[at] = value
        cut, more = parts[1], parts[2]
        return bytes(data[:cut]) + more + bytes(data[cut:] if len(more) else b"")

    cuts = st.integers(0, len(whole)) | st.just(len(whole))
    return st.tuples(changes, cuts, st.just(b"") | st.binary(max_size=8)).map(change)


def declared(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """A PNG whose head says so, with checksums that hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def pictures() -> SearchStrategy[bytes]:
    """Files that may be pictures."""
    side = st.integers(0, 40) | st.sampled_from([2**13, 2**16, 2**26, 2**31 - 1, 2**32 - 1])
    bombs = st.builds(
        declared, side, side, st.sampled_from([1, 2, 4, 8, 16, 3]), st.integers(0, 7), st.binary(max_size=64)
    )
    others = [
        b"%!PS-Adobe-3.0 EPSF-3.0\n(executed) (w) file closefile\n",
        b"<svg><script>x</script></svg>",
        b"%PDF-1.7",
    ]
    heads = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"BM",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
        b"MM\0*",
        b"P6 ",
    ]
    random = st.tuples(st.sampled_from([b"", *heads, *others]), st.binary(max_size=200)).map(b"".join)
    return st.one_of(random, bombs, *map(mutated, whole_pictures()))


def decode(data: bytes) -> Outcome:
    try:
        pixels = decode_file(io.BytesIO(data), SIDE)
    except PictureError as error:
        return refused(error)
    assert pixels.shape == (3, SIDE, SIDE) and pixels.dtype == np.uint8
    return "decoded"


# ------------------------------------------------------------------ files of codes


def code_files() -> SearchStrategy[bytes]:
    """Files of codes for 3 slots of 2 codes from 0 to 7, now and then."""
    code = st.integers(-1, 9) | plain_values()
    slot = st.lists(st.integers(0, 7), min_size=2, max_size=2) | st.lists(code, max_size=3)
    scene = st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=2), min_size=3, max_size=3) | st.lists(slot)
    content = st.fixed_dictionaries({"codes": st.lists(scene, max_size=2) | plain_values()}) | plain_values()
    return content.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)


def read_codes(data: bytes) -> Outcome:
    try:
        codes = codes_from_json(data, 3, 2, 8)
    except Refused as error:
        return refused(error)
    assert len(codes) == 3 and all(len(slot) == 2 and all(0 <= code < 8 for code in slot) for slot in codes)
    return "read"


# ------------------------------------------------------------------ checkpoints


class Files:
    """A whole checkpoint and a whole folder of weights, and where the mutated ones go."""

    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.sentinel, self.path, self.folder = work / SENTINEL, work / "fuzzed.pth", work / "fuzzed"
        model = tiny_model()
        file = io.BytesIO()
        torch.save(content_of(model), file)
        self.bytes = file.getvalue()
        model.save_pretrained(self.folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.weights = (self.folder / "model.safetensors").read_bytes()

    def open_bytes(self, data: bytes) -> Outcome:
        self.path.write_bytes(data)
        return opened(self.path)

    def open_content(self, changes: list[tuple[tuple[str, ...], Any]]) -> Outcome:
        """With the values at these paths in its place, also as the file that training goes on from."""
        content = content_of(tiny_model())
        content["model_config"] = {**content["model_config"], "prior": dict(content["model_config"]["prior"])}
        content["model_state_dict"] = dict(content["model_state_dict"])
        content["training_state"] = vars(TrainingState())
        for path, value in changes:
            place = content
            for key in path[:-1]:
                place = place[key] if isinstance(place.get(key), dict) else {}
            place[path[-1]] = value
        torch.save(content, self.path)
        try:
            load_checkpoint(self.path)
        except ValueError as error:
            refused(error)
        return opened(self.path)

    def open_folder(self, parts: tuple[bytes, bytes]) -> Outcome:
        (self.folder / "config.json").write_bytes(parts[0])
        (self.folder / "model.safetensors").write_bytes(parts[1])
        return opened(self.folder)


def opened(path: Path) -> Outcome:
    try:
        model = CodeModel.from_checkpoint(path)
    except ValueError as error:
        return refused(error)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    return "opened"


def file_bytes(whole: bytes) -> SearchStrategy[bytes]:
    """A checkpoint's bytes, changed mostly where its pickle lies, which the first of its files is."""
    return mutated(whole, head=whole.index(b"PK\x03\x04", 4))


def contents() -> SearchStrategy[list[tuple[tuple[str, ...], Any]]]:
    """Paths into a checkpoint's content, and what is put there."""
    model = tiny_model()
    tops = [(name,) for name in (*content_of(model), "training_state")]
    inner = [("model_config", name) for name in model.config]
    inner += [("model_config", "prior", name) for name in model.config["prior"]]
    inner += [("training_state", entry.name) for entry in fields(TrainingState)]
    inner += [("model_config", "surplus"), ("model_config", "prior", "surplus"), ("training_state", "surplus")]
    weights = [("model_state_dict", name) for name in model.state_dict()]
    tensors = st.sampled_from(
        [torch.zeros(0), torch.zeros(2, 3), torch.tensor(torch.nan), torch.zeros(3, dtype=torch.int8), torch.tensor(1j)]
    )
    path = st.one_of(st.sampled_from(tops), st.sampled_from(inner), st.sampled_from(inner), st.sampled_from(weights))
    return st.lists(st.tuples(path, plain_values() | tensors), min_size=1, max_size=3)


def raw_pickles(files: Files) -> SearchStrategy[bytes]:
    """Pickles without a checkpoint around them, the hostile one among them."""
    bad = Hostile(files.sentinel)
    return st.one_of(plain_values().map(pickle.dumps), mutated(pickle.dumps(bad)), st.just(pickle.dumps(bad)))


def folders(files: Files) -> SearchStrategy[tuple[bytes, bytes]]:
    """config.json and model.safetensors of a folder; without its SHA-256 the weights are looked into."""
    loose = {name: value for name, value in files.config.items() if name != "sha256"}
    keys = st.sampled_from([*loose, "surplus"])
    odd = st.tuples(keys, plain_values()).map(lambda change: json.dumps({**loose, change[0]: change[1]}).encode())
    text = json.dumps(loose).encode()
    config = st.one_of(
        st.just(text), odd, mutated(text, head=len(text)), plain_values().map(lambda v: json.dumps(v).encode())
    )
    head = 8 + int.from_bytes(files.weights[:8], "little")
    return st.tuples(config, st.just(files.weights) | mutated(files.weights, head))
