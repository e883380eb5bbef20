"""The checkpoints that a report is about: where they are, what they are called, which data they are shown."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..configs.errors import ConfigError, as_config_error
from ..configs.launch import compose_config
from ..configs.schema import FILES, DataConfig, ReportConfig, ReportDataConfig, check, check_source
from ..models.code_model import CodeModel
from ..training.build import make_split
from ..training.checkpoint import BEST, LAST
from ..utils.checkpoint_io import safe_load
from ..utils.pretrained import CONFIG, WEIGHTS, is_pretrained, weights_file


@dataclass(frozen=True)
class Checkpoint:
    """A model and what its file says of it.

    Attributes:
        label: short, unlike that of every other checkpoint of the report; the name of its folder, too.
        config: the settings it was trained with; of a converted checkpoint there are none of ours.
        data: the pictures to show it.
        sha256: of its file or, of a folder, of the weights in it.
        commit: of the code that wrote the file; None where it does not say.
        trained_on: all that it was trained on, by its own settings; None where these do not say, or it is not here.
    """

    path: Path
    label: str
    model: CodeModel
    config: Mapping[str, Any]
    step: int
    data: DataConfig
    sha256: str
    commit: str | None
    trained_on: DataConfig | None = None

    @property
    def place(self) -> str:
        """Where it is, as it was given; an absolute path as seen from here or, of what lies elsewhere, its last names
        only, as reports are passed on."""
        if not self.path.is_absolute():
            return self.path.as_posix()
        if self.path.is_relative_to(Path.cwd()):
            return self.path.relative_to(Path.cwd()).as_posix()
        return "/".join([*_folders(self.path), self.path.name])

    @property
    def seed(self) -> int | None:
        """Of its training."""
        return self.config.get("seed")


def open_checkpoints(config: ReportConfig) -> list[Checkpoint]:
    """All checkpoints that `config.checkpoint` names, in its order, on the CPU.

    Raises:
        ConfigError: one that is missing or cannot be used, or whose data is not known or not there.
    """
    paths = find(config.checkpoint)
    for path in dict.fromkeys(path for path in paths if paths.count(path) > 1):
        print(f"note: checkpoint names {path} more than once; it is looked at once")
    paths = list(dict.fromkeys(paths))
    contents: list[dict[str, Any]] = []
    for path in paths:
        with as_config_error():
            contents.append(safe_load(path))
    found = []
    for path, content, label in zip(paths, contents, labels(paths, contents), strict=True):
        with as_config_error():
            model = CodeModel.from_checkpoint(path)
        settings = content.get("config") or {}
        data = data_of(path, settings, model, config.data)
        digest = hashlib.sha256(weights_file(path).read_bytes()).hexdigest()
        step, commit = int(content.get("step", 0)), content.get("commit")
        commit = commit if isinstance(commit, str) else None
        own = _own_data(path, settings, model)
        found.append(Checkpoint(path, label, model, settings, step, data, digest, commit, own))
        _check_data(found[-1], config)
    return found


def find(given: Any) -> list[Path]:
    """The files that `checkpoint=...` names: a path, a folder, a pattern such as runs/seed_*/best_model.pth, or a list.
    One that is named more than once is found as often.

    Of a folder: every best_model.pth in it, however deep, or else every folder that `save_pretrained` wrote, or else
    every .pth file. Such a folder itself is as good as a file, and so is the name of a shipped model.

    Raises:
        ConfigError: nothing is there, or the setting is neither text nor a list of texts.
    """
    words = given if isinstance(given, (list, tuple)) else [given]
    if not words or not all(isinstance(word, (str, Path)) and str(word).strip() for word in words):
        raise ConfigError(
            f"checkpoint={given} cannot be used; give the path of a file, such as checkpoint=checkpoints/{BEST}, "
            "or several of them as a list"
        )
    paths: list[Path] = []
    for word in map(str, words):
        path = Path(word)
        if path.is_dir() and not is_pretrained(path):
            saved = (file.parent for file in path.rglob(CONFIG) if (file.parent / WEIGHTS).is_file())
            files = sorted(path.rglob(BEST)) or sorted(saved) or sorted(path.rglob("*.pth"))
            if not files:
                raise ConfigError(
                    f"checkpoint={word} is a folder without checkpoints (no {BEST}, no other .pth file, no folder of "
                    f"save_pretrained with {CONFIG} and {WEIGHTS})"
                )
        elif not path.exists() and glob.has_magic(word):
            files = [Path(name) for name in sorted(glob.glob(word, recursive=True))]
            if not files:
                raise ConfigError(f"checkpoint={word} matches no file; give a path, or a pattern that matches some")
        else:
            files = [path]
        paths += files
    return paths


def labels(paths: Sequence[Path], contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each checkpoint: that of its file or, where all are called alike, of the folders around it, and its
    seed where that tells runs of one name apart."""
    configs = [content.get("config") or {} for content in contents]
    names = [_label(path, config) for path, config in zip(paths, configs, strict=True)]
    found: list[str] = []
    for name, config in zip(names, configs, strict=True):
        seeds = {each.get("seed") for other, each in zip(names, configs, strict=True) if other == name}
        if len(seeds) > 1 and config.get("seed") is not None:
            name = f"{name}_seed_{config['seed']}"
        number = 1
        while (numbered := name if number == 1 else f"{name}_{number}") in found:
            number += 1
        found.append(numbered)
    return found


