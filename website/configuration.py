"""Writes docs/configuration.md: every setting of every command, from the schema and the files with the defaults.

    python -m website.configuration

Types, choices and limits are those of `src/configs/schema.py`; defaults and what a setting does are the values and the
comments of the YAML files.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from pathlib import Path

import yaml

from src import convert_official
from src.configs import schema
from src.configs.arguments import Parser
from src.configs.launch import conf_folder

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT / "src" / "configs"
PAGE = PROJECT / "docs" / "configuration.md"
GROUPS = ("experiment", "data", "model", "training", "ablation")  # whose files are listed as choices
PLUGINS = ("hydra/sweeper", "hydra/launcher")
_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: (?P<value>[^#]*?))?(?:(?:^| +)# (?P<comment>.*))?$")
_SIMPLE = {"int": "integer", "float": "number", "str": "text", "list[int]": "list of integers", "list[str]": "list"}

HEAD = """# Configuration reference

<!-- Written by `python -m website.configuration` from src/configs/ and conf/; not by hand. -->

Every setting can be given on the command line, as `key=value`, or in a file of
[`experiment/`](../src/configs/experiment/my_experiment.yaml). A key that does not exist, a value of the wrong type or
one out of range stops the command at once with a line that says so. `python -m src.train --cfg job` prints all settings
with their values. `null` is no value, lists are written `[0,1,2]`, and `${data.image_size}` is the value of another
setting. Installed as a package the commands are called `svq-train`, `svq-generate`, `svq-evaluate`, `svq-render`,
`svq-export`, `svq-demo` and `svq-convert-official`.
"""


@dataclass(frozen=True)
class Setting:
    """One row of the reference."""

    key: str  # dotted
    default: str  # as the YAML file has it
    values: str  # type, choices, limits
    effect: str


def page() -> str:
    """The whole page, Markdown."""
    parts = [HEAD]
    for command, kind in schema.COMMANDS.items():
        parts.append(f"## `python -m src.{command}`\n")
        parts.append(f"{_doc(kind)}\n")
        parts += _sections(command, kind)
        if command == "train":
            parts += _choices()
    parts += _convert()
    return "\n".join(parts)


def settings(command: str) -> dict[str, Setting]:
    """Every setting of a command by its key, in the order of the schema."""
    written = _defaults(command)
    found = {}
    for key, entry in _leaves(schema.COMMANDS[command]):
        default, effect = written[key]
        found[key] = Setting(key, default, _values(entry), effect)
    return found


def _sections(command: str, kind: type) -> Iterator[str]:
    """A table for the command's own settings, and one for each group of them."""
    rows: dict[str, list[Setting]] = {}
    for key, setting in settings(command).items():
        rows.setdefault(key.rpartition(".")[0], []).append(setting)
    for group in sorted(rows, key=lambda group: group.split(".")):
        if group:
            yield f"### `{group}`\n" if command == "train" else f"### `{group}` of `src.{command}`\n"
            yield f"{_doc(_kind_at(kind, group))}\n"
        yield "| setting | default | values | what it does |\n|---|---|---|---|"
        anchor = "" if command == "train" else f"{command}."  # keys of two commands may have one name
        for each in rows[group]:
            name = f'<a id="{anchor}{each.key}"></a>`{each.key}`'
            yield f"| {name} | `{each.default}` | {each.values} | {each.effect} |"
        yield ""


def _choices() -> Iterator[str]:
    """The files that can take the place of the defaults of a group."""
    yield "### Files to choose from\n"
    yield "Each lays its values over those above; settings given beside it come last.\n"
    for group in (*GROUPS, *PLUGINS):
        yield f"| `{group}=` | what it is |\n|---|---|"
        for path in _files(group):
            link = f"[`{group}={path.stem}`](../{path.relative_to(PROJECT).as_posix()})"
            yield f"| {link} | {_header(path)} |"
        yield ""
    yield (
        "Sweepers and launchers need the extra `sweep`: [clusters.md](clusters.md). What the variants of an ablation\n"
        "study set is in the folders of `conf/ablation/`, each named as `ablation.folder` says.\n"
    )


