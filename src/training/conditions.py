"""What `python -m src.generate` is asked to put into its scenes: words, slots of a scene, objects of a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configs.errors import ConfigError, as_config_error
from ..configs.schema import GenerateConfig
from ..data.base import SceneDataset
from ..data.decoding import decode_picture
from ..evaluation.code_reader import SCENES, CodeReader, code_reader, key_of, what_data_shows
from ..evaluation.words import in_words, parse
from ..models.code_model import CodeModel
from ..models.completion import Completion, NothingFound, Requirement
from ..models.svq_model import SVQ
from ..utils.checkpoint_io import safe_load
from ..utils.completion_figures import slot_sheet
from ..utils.visualization import save_figure
from .build import open_known

SLOTS = "slots.png"
GREY = 0.5  # where a slot paints nothing


@dataclass
class Asked:
    """Slots `given` (G, M) and objects `wanted`, with a title in `words` and the settings behind them in `record`."""

    given: Tensor | None
    wanted: list[Requirement]
    words: str
    record: dict[str, Any]
    pictures: list[Path] = field(default_factory=list)  # written so far


def what_is_asked(
    config: GenerateConfig, model: CodeModel, autocast: AbstractContextManager, folder: Path
) -> Asked | None:
    """What the settings ask for; None: nothing. Writes slots.png into `folder` where slots can be chosen.

    Raises:
        ConfigError: a setting that cannot be used.
    """
    conditions, scene, keep, cache_dir = config.conditions, config.scene, config.keep, config.cache_dir
    if scene and config.given is None:
        raise ConfigError(f"scene={scene} says which scene of a file, but not of which; give given=...")
    if conditions is None and config.given is None and config.image is None:
        if keep is not None:
            raise ConfigError(f"keep={keep} says which slots stay, but not of what; give image=... or given=...")
        return None
    if not isinstance(model, SVQ):
        raise ConfigError(
            f"checkpoint {config.checkpoint} holds a model of kind {model.kind}, whose codes are not those of objects: "
            "conditions, given and image need model.kind=svq"
        )
    asked = Asked(None, [], "", {"conditions": conditions, "given": config.given, "image": config.image, "keep": keep})
    said = []
    if config.given is not None or config.image is not None:
        if config.given is not None and config.image is not None:
            raise ConfigError(f"given={config.given} and image={config.image} do not go together; give one of them")
        codes, source = _slots(config, model, autocast, scene)
        asked.record["scene"] = scene if config.given is not None else None
        asked.pictures = _show(codes, model, autocast, folder, config.dpi)
        asked.given = _kept(codes, keep, source, model, asked.pictures)
        asked.record["given_codes"] = asked.given.tolist()
        count = len(asked.given)
        said.append(f"{count} slot{'s' if count > 1 else ''} of {Path(source).name}")
    if conditions is not None:
        scenes, key = _scenes(config.checkpoint)
        with as_config_error():
            names, most_objects = what_data_shows(scenes)
            descriptions = parse(conditions, names, most_objects)
        total = len(descriptions) + (0 if asked.given is None else len(asked.given))
        if total > model.num_slots:
            raise ConfigError(
                f"{total} slots are asked for, but a scene of this model has {model.num_slots}; ask for fewer"
            )
        with as_config_error():  # what can be refused was: reading codes takes a while
            reader = code_reader(model, scenes, key, cache_dir, autocast)
            asked.wanted = _requirements(descriptions, reader)
        said.append(", ".join(f"{n} × {one}" for one, n in _counted(descriptions, reader).items()))
    asked.words = " and ".join(said)
    return asked


def complete_scenes(config: GenerateConfig, model: CodeModel, asked: Asked) -> tuple[Completion, Tensor]:
    """The completed scenes, and their images (num_images, 3, H, W) in [0, 1] on the CPU.

    Raises:
        ConfigError: the prior comes to no such scene.
    """
    generator = torch.Generator(model.device).manual_seed(config.seed)
    try:
        done = model.complete(config.num_images, asked.given, asked.wanted, config.temperature, config.top_k, generator)
    except NothingFound as error:
        raise ConfigError(f"{error} ({asked.words}): the prior gives it too little probability; ask for less") from None
    with torch.inference_mode():
        images = [model.paint(codes).clamp(0, 1).float().cpu() for codes in done.codes.split(64)]
    return done, torch.cat(images)


# ------------------------------------------------------------------ slots that are given


def _slots(config: GenerateConfig, model: SVQ, autocast: AbstractContextManager, scene: int) -> tuple[Tensor, str]:
    """The slots (n, M) that a file or a picture has to offer, in order, and where they are from."""
    if config.image is not None:
        channels = model.config["in_channels"]
        with as_config_error():
            pixels = torch.from_numpy(decode_picture(config.image, model.config["image_size"]))
        image = pixels[None].to(model.device).float() / 255
        with torch.inference_mode(), autocast:
            return model.in_order(model.encode(image[:, :channels]))[0].clone(), config.image
    assert config.given is not None
    expected = f'{{"codes": [scene, ...]}}, a scene being 1 to {model.num_slots} slots of {model.num_codebooks} codes'
    try:
        scenes = json.loads(Path(config.given).read_text(encoding="utf-8"))["codes"]
        number = len(scenes)
        codes = torch.tensor(scenes[scene]) if scene < number else None
    except FileNotFoundError:
        raise ConfigError(f"given={config.given} does not exist; give a file with {expected}") from None
    except IsADirectoryError:
        raise ConfigError(f"given={config.given} is a folder; give a file with {expected}") from None
    except (ValueError, KeyError, TypeError, RuntimeError):
        raise ConfigError(f"given={config.given} holds no scenes; expected {expected}") from None
    if codes is None:
        raise ConfigError(f"scene={scene} but given={config.given} has {number}, counted from 0")
    fits = codes.dim() == 2 and 0 < len(codes) <= model.num_slots and codes.shape[1] == model.num_codebooks
    if not fits:
        raise ConfigError(
            f"scene {scene} of given={config.given} had shape {tuple(codes.shape)}; expected {expected} "
            f"from 0 to {model.codebook_size - 1}"
        )
    least, most = codes.min().item(), codes.max().item()
    if codes.dtype != torch.int64 or least < 0 or most >= model.codebook_size:
        raise ConfigError(
            f"scene {scene} of given={config.given} has codes from {least} to {most}; expected whole numbers from 0 to "
            f"{model.codebook_size - 1}"
        )
    return codes.to(model.device), config.given


def _kept(codes: Tensor, keep: Sequence[int] | None, source: str, model: SVQ, pictures: Sequence[Path]) -> Tensor:
    """Those of the slots that stay."""
    where = f"; {pictures[0]} shows them" if pictures else ""
    if keep is None:
        if len(codes) == model.num_slots:
            raise ConfigError(
                f"{source} has all {len(codes)} slots, which leaves none to write; say which stay, such as "
                f"keep=[0,1]{where}"
            )
        return codes
    if not keep or len(set(keep)) < len(keep) or not all(0 <= n < len(codes) for n in keep):
        raise ConfigError(f"keep={list(keep)} must be different numbers from 0 to {len(codes) - 1}{where}")
    return codes[list(keep)]


def _show(codes: Tensor, model: SVQ, autocast: AbstractContextManager, folder: Path, dpi: int) -> list[Path]:
    """Writes what each slot of a whole scene paints; not of a decoder without masks."""
    if len(codes) < model.num_slots:
        return []
    with torch.inference_mode(), autocast:
        decoded = model.decode(codes[None])
    if decoded.recon is None or decoded.masks is None or decoded.slot_images is None:
        return []
    parts = decoded.slot_images * decoded.masks + GREY * (1 - decoded.masks)
    sheet = slot_sheet(decoded.recon[0].float().clamp(0, 1), parts[0].float().clamp(0, 1), dpi=dpi)
    return [save_figure(sheet, folder / SLOTS)]


# ------------------------------------------------------------------ words


def _scenes(checkpoint: str) -> tuple[SceneDataset, str]:
    """The scenes that codes are read from, and the key under which the reader is kept."""
    settings = safe_load(checkpoint).get("config")
    data = settings.get("data") if isinstance(settings, dict) else None
    if not isinstance(data, dict):
        raise ConfigError(f"checkpoint {checkpoint} does not say what data it was trained on, which conditions need")
    count = SCENES if data.get("num_train") is None else min(SCENES, data["num_train"])
    with as_config_error():
        scenes = open_known(data, "train", count)
    if not scenes.has_ground_truth or not scenes.class_names:
        raise ConfigError(
            f"{scenes.name} has no masks and names of properties, so no words are known for what its codes mean; use "
            "given or image"
        )
    return scenes, key_of(checkpoint, data)


def _requirements(descriptions: Sequence[dict[str, int]], reader: CodeReader) -> list[Requirement]:
    """One for each object; objects that are alike share theirs."""
    shared = {tuple(sorted(one.items())): reader.requirement(one) for one in descriptions}
    return [shared[tuple(sorted(one.items()))] for one in descriptions]


def _counted(descriptions: Sequence[dict[str, int]], reader: CodeReader) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in descriptions:
        words = in_words(one, reader.names)
        counts[words] = counts.get(words, 0) + 1
    return counts