def _label(path: Path, config: Mapping[str, Any]) -> str:
    if path.name not in (BEST, LAST):
        return _clean(path.stem)
    folders = _folders(path)
    if folders and folders[-1] != "checkpoints":
        return _clean("_".join(name for name in folders if name != "checkpoints"))
    return _clean(str(config.get("name", path.stem)))


def _folders(path: Path) -> list[str]:
    """Of a file that is called as many others are: its folder, and the one around it where that is of a seed."""
    if path.name not in (BEST, LAST):
        return []
    own = path.absolute().parent
    return [part.name for part in ((own.parent, own) if own.name.startswith("seed_") else (own,)) if part.name]


def _clean(name: str) -> str:
    """The name of a folder on every system."""
    return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name).strip(".") or "model"


def data_of(path: Path, trained: Mapping[str, Any], model: CodeModel, other: ReportDataConfig) -> DataConfig:
    """The data that a checkpoint was trained on, with what `other` sets instead.

    Raises:
        ConfigError: its file does not say and `other` does not either, or settings that do not go together.
    """
    given = {
        name: value
        for name in (entry.name for entry in fields(ReportDataConfig))
        if (value := getattr(other, name)) is not None
    }
    known = dict(trained.get("data") or {})
    name = given.get("name", known.get("name"))
    if name is None:
        raise ConfigError(
            f"checkpoint {path} does not say which data it was trained on; give data.name, such as data.name=sprites, "
            "and what else its pictures need (data.max_shapes, data.background, data.path)"
        )
    if name != known.get("name"):
        known = {}  # settings of other pictures
    # A checkpoint may be older than some setting, which then had no other value than today's default.
    place = [f"data.path={given.get('path') or '.'!r}"] if name in FILES else []
    defaults = asdict(compose_config([f"data={name}", *place]).data)
    settings = {key: ({**defaults, **known, **given})[key] for key in defaults}
    if name in FILES and not (known.get("path") or given.get("path")) and name != "clevr_like":
        settings["path"] = None
    settings["image_size"] = model.config.get("image_size", settings["image_size"])
    data = DataConfig(**settings)
    check(data, "data.")
    check_source(data, "data.name")
    return data


def _own_data(path: Path, trained: Mapping[str, Any], model: CodeModel) -> DataConfig | None:
    """The data of a checkpoint's own settings alone, as far as they are known and here."""
    nothing = ReportDataConfig(**dict.fromkeys(entry.name for entry in fields(ReportDataConfig)))
    try:
        return data_of(path, trained, model, nothing)
    except ConfigError:
        return None


def _check_data(checkpoint: Checkpoint, config: ReportConfig) -> None:
    """Opens the splits, without drawing or reading a picture."""
    data = checkpoint.data
    try:
        with as_config_error():
            for split in ("train", config.split):
                make_split(data, split)
    except ConfigError as error:
        if config.data.path is not None or not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ConfigError(
            f"{error} (so says checkpoint {checkpoint.path}; data.path=<folder> says where its pictures are now)"
        ) from error
