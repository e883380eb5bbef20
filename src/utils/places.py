"""Settings as they may be passed on: without the paths of the machine they were used on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def without_places(settings: Any) -> Any:
    """`settings`, nested, with the last name only of what is an absolute path."""
    if isinstance(settings, Mapping):
        return {key: without_places(value) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [without_places(value) for value in settings]
    if isinstance(settings, str) and Path(settings).is_absolute():
        return Path(settings).name
    return settings
