"""The config that the tests train with is the one that the command composes."""

from __future__ import annotations

from src.configs.launch import compose_config

from .tiny import TINY, in_folder, tiny_config


def test_a_config_composed_for_another_folder_is_the_same(tmp_path) -> None:
    for name in ("a", "b"):
        words = (*in_folder(tmp_path / name), "data.path=null", f"training.resume={tmp_path / name / 'last.pth'}")
        assert tiny_config(*words) == compose_config([*TINY, *words])
    mine = tiny_config()
    mine.ablation.seeds.append(99)
    assert 99 not in tiny_config().ablation.seeds
