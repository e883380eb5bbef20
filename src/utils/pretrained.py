"""Trained weights as a folder to pass on: model.safetensors, config.json and a model card. Opening one runs no code.

The folder says what a checkpoint file says, so `checkpoint_io.safe_load` opens both. Shipped models lie in
src/pretrained/, in the clone as in the wheel.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .whole_files import draft_of

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
BEST = "best_model.pth"  # what a training leaves
SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
_SCALE = ".scale"  # of a matrix in 8 bits: what one step is worth, row by row
_LEVELS = 127
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


# ------------------------------------------------------------------ where they are


def shipped() -> list[str]:
    """The names of the models that come along."""
    return sorted(folder.name for folder in SHIPPED.glob("*") if is_pretrained(folder))


def is_pretrained(path: Path) -> bool:
    """Whether `path` is a folder of weights."""
    return (path / CONFIG).is_file()


def locate(given: str | os.PathLike) -> Path:
    """The file or folder of weights that `given` names: a path, of a folder that holds a run's best weights these or,
    where there is nothing to open, a shipped model."""
    path = Path(given)
    if path.is_file() or is_pretrained(path):
        return path
    if (path / BEST).is_file():
        return path / BEST
    return SHIPPED / str(given) if str(given) in shipped() else path


def weights_file(given: str | os.PathLike) -> Path:
    """The file whose bytes are the weights that `given` names."""
    path = locate(given)
    return path / WEIGHTS if is_pretrained(path) else path


def find(given: str | os.PathLike, revision: str | None = None) -> Path:
    """As `locate`, and what is neither here nor shipped is fetched from the Hugging Face hub.

    Args:
        given: a path, the name of a shipped model, or a hub id such as "owner/name".
        revision: branch, tag or commit of the hub's repository.

    Raises:
        TypeError: `given` is neither text nor a path.
        ValueError: none of these, or nothing that the hub has.
        ImportError: a hub id, but huggingface_hub is not installed.
    """
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f"a model must be a name or a path, got {given!r}")
    path = locate(given)
    if path.is_dir() and not is_pretrained(path):
        raise ValueError(f"folder {path} holds no {CONFIG}; give one that save_pretrained wrote")
    if path.exists():
        return path
    names = ", ".join(shipped()) or "none"
    local = path.parent.is_dir()  # a path with a mistake in its last part rather than an id
    if not isinstance(given, str) or not _HUB_ID.fullmatch(given) or local:
        raise ValueError(
            f"{str(given)!r} is no shipped model (there are: {names}), no folder that save_pretrained wrote and no "
            "Hugging Face id such as owner/name"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"{given!r} is neither a folder nor a shipped model (there are: {names}); to fetch it from the Hugging "
            "Face hub: pip install huggingface_hub"
        ) from error
    try:
        path = Path(snapshot_download(given, revision=revision, allow_patterns=[WEIGHTS, CONFIG, CARD]))
    except Exception as error:  # no such model, no network, no access: the hub has an error of its own for each
        raise ValueError(f"{given!r} cannot be fetched from the Hugging Face hub: {_in_one_line(error)}") from error
    if not is_pretrained(path):
        raise ValueError(f"{given!r} of the Hugging Face hub holds no {CONFIG}, so it is no model of this project")
    return path


def require_hub_id(repo_id: str) -> None:
    """Raises ValueError unless `repo_id` is spelt as an id of the Hugging Face hub is."""
    if not isinstance(repo_id, str) or not _HUB_ID.fullmatch(repo_id):
        raise ValueError(f"repo_id={repo_id!r} is no id of the Hugging Face hub; give owner/name")


def upload(folder: Path, repo_id: str, private: bool | None = None, revision: str | None = None) -> str:
    """Puts a folder of weights on the Hugging Face hub; returns the address of the commit.

    Args:
        folder: as `write_folder` made it.
        repo_id: "owner/name"; the repository is made where it is missing.
        private: whether a new repository is. None: as the owner's default is.
        revision: the branch. None: main.

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: the hub refused, or cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError(
            "publishing on the Hugging Face hub needs its package: pip install huggingface_hub"
        ) from error
    try:
        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, revision=revision))
    except Exception as error:  # no access, no network, a name that is taken: the hub has an error of its own for each
        raise ValueError(f"{repo_id!r} cannot be published on the Hugging Face hub: {_in_one_line(error)}") from error


