from __future__ import annotations

from pathlib import Path

from src.utils.places import without_places


def test_paths_of_the_machine_stay_on_it() -> None:
    settings = {"a": str(Path("/home/somebody/data").absolute()), "b": ["logs/cache", 3], "c": None}
    assert without_places(settings) == {"a": "data", "b": ["logs/cache", 3], "c": None}
