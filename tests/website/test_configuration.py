"""The configuration reference is that of the code, and says something of every setting."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.configs.schema import COMMANDS
from website.configuration import CONFIGS, PAGE, page, settings


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m website.configuration"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_is_there_with_its_default_and_what_it_does(command: str) -> None:
    found = settings(command)
    assert [key for key, setting in found.items() if len(setting.effect) < 5] == []
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config" if command == "train" else command))
    written = "\n".join(f"{key}: {setting.default}" for key, setting in found.items())
    assert OmegaConf.to_container(OmegaConf.create(written)) == _flat(composed)


@pytest.mark.parametrize(
    ("command", "key", "values"),
    [
        ("train", "data.image_size", "integer from 16 to 1024"),
        ("train", "model.num_slots", "integer from 1 up"),
        ("train", "training.decoder_learning_rate", "number above 0, `null`"),
        ("train", "device", "`auto`, `cpu`, `cuda`, `mps`"),
        ("train", "ablation.enabled", "`true`, `false`"),
        ("generate", "keep", "list of integers, `null`"),
    ],
)
def test_values_are_said_in_words(command: str, key: str, values: str) -> None:
    assert settings(command)[key].values == values


def test_what_would_be_markup_is_shown() -> None:
    assert "&lt;checkpoint_dir&gt;/last.pth" in settings("train")["training.resume"].effect


def _flat(composed: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in composed.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
