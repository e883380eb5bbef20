"""Whether the commands that pages show would be understood: modules, settings, arguments."""

from __future__ import annotations

import argparse
import importlib.util
import re
import runpy
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product
from typing import Any, NoReturn
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import open_dict

from src import convert_official
from src.configs import launch
from src.configs.schema import COMMANDS
from website.configuration import CONFIGS

from .pages import PROJECT


class Understood(Exception):
    """A command has read its arguments; nothing more of it is run."""


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command, in one line; None: it would be understood."""
    return _complaint(tuple(words))


@cache  # the same commands stand on several pages
def _complaint(words: tuple[str, ...]) -> str | None:
    try:
        _check(list(words))
    except (Exception, SystemExit) as error:
        return f"{' '.join(words)}: {' '.join(str(error).split())}"
    return None


def _check(words: list[str]) -> None:
    program, rest = words[0], words[1:]
    if program == "pip" and rest[0] == "install":
        for extra in re.findall(r"\.\[([^\]]+)\]", " ".join(rest)):
            assert f"\n{extra} = [" in (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), f"no extra {extra}"
        for before, name in pairwise(rest):
            assert before != "-r" or (PROJECT / name).is_file(), f"no file {name}"
    elif program == "make":
        targets = (PROJECT / "Makefile").read_text(encoding="utf-8")
        for target in rest:
            assert "=" in target or f"\n{target}:" in targets, f"no target {target}"
    elif program == "bash":
        assert (PROJECT / rest[0]).is_file(), f"no file {rest[0]}"
    elif program.startswith("svq-"):
        _check_module("src." + program.removeprefix("svq-").replace("-", "_"), rest)
    elif "-m" in rest:
        module = rest[rest.index("-m") + 1]
        _check_module(module, rest[rest.index("-m") + 2 :])


def _check_module(module: str, words: list[str]) -> None:
    assert importlib.util.find_spec(module) is not None, f"no module {module}"
    package, _, name = module.partition(".")
    if module == "pytest":
        for word in words:
            assert "/" not in word or (PROJECT / word.partition("::")[0]).exists(), f"no file {word}"
    elif not words:
        return  # only named
    elif package == "src" and name in COMMANDS:
        check_settings(name, words)
    elif module == "src.convert_official":
        convert_official._parser().parse_args(words)
    elif package in ("benchmarks", "website"):
        command = "evaluate" if module == "benchmarks.reports" else "train"
        check_settings(command, _rest_of_benchmark(module, words))


def check_settings(command: str, words: list[str]) -> None:
    """Composes what the words ask of a command; of a sweep every choice and both ends of a range.

    Raises:
        Exception: as Hydra or the schema says it.
    """
    given = get_args_parser().parse_args(words)
    overrides = OverridesParser.create().parse_overrides(given.overrides)
    assert given.multirun or not any(each.is_sweep_override() for each in overrides), "a sweep needs -m"
    for chosen in product(*map(_values, overrides)):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            composed = compose(given.config_name or command, list(chosen), return_hydra_config=True)
        with open_dict(composed):
            del composed["hydra"]
        launch.to_object(composed, COMMANDS[command])


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.input_line]
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        return [f"{key}={sweep.start}", f"{key}={sweep.end}"]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _rest_of_benchmark(module: str, words: list[str]) -> list[str]:
    """Lets a command of `benchmarks` read its arguments; those that it passes on to training."""
    known, everything = argparse.ArgumentParser.parse_known_args, argparse.ArgumentParser.parse_args
    rest: list[str] = []

    def stop(parsed: Any) -> NoReturn:
        raise Understood(parsed)

    def parse_known_args(self: Any, *given: Any, **named: Any) -> NoReturn:
        rest.extend(known(self, *given, **named)[1])
        stop(rest)

    def parse_args(self: Any, *given: Any, **named: Any) -> NoReturn:
        with patch.object(argparse.ArgumentParser, "parse_known_args", known):
            parsed = everything(self, *given, **named)
        rest.extend(getattr(parsed, "overrides", []))
        stop(parsed)

    with (
        patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        patch.object(argparse.ArgumentParser, "parse_args", parse_args),
        patch.object(sys, "argv", [module, *words]),
    ):
        try:
            runpy.run_module(module, run_name="__main__")
        except Understood:
            return rest
    raise AssertionError(f"{module} reads no arguments")


def unknown_settings(inline: list[str], keys: set[str]) -> Iterator[str]:
    """What stands in code within lines, looks like a setting of training, and is none.

    Args:
        inline: the pieces of code.
        keys: the dotted keys that exist.
    """

    def exists(key: str) -> bool:
        return any(known == key or known.startswith(f"{key}.") for known in keys)

    groups = {key.partition(".")[0] for key in keys if "." in key} | {"experiment"}
    attributes = ("model", "data", "experiment")  # such words stand for objects of Python, too
    for code in inline:
        key, is_set, value = code.partition("=")
        group, dot, _ = key.partition(".")
        if (
            group not in groups
            or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key)
            or key.endswith((".py", ".md", ".yaml"))
        ):
            continue
        if is_set and not dot and value:
            files = (folder / key / f"{value}.yaml" for folder in (CONFIGS, launch.conf_folder()))
            wrong = not any(file.exists() for file in files)
        else:
            wrong = bool(dot and (is_set or group not in attributes)) and not exists(key)
        if wrong:
            yield code
