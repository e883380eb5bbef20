"""Files that cannot be used, or not as they are asked to be: damaged, foreign, hostile, contradictory."""

from __future__ import annotations

import io
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from src.models.catalogue import MODELS
from src.models.code_model import CodeModel
from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save

SENTINEL = "executed"  # the file that hostile files would make, if anything in them were run

TINY: dict[str, Any] = {
    "image_size": 16, "num_slots": 3, "num_iterations": 1, "slot_size": 8, "num_codebooks": 2, "codebook_size": 8,
    "code_dim": 4, "hidden_dim": 8,
}  # fmt: skip
PRIOR: dict[str, Any] = {"embed_dim": 8, "num_heads": 2, "num_layers": 1}


class Hostile:
    """What runs a program when it is unpickled: it makes the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def make_things(folder: Path) -> Path:
    """Fills `folder`; the file `SENTINEL` in it must never come to be. Returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    _pictures(folder)
    _checkpoints(folder)
    _codes(folder)
    _scenes(folder)
    _settings(folder)
    (folder / "file").write_text("")
    (folder / "empty").mkdir()
    return folder


def tiny_model(kind: str = "svq", prior: bool = True, **arguments: Any) -> CodeModel:
    """Small, untrained, in eval mode."""
    torch.manual_seed(0)
    few = (
        {}
        if kind == "svq"
        else {name: TINY[name] for name in ("image_size", "codebook_size", "code_dim", "hidden_dim")}
    )
    model = MODELS[kind](**{**(TINY if kind == "svq" else few), **arguments})
    if prior:
        model.init_prior(**PRIOR)
    return model.eval()


def content_of(model: CodeModel, **others: Any) -> dict[str, Any]:
    """What a checkpoint of `model` holds, with `others` over it."""
    data = {"name": "shapes", "image_size": 16, "max_shapes": 2, "background": "black", "num_train": 64}
    whole = {
        "format": FORMAT, "version": VERSION, "model_config": model.config, "model_state_dict": model.state_dict(),
        "step": 1, "metrics": {}, "config": {"name": "tiny", "seed": 0, "data": data},
    }  # fmt: skip
    return {**whole, **others}


def png(width: int = 32, height: int = 32, seed: int = 0) -> bytes:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of some kilobytes that declares `width` × `height` pixels: 7.5 GB once decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(2**20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _pictures(folder: Path) -> None:
    for name, count in (("photos", 8), ("three", 3), ("spoiled", 8), ("clevr", 0)):
        (folder / name).mkdir()
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(png(seed=number))
    (folder / "spoiled" / "2.png").write_bytes(png()[:200])
    (folder / "good.png").write_bytes(png())
    (folder / "truncated.png").write_bytes(png()[:400])
    (folder / "text.png").write_text("no picture")
    (folder / "small.png").write_bytes(png(4, 4))
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "empty.png").write_bytes(b"")
    Image.fromarray(np.full((32, 32), 0.5, np.float32)).save(folder / "float.tif")
    (folder / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')


def _checkpoints(folder: Path) -> None:
    model = tiny_model()
    content = content_of(model)
    atomic_save(content, folder / "tiny.pth")
    whole = (folder / "tiny.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "text.pth").write_text("no checkpoint")
    (folder / "empty.pth").write_bytes(b"")
    (folder / "pickled.pth").write_bytes(pickle.dumps(Hostile(folder / SENTINEL)))
    torch.save({**content, "config": Hostile(folder / SENTINEL)}, folder / "hostile.pth")
    torch.save([1, 2], folder / "list.pth")
    torch.save({"weights": torch.zeros(2)}, folder / "foreign.pth")
    atomic_save({**content, "version": 1}, folder / "old.pth")
    atomic_save({name: value for name, value in content.items() if name != "model_config"}, folder / "headless.pth")
    atomic_save({**content, "model_config": {**model.config, "num_slots": 4, "hidden_dim": 16}}, folder / "other.pth")
    atomic_save({**content, "model_config": {**model.config, "kind": "gan"}}, folder / "gan.pth")
    state = dict(model.state_dict())
    name = next(name for name, value in state.items() if value.is_floating_point())
    atomic_save({**content, "model_state_dict": {**state, name: state[name] * torch.nan}}, folder / "nan.pth")
    atomic_save({**content, "config": "tiny"}, folder / "no_settings.pth")
    atomic_save(content_of(tiny_model(prior=False)), folder / "no_prior.pth")
    atomic_save(content_of(tiny_model(prior=False, bottleneck="none")), folder / "no_codes.pth")
    atomic_save(content_of(tiny_model("vqvae")), folder / "vqvae.pth")
    atomic_save({**content, "config": {}}, folder / "nameless.pth")
    (folder / "run").mkdir()
    (folder / "run" / "last.pth").write_bytes(whole[: len(whole) // 2])
    model.save_pretrained(folder / "weights")
    for broken in ("bad_json", "no_weights", "other_weights"):
        model.save_pretrained(folder / broken)
    (folder / "bad_json" / "config.json").write_text("{")
    (folder / "no_weights" / "model.safetensors").unlink()
    tiny_model(num_starts=2).save_pretrained(folder / "others")
    data = bytearray((folder / "other_weights" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "other_weights" / "model.safetensors").write_bytes(data)


def _codes(folder: Path) -> None:
    """Files of scenes, for a model of 3 slots, 2 blocks and 8 codes."""
    scenes: dict[str, Any] = {
        "codes": [[[0, 1], [2, 3]]],
        "codes_whole": [[[0, 1], [2, 3], [4, 5]]],
        "codes_large": [[[0, 1], [2, 99]]],
        "codes_wide": [[[0, 1, 2]]],
        "codes_float": [[[0.5, 1.0]]],
        "codes_words": [[["red", "circle"]]],
        "codes_none": [],
    }
    for name, codes in scenes.items():
        (folder / f"{name}.json").write_text(json.dumps({"codes": codes}))
    (folder / "broken.json").write_text('{"codes": [[[0,')
    (folder / "list.json").write_text("[1, 2]")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "bytes.json").write_bytes(b"\xff\xfe\x00\x01")


def _scenes(folder: Path) -> None:
    """Folders of rendered scenes."""
    (folder / "rendered").mkdir()
    (folder / "rendered" / "manifest.json").write_text("{")
    sysbinder = folder / "sysbinder"
    (sysbinder / "images").mkdir(parents=True)
    for number in range(8):
        (sysbinder / "images" / f"{number}.png").write_bytes(png(seed=number))


def _settings(folder: Path) -> None:
    """Files for --config-dir."""
    mine = folder / "mine" / "experiment"
    mine.mkdir(parents=True)
    head = "# @package _global_\ndefaults: [/config, _self_]\n"
    (mine / "misspelt.yaml").write_text(f"{head}trainin: {{steps: 3}}\n")
    (mine / "torn.yaml").write_text(f"{head}training: {{steps: 3\n")
    (mine / "headless.yaml").write_text("name: headless\n")
    (mine / "bytes.yaml").write_bytes(b"name: \xff\n")
    (mine / "hostile.yaml").write_text(f"{head}name: !!python/object/apply:os.mkdir [{folder / SENTINEL}]\n")
