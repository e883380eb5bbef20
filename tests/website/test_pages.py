"""No page has a link, a command, an option or a piece of Python that does not work."""

from __future__ import annotations

import shlex

import pytest
import yaml

from website.configuration import settings

from .options import check_settings, complaint, unknown_settings
from .pages import PAGES, PROJECT, anchors, blocks, broken_links, commands, inline_code, missing_names, read

KEYS = set(settings("train"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert broken_links(page, read(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page: str) -> None:
    earlier = [words for each in PAGES[: PAGES.index(page)] for words in commands(read(each))]  # where they are tested
    assert [said for words in commands(read(page)) if words not in earlier and (said := complaint(words))] == []


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    assert list(unknown_settings(inline_code(read(page)), KEYS)) == []


@pytest.mark.parametrize("page", PAGES)
def test_python_imports_what_exists(page: str) -> None:
    text = read(page)
    lines = [words[words.index("-c") + 1] for words in commands(text) if "-c" in words and words[0] == "python"]
    assert [name for code in [*blocks(text, "python"), *lines] for name in missing_names(code)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(read(page), "yaml")])
def test_yaml_is_an_experiment(page: str) -> None:
    for code in blocks(read(page), "yaml"):
        assert code.startswith("# @package _global_\n")
        written = yaml.safe_load(code)
        chosen = [each for each in written.pop("defaults") if isinstance(each, dict)]
        words = [f"{group.removeprefix('override /')}={name}" for each in chosen for group, name in each.items()]
        check_settings("train", [*words, *_flat(written)])


def _flat(settings: dict, prefix: str = "") -> list[str]:
    words = []
    for key, value in settings.items():
        words += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}={value}"]
    return words


# ------------------------------------------------------------------------- what these tests would find


def test_a_broken_link_is_found() -> None:
    text = "# A page\n[a](#a-page) [b](#other) [c](docs/none.md) [d](docs/data.md#the-rule) [e](docs/data.md#no-rule)"
    assert broken_links("README.md", text) == ["#other", "docs/none.md", "docs/data.md#no-rule"]


def test_anchors_are_those_of_github() -> None:
    text = '# `python -m src.train`, again\n## A, *b*\n## A, b\n```bash\n# a comment\n```\n<a id="x.y"></a>\n'
    assert anchors(text) == {"python--m-srctrain-again", "a-b", "a-b-1", "x.y"}


def test_commands_are_taken_apart() -> None:
    text = "```bash\npip install x && python -m src.train a=1 \\\n    b='c d' # why\n```\n`python -m src.generate\nx=1`"
    assert commands(text) == [
        ["pip", "install", "x"],
        ["python", "-m", "src.train", "a=1", "b=c d"],
        ["python", "-m", "src.generate", "x=1"],
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python -m src.trian", "no module src.trian"),
        ("python -m src.train model.num_slot=3", "num_slot"),
        ("python -m src.train model.num_slots=0", "out of range"),
        ("python -m src.train experiment=none", "none"),
        ("python -m src.train seed=0,1", "a sweep needs -m"),
        ("python -m src.train -m seed=0,-1", "seed=-1 is out of range"),
        ("python -m src.train -m hydra/sweeper=none", "hydra/sweeper"),
        ("torchrun --nproc-per-node=2 -m src.train training.device=2", "device"),
        ("svq-generate number=3", "number"),
        ("python -m src.convert_official one.pt", "2"),
        ("python -m benchmarks.speed --rows x", "2"),
        ("python -m benchmarks.default_runs --name x data.names=x", "names"),
        ("python -m pytest tests/none.py", "no file tests/none.py"),
        ("pip install -e '.[none]'", "no extra none"),
        ("make none", "no target none"),
    ],
)
def test_a_command_with_a_mistake_is_found(command: str, said: str) -> None:
    found = complaint(shlex.split(command))
    assert found is not None and said in found.removeprefix(command)


def test_a_setting_that_is_none_is_found() -> None:
    inline = ["training.step", "training.prior", "model.encode", "model.slots=3", "data=none", "data=folder", "x=1"]
    assert list(unknown_settings(inline, KEYS)) == ["training.step", "model.slots=3", "data=none"]


def test_names_that_do_not_exist_are_found() -> None:
    assert list(missing_names("from src.models.svq_model import SVQ, SVG")) == ["src.models.svq_model.SVG"]
    with pytest.raises(SyntaxError):
        list(missing_names("from src import"))


def test_there_are_pages_to_check() -> None:
    assert {"README.md", "README.ko.md", "docs/own_parts.md", "docs/configuration.md"} <= set(PAGES)
    assert sum(len(commands(read(page))) for page in PAGES) > 100
    assert (PROJECT / "mkdocs.yml").exists()