def _convert() -> Iterator[str]:
    """The one command whose arguments are no settings of Hydra."""
    parser = convert_official._parser()
    yield "## `python -m src.convert_official`\n"
    yield f"{parser.description} Its arguments:\n"
    yield "| argument | what it is |\n|---|---|"
    for action in parser._actions:
        name = action.option_strings[-1] if action.option_strings else action.dest
        yield f"| `{name}` | {_text(action.help or '')} |"
    yield ""


def _doc(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _kind_at(kind: type, group: str) -> type:
    for name in group.split("."):
        (entry,) = (entry for entry in fields(kind) if entry.name == name)
        kind = _inner(entry) or kind
    return kind


def _inner(entry: Field) -> type | None:
    """The dataclass of a field that holds further settings."""
    kind = vars(schema).get(str(entry.type))
    return kind if is_dataclass(kind) else None


def _leaves(kind: type, prefix: str = "") -> Iterator[tuple[str, Field]]:
    for entry in fields(kind):
        inner = _inner(entry)
        if inner is None:
            yield prefix + entry.name, entry
        else:
            yield from _leaves(inner, f"{prefix}{entry.name}.")


def _values(entry: Field) -> str:
    """What a setting may be, in words."""
    kind, rule = str(entry.type), entry.metadata
    kind, _, nothing = kind.partition(" | ")
    if "choices" in rule:
        said = ", ".join(f"`{choice}`" for choice in rule["choices"])
    elif kind == "Flag":
        said = "`true`, `false`"
    elif "path" in rule:
        said = "path"
    elif "folder_name" in rule:
        said = "name of a folder"
    elif kind == "Any":
        said = "text or list"
    else:
        said = _SIMPLE[kind]
    if "above" in rule:
        said += f" above {rule['above']}"
    elif "at_least" in rule:
        low, high = rule["at_least"], rule["at_most"]
        said += f" from {low}" + (" up" if high == float("inf") else f" to {high}")
    return said + (", `null`" if nothing else "")


def _defaults(command: str) -> dict[str, tuple[str, str]]:
    """Value and comment of every key in the files that a command starts from."""
    name = "config" if command == "train" else command  # train.yaml only chooses an experiment
    path = CONFIGS / f"{name}.yaml"
    found = _written(path)
    for chosen in yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]:
        if isinstance(chosen, dict):
            ((group, choice),) = chosen.items()
            if not group.startswith("override "):
                (file,) = (path for path in _files(group) if path.stem == choice)
                found |= {f"{group}.{key}": value for key, value in _written(file).items()}
    return found


def _written(path: Path) -> dict[str, tuple[str, str]]:
    """Value and comment of every key in a YAML file, by dotted key."""
    found, parents = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match["indent"]) // 2
        parents[depth:] = [match["key"]]
        found[".".join(parents)] = (match["value"] or "", _text(match["comment"] or ""))
    return found


def _files(group: str) -> list[Path]:
    """The YAML files of a group, those of conf/ too."""
    return sorted(path for folder in (CONFIGS, conf_folder()) for path in (folder / group).glob("*.yaml"))


def _header(path: Path) -> str:
    """What a YAML file says of itself: its first comment, up to the first empty line of it."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line == "# @package _global_":
            continue
        if not line.startswith("# ") or line.startswith("#  "):
            break
        words.append(line[2:])
    return _text(" ".join(words))


def _text(comment: str) -> str:
    """A comment as text in a cell of a table: what would be markup is shown."""
    pieces = re.split(r"(`[^`]*`)", comment)
    return "".join(piece if piece.startswith("`") else _shown(piece) for piece in pieces)


def _shown(text: str) -> str:
    return re.sub(r"([*|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
