"""Where reports go, by hand: nothing is measured."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from src.configs.errors import ConfigError
from src.reporting import folders
from src.reporting.document import Document, Picture
from src.reporting.folders import choose_folder, clear, files_of, finished_report, require_writable
from src.reporting.report import write_report

from .test_html_page import picture_file


def facts(sha256: str = "ab", split: str = "test", **evaluation: Any) -> dict[str, Any]:
    return {
        "name": "a",
        "sha256": sha256,
        "split": split,
        "device": "cpu",
        "precision": "bf16",
        "commit": "0123",
        "torch": "2.0",
        "data": {"name": "shapes", "num_test": 5, "cache_dir": "logs/cache"},
        "evaluation": {"seed": 0, "sections": ["codes"], **evaluation},
    }


def page(*pictures: str) -> Document:
    return Document("title", "", [Picture(name, picture_file(), name) for name in pictures], [])


def keep(folder: Path, content: dict[str, Any], *pictures: str, name: str = "report") -> list[Path]:
    return write_report(folder, content, page(*pictures), name)


def compared(folder: Path, reports: dict[str, dict[str, Any]]) -> None:
    """A finished comparison of these reports."""
    for name, content in reports.items():
        keep(folder / name, content, "samples")
    keep(folder, {"groups": {"all": [{"name": name} for name in reports]}}, "comparison", name="comparison")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_report_of_other_settings_stays_where_it_is() -> None:
    own, first = {"svq": facts()}, Path("evaluation/svq")
    assert choose_folder(None, own) == (first, "")
    keep(first, facts(split="val"))
    second = Path("evaluation/svq_2")
    said = f"{first} holds a report of other settings (split); this one goes to {second}"
    assert choose_folder(None, own) == (second, said)
    keep(second, facts())
    assert choose_folder(None, own)[0] == second  # the same settings: that one is replaced
    assert choose_folder(None, {"svq": facts(split="val")}) == (
        first,
        f"{first} holds a report of the same settings, which is replaced",
    )
    other = choose_folder(None, {"svq": facts("cd", num_generated=5, seed=1)})
    assert other == (
        Path("evaluation/svq_3"),
        f"{first} holds a report of other settings (checkpoint, num_generated, seed, split); "
        "this one goes to evaluation/svq_3",
    )


def test_what_decides_no_number_may_differ() -> None:
    keep(Path("evaluation/svq"), facts())
    moved = facts()
    moved["data"]["cache_dir"] = "elsewhere"
    moved["commit"] = "4567"
    assert choose_folder(None, {"svq": moved})[0] == Path("evaluation/svq")


def test_folders_of_pictures_are_told_apart_though_called_alike() -> None:
    keep(Path("evaluation/svq"), {**facts(), "data_place": "a1"})
    said = choose_folder(None, {"svq": {**facts(), "data_place": "b2"}})[1]
    assert said == "evaluation/svq holds a report of other settings (data.path); this one goes to evaluation/svq_2"


@pytest.mark.parametrize("content", ["{", "[]", '{"evaluation": []}', "{}", '{"name": "svq", "split": "test"}'])
def test_what_is_damaged_or_says_too_little_is_kept(content: str) -> None:
    place = Path("evaluation/svq")
    place.mkdir(parents=True)
    (place / "report.json").write_text(content)
    assert choose_folder(None, {"svq": facts()})[0] == Path("evaluation/svq_2")
    assert (place / "report.json").read_text() == content


def test_a_file_or_a_report_of_the_other_kind_is_passed_by() -> None:
    Path("evaluation").mkdir()
    Path("evaluation/svq").write_text("mine")
    assert choose_folder(None, {"svq": facts()}) == (
        Path("evaluation/svq_2"),
        "evaluation/svq is a file; this one goes to evaluation/svq_2",
    )
    keep(Path("evaluation/comparison"), facts())
    assert choose_folder(None, {"a": facts(), "b": facts("cd")}) == (
        Path("evaluation/comparison_2"),
        "evaluation/comparison holds a report; this one goes to evaluation/comparison_2",
    )


def test_a_comparison_of_other_checkpoints_stays_and_a_stopped_one_goes_on() -> None:
    first = Path("evaluation/comparison")
    two = {"a": facts("aa"), "b": facts("bb")}
    keep(first / "a", two["a"])  # stopped before b
    assert choose_folder(None, two) == (first, "")
    assert choose_folder(None, {"b": facts("bb"), "c": facts("cc")}) == (
        Path("evaluation/comparison_2"),
        f"{first} holds a comparison of other checkpoints; this one goes to evaluation/comparison_2",
    )
    compared(first, two)
    assert "same settings" in choose_folder(None, two)[1]
    assert choose_folder(None, {**two, "c": facts("cc")})[0] == Path("evaluation/comparison_2")
    val = {name: {**each, "split": "val"} for name, each in two.items()}
    assert choose_folder(None, val)[1].startswith(f"{first} holds a comparison of other settings (split)")


def test_a_folder_that_was_asked_for_is_taken_and_that_is_said() -> None:
    two = {"a": facts("aa"), "b": facts("bb")}
    assert choose_folder("mine", two) == (Path("mine"), "")
    keep(Path("mine/a"), facts("old"))
    assert choose_folder("mine", two) == (
        Path("mine"),
        "output=mine holds reports of other settings, which are replaced",
    )
    keep(Path("mine"), facts())
    said = "output=mine holds an earlier report, which is replaced"
    assert choose_folder("mine", {"svq": facts()}) == (Path("mine"), said)
    compared(Path("other"), two)
    said = "output=other holds an earlier comparison, which is replaced"  # its reports are those of the same settings
    assert choose_folder("other", two) == (Path("other"), said)


@pytest.mark.parametrize("name", ["report.json", "report.html", "samples.png"])
def test_a_folder_where_a_file_goes_is_seen_at_once(name: str) -> None:
    Path("mine", name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"output=mine cannot be used: \S*{name} is a folder, where a file"):
        require_writable(Path("mine"), {"svq": facts()})
    assert [path.name for path in Path("mine").iterdir()] == [name]


def test_what_cannot_be_made_or_written_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    with pytest.raises(ConfigError, match=r"output=file/inside cannot be used \(Not a directory: "):
        require_writable(Path("file/inside"), {"svq": facts()})
    two = {"a": facts("aa"), "b": facts("bb")}
    Path("mine/a/report.md").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"mine.a.report\.md is a folder"):
        require_writable(Path("mine"), two)

    def refuse(path: Path, _: bytes) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    number = errno.EACCES
    with pytest.raises(ConfigError, match=r"output=out cannot be used \(Permission denied: .*give one that can be"):
        require_writable(Path("out"), {"svq": facts()})
    number = errno.ENOSPC  # another folder would be no better
    with pytest.raises(OSError, match="No space left"):
        require_writable(Path("out"), {"svq": facts()})


def test_a_trial_leaves_nothing() -> None:
    keep(Path("mine"), facts(), "samples")
    before = {path: path.read_bytes() for path in Path("mine").iterdir()}
    require_writable(Path("mine"), {"svq": facts()})
    assert {path: path.read_bytes() for path in Path("mine").iterdir()} == before


def test_pictures_of_the_earlier_report_go_and_others_stay() -> None:
    keep(Path("mine"), facts(), "samples", "purity")
    Path("mine/photo.png").write_bytes(b"mine")
    paths = keep(Path("mine"), facts(), "samples", "atlas")
    assert sorted(path.name for path in Path("mine").iterdir()) == [
        *("atlas.png", "photo.png", "report.html", "report.json", "report.md", "samples.png"),
    ]
    assert set(files_of(Path("mine"))) == set(paths)


def test_a_report_takes_the_place_of_a_comparison_and_the_other_way_round() -> None:
    two = {"a": facts("aa"), "b": facts("bb")}
    compared(Path("mine"), two)
    keep(Path("mine/other"), facts())  # no comparison names it
    Path("mine/b/notes.txt").write_text("mine")
    clear(Path("mine"), {"svq": facts()})
    assert sorted(str(path) for path in Path("mine").rglob("*") if path.is_file()) == [
        "mine/b/notes.txt",
        *(f"mine/other/report.{end}" for end in ("html", "json", "md")),
    ]
    assert not Path("mine/a").exists()
    compared(Path("mine"), two)
    keep(Path("mine"), facts(), "samples")
    clear(Path("mine"), {"b": facts("bb"), "c": facts("cc")})
    assert files_of(Path("mine")) == [] and not Path("mine/a").exists()
    assert files_of(Path("mine/b"))  # until its new one is written


def test_a_comparison_names_no_folder_elsewhere() -> None:
    keep(Path("elsewhere"), facts())
    runs = [{"name": name} for name in ("../elsewhere", "..", str(Path("elsewhere").absolute()), 3)]
    keep(Path("mine"), {"groups": {"all": runs}}, name="comparison")
    clear(Path("mine"), {"svq": facts()})
    assert len(files_of(Path("elsewhere"))) == 3 and not list(Path("mine").iterdir())
    Path("mine/comparison.json").write_text("[]")
    clear(Path("mine"), {"svq": facts()})


def test_a_report_is_used_again_if_settings_and_code_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("mine/a")
    assert finished_report(facts(), place) is None
    keep(place, facts())
    code = Path("code/module.py")
    code.parent.mkdir()
    code.touch()
    monkeypatch.setattr(folders, "PACKAGE", Path("code"))
    written = (place / "report.json").stat().st_mtime
    os.utime(code, (written - 10, written - 10))
    assert finished_report(facts(), place) == facts()
    assert finished_report(facts("cd"), place) is None
    assert finished_report({**facts(), "commit": "4567"}, place) is None
    assert finished_report({**facts(), "torch": "2.1"}, place) is None
    assert finished_report({**facts(), "name": "b"}, place) is None
    os.utime(code, (written + 10, written + 10))
    assert finished_report(facts(), place) is None
    assert json.loads((place / "report.json").read_text()) == facts()