# ------------------------------------------------------------------ what is in them


def write_folder(
    folder: Path, content: Mapping[str, Any], card: str, bits: Mapping[str, int] | None = None
) -> list[Path]:
    """Writes `content`, that of a checkpoint, as a folder; each file whole or not at all.

    Args:
        folder: is made where it is missing.
        content: as of `checkpoint_io.safe_load`.
        card: text of the model card.
        bits: the first letters of weights' names → 32, 16 or 8 bits for each; the longest that fits decides. With 8 a
            matrix is kept row by row, in steps of the row's largest value / 127. None: all as they are.

    Raises:
        OSError: the folder cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in content["model_state_dict"].items()}
    data = save(tensors if bits is None else _rounded(tensors, bits))
    settings = {name: value for name, value in content.items() if name != "model_state_dict"}
    settings |= {"sha256": hashlib.sha256(data).hexdigest()}
    files = {
        WEIGHTS: data,
        CARD: card.encode(),
        CONFIG: (json.dumps(_plain(settings), indent=2, allow_nan=False) + "\n").encode(),  # last: it makes it a folder
    }
    for name, content_of_file in files.items():
        with draft_of(folder / name) as draft:
            draft.write_bytes(content_of_file)
    return [folder / name for name in files]


def read_folder(folder: Path) -> dict[str, Any]:
    """The content of a checkpoint from its folder; nothing in it is run. Its format and version are not looked at.

    Raises:
        ValueError: a file that is missing, truncated, damaged or not that of the other one.
    """
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG} is no JSON: it is truncated or damaged; copy the folder again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{folder / CONFIG} holds {type(content).__name__}, not the settings of a model")
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"folder {folder} has {CONFIG} but no {WEIGHTS}; copy it again")
    data = path.read_bytes()
    if content.get("sha256") not in (None, hashlib.sha256(data).hexdigest()):
        raise ValueError(
            f"{path} ({len(data):,} bytes) is not the file that {CONFIG} belongs to: it is truncated, damaged or of "
            "another model; copy the folder again"
        )
    try:
        content["model_state_dict"] = _expanded(load(data))
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} ({len(data):,} bytes) cannot be read: it is truncated, damaged or not of safetensors; "
            "copy the folder again"
        ) from error
    return content


def _rounded(tensors: Mapping[str, Tensor], bits: Mapping[str, int]) -> dict[str, Tensor]:
    rounded: dict[str, Tensor] = {}
    for name, value in tensors.items():
        wanted = bits[max((start for start in bits if name.startswith(start)), key=len)]
        if not value.is_floating_point() or wanted == 32:
            rounded[name] = value
        elif wanted == 16 or value.dim() < 2:
            rounded[name] = value.half()
        else:
            scale = value.abs().amax(dim=-1, keepdim=True) / _LEVELS
            rounded[name] = (value / scale.clamp(min=torch.finfo(value.dtype).tiny)).round().to(torch.int8)
            rounded[name + _SCALE] = scale
    return rounded


def _expanded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32 again."""
    scales = {name + _SCALE for name, value in tensors.items() if value.dtype == torch.int8}
    expanded = {}
    for name, value in tensors.items():
        if value.dtype == torch.int8:
            expanded[name] = value * tensors[name + _SCALE]
        elif name not in scales:
            expanded[name] = value.float() if value.is_floating_point() else value
    return expanded


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _plain(value: Any) -> Any:
    """`value` as JSON has it: without NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
