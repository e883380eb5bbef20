"""Samples of a trained prior, as files."""

from __future__ import annotations

import json
from pathlib import Path

from ..configs.errors import ConfigError, as_config_error
from ..configs.schema import GenerateConfig
from ..evaluation.generation import draw_scenes
from ..models.code_model import CodeModel
from ..utils import visualization
from ..utils.precision import autocast, resolve_device, resolve_precision
from .conditions import SLOTS, complete_scenes, what_is_asked
from .results import write_text

BATCH = 256  # scenes drawn and painted at once
IMAGES, CODES = "images.png", "codes.json"


def write_samples(config: GenerateConfig) -> list[Path]:
    """Draws scenes as `config` says and writes `images.png` and `codes.json` into the folder `config.output`; with
    slots to choose from, `slots.png` first.

    Raises:
        ConfigError: a device that is not there, a checkpoint that cannot be used, or conditions that cannot be met.
    """
    with as_config_error():
        device = resolve_device(config.device)
        precision = resolve_precision(config.precision, device)
        model = CodeModel.from_checkpoint(config.checkpoint, device)
    if not model.has_codes:
        raise ConfigError(
            f"checkpoint {config.checkpoint} holds a model that writes no codes, so there is nothing to draw: "
            "train one with model.bottleneck=codes"
        )
    if model.prior is None:
        raise ConfigError(
            f"checkpoint {config.checkpoint} holds no prior to generate from: "
            "let its training run to the end (with training.prior.steps above 0), or give src.convert_official "
            "the prior with --prior"
        )
    folder = Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={config.output} is a file; give a folder for images.png and codes.json")
    _keep_what_is_read(config, folder)
    folder.mkdir(parents=True, exist_ok=True)  # now, not after the scenes are drawn
    asked = what_is_asked(config, model, autocast(precision, device), folder)
    record = {}
    with autocast(precision, device):
        if asked is None:
            codes, images = draw_scenes(
                model, config.num_images, config.temperature, config.top_k, config.seed, batch_size=BATCH
            )
        else:
            done, images = complete_scenes(config, model, asked)
            codes = done.codes.cpu()
            record = {**asked.record, "effective": done.effective, "log_probability": done.log_probability}

    title = f"{config.num_images} scenes drawn from the prior, temperature {config.temperature:g}"
    if asked is not None:
        title = f"{asked.words}: {title}"
    if config.top_k is not None:
        title += f", top {config.top_k}"
    sheet = visualization.sample_sheet(images, title, num_samples=config.num_images, dpi=config.dpi)
    picture = visualization.save_figure(sheet, folder / IMAGES)
    listing = folder / CODES
    content = {
        "checkpoint": config.checkpoint,
        "seed": config.seed,
        "temperature": config.temperature,
        "top_k": config.top_k,
        **record,
        "shape": list(codes.shape),
        "codes": codes.tolist(),
    }
    write_text(listing, json.dumps(content) + "\n")
    return [*(asked.pictures if asked is not None else ()), picture, listing]


def _keep_what_is_read(config: GenerateConfig, folder: Path) -> None:
    """Refuses a folder whose new files would replace the one that slots are taken from."""
    for key, source in (("given", config.given), ("image", config.image)):
        for written in (folder / SLOTS, folder / IMAGES, folder / CODES):
            if source is not None and written.exists() and Path(source).exists() and written.samefile(source):
                raise ConfigError(
                    f"{key}={source} would be replaced by the new {written.name} in output={config.output}; "
                    f"give another folder, such as output={config.output}_kept"
                )
