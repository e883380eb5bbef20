"""Folders of weights: what comes back, what is refused, and where they are looked for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from src.utils import pretrained
from src.utils.checkpoint_io import FORMAT, VERSION, safe_load
from src.utils.pretrained import CONFIG, WEIGHTS, find, locate, require_hub_id, upload, weights_file, write_folder

BITS = {"": 16, "exact.": 32, "coarse.": 8}


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = ("exact.w", "half.w", "coarse.w", "coarse.bias")
    drawn = {name: torch.randn(*([3] if "bias" in name else [6, 300]), generator=generator) for name in names}
    drawn["coarse.w"] *= torch.logspace(-6, 2, 6)[:, None]  # rows of very different sizes
    drawn["coarse.w"][2] = 0
    return {**drawn, "coarse.count": torch.tensor(2**40), "codes": torch.arange(4)}


def content(**changes: object) -> dict:
    return {"format": FORMAT, "version": VERSION, "step": 3, "model_state_dict": weights(), **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "model", content(), "card")
    return tmp_path / "model"


def rewrite(folder: Path, **changes: object) -> None:
    settings = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**settings, **changes}))


def test_what_is_written_comes_back_bit_by_bit(folder: Path) -> None:
    found = safe_load(folder)
    assert found["step"] == 3 and found["model_state_dict"].keys() == weights().keys()
    for name, value in weights().items():
        assert (
            torch.equal(found["model_state_dict"][name], value) and found["model_state_dict"][name].dtype == value.dtype
        )
    assert sorted(os.listdir(folder)) == ["README.md", CONFIG, WEIGHTS]
    assert (folder / "README.md").read_text() == "card"


def test_rounding_is_as_fine_as_its_bits(tmp_path: Path) -> None:
    write_folder(tmp_path, content(), "card", BITS)
    found = safe_load(tmp_path)["model_state_dict"]
    expected = weights()
    assert found.keys() == expected.keys() and all(found[name].dtype == expected[name].dtype for name in expected)
    for name in ("exact.w", "coarse.count", "codes"):
        assert torch.equal(found[name], expected[name])
    for name in ("half.w", "coarse.bias"):
        assert torch.equal(found[name], expected[name].half().float())
    error = (found["coarse.w"] - expected["coarse.w"]).abs()
    assert (error <= expected["coarse.w"].abs().amax(dim=1, keepdim=True) / 127 * 0.501).all()
    assert error.max() > 0
    bytes_kept = 1800 * (4 + 2 + 1)
    assert bytes_kept < (tmp_path / WEIGHTS).stat().st_size < bytes_kept + 1500


def test_what_was_rounded_once_is_the_same_when_rounded_again(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", content(), "card", BITS)
    once = safe_load(tmp_path / "a")
    write_folder(tmp_path / "b", once, "card", BITS)
    again = safe_load(tmp_path / "b")["model_state_dict"]
    for name, value in once["model_state_dict"].items():
        torch.testing.assert_close(again[name], value, rtol=1e-6, atol=0)


def test_numbers_that_json_lacks_are_null(tmp_path: Path) -> None:
    write_folder(tmp_path, content(metrics={"loss": float("nan"), "more": [1.0, float("inf")]}), "card")
    assert safe_load(tmp_path)["metrics"] == {"loss": None, "more": [1.0, None]}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("with_digest", [True, False])
def test_truncated_weights(folder: Path, share: float, with_digest: bool) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: int(len(whole) * share)])
    if not with_digest:
        rewrite(folder, sha256=None)
    with pytest.raises(ValueError, match=r"model\.safetensors \([\d,]+ bytes\) .* truncated, damaged or"):
        safe_load(folder)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    whole = bytearray((folder / WEIGHTS).read_bytes())
    whole[-5] ^= 1
    (folder / WEIGHTS).write_bytes(whole)
    with pytest.raises(ValueError, match="is not the file that config.json belongs to"):
        safe_load(folder)


def test_a_matrix_without_its_steps(folder: Path) -> None:
    save_file({"w": torch.zeros(2, 3, dtype=torch.int8)}, folder / WEIGHTS)
    rewrite(folder, sha256=None)
    with pytest.raises(ValueError, match="cannot be read: it is truncated, damaged or not of safetensors"):
        safe_load(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ('{"format": "svq"', "is no JSON"),
        ("\udcff", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1, 2]", "holds list, not the settings of a model"),
        ("{}", "holds no|was not written by this project"),
        ('{"format": "svq", "version": 1}', "has version 1 but this code reads"),
        (f'{{"format": "svq", "version": {VERSION}, "config": 3}}', "its config is int"),
        (f'{{"format": "svq", "version": {VERSION}, "step": "many"}}', "its step is str"),
    ],
)
def test_settings_that_cannot_be_used(folder: Path, text: str, said: str) -> None:
    (folder / CONFIG).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=said) as caught:
        safe_load(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="has config.json but no model.safetensors"):
        safe_load(folder)


# ------------------------------------------------------------------ where they are looked for


@pytest.fixture
def shipped_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model "tiny" that is shipped, seen from a folder where nothing else is."""
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "shipped")
    write_folder(tmp_path / "shipped" / "tiny", content(), "card")
    (tmp_path / "shipped" / "unfinished").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "shipped" / "tiny"


def test_a_shipped_model_is_known_by_its_name(shipped_tiny: Path) -> None:
    assert pretrained.shipped() == ["tiny"]
    assert find("tiny") == locate("tiny") == shipped_tiny
    assert weights_file("tiny") == shipped_tiny / WEIGHTS
    assert safe_load("tiny")["step"] == 3
    with pytest.raises(FileNotFoundError, match="or give the name of a shipped model: tiny"):
        safe_load("tine")


def test_what_lies_here_goes_before_what_is_shipped(shipped_tiny: Path) -> None:
    Path("tiny").mkdir()  # of something else
    assert find("tiny") == shipped_tiny
    write_folder(Path("tiny"), content(step=4), "card")
    assert find("tiny") == Path("tiny") and safe_load("tiny")["step"] == 4


@pytest.mark.parametrize("name", ["tine", "folder/none", "../shipped/none", "a/b/c", "./no", "", "owner/", "/etc"])
def test_a_name_of_nothing_lists_what_is_shipped(shipped_tiny: Path, name: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(ValueError, match=r"\(there are: tiny\)|holds no config.json") as caught:
        find(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, ["tiny"]])
def test_what_is_no_name(name: object) -> None:
    with pytest.raises(TypeError, match="a model must be a name or a path, got"):
        find(name)  # pyright: ignore[reportArgumentType]


def test_the_hub_needs_its_package(shipped_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="'owner/name' is neither .* pip install huggingface_hub"):
        find("owner/name")


def test_a_hub_id_is_fetched(shipped_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: dict[str, object] = {}

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.update(name=name, revision=revision, allow_patterns=allow_patterns)
        if name == "owner/nothing":
            raise OSError("no such\nrepository")
        return str(shipped_tiny if name == "owner/name" else tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    assert find("owner/name", revision="v1") == shipped_tiny
    assert asked == {"name": "owner/name", "revision": "v1", "allow_patterns": [WEIGHTS, CONFIG, "README.md"]}
    with pytest.raises(ValueError, match="'owner/nothing' cannot be fetched from .* hub: no such repository"):
        find("owner/nothing")
    with pytest.raises(ValueError, match="'owner/other' of the Hugging Face hub holds no config.json"):
        find("owner/other")


def test_a_folder_is_published(shipped_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    done: list[tuple[str, dict[str, object]]] = []

    class Api:
        def create_repo(self, repo_id: str, **given: object) -> None:
            if repo_id == "owner/taken":
                raise OSError("403\nForbidden")
            done.append((repo_id, given))

        def create_branch(self, repo_id: str, **given: object) -> None:
            done.append((repo_id, given))

        def upload_folder(self, *, repo_id: str, folder_path: Path, revision: str | None) -> str:
            files = sorted(path.name for path in folder_path.iterdir())
            done.append((repo_id, {"files": files, "revision": revision}))
            return "https://hub/commit"

    monkeypatch.setattr(hub, "HfApi", Api)
    files = {"files": sorted(path.name for path in shipped_tiny.iterdir())}
    assert upload(shipped_tiny, "owner/name", private=True) == "https://hub/commit"
    made = ("owner/name", {"private": True, "exist_ok": True})
    assert done == [made, ("owner/name", {**files, "revision": None})]
    done.clear()
    upload(shipped_tiny, "owner/name", revision="v2")
    branch = ("owner/name", {"branch": "v2", "exist_ok": True})
    assert done[1:] == [branch, ("owner/name", {**files, "revision": "v2"})]
    with pytest.raises(ValueError, match="'owner/taken' cannot be published on the Hugging Face hub: 403 Forbidden"):
        upload(shipped_tiny, "owner/taken")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        upload(shipped_tiny, "owner/name")


@pytest.mark.parametrize("wrong", ["name", "a/b/c", "", "../name", None])
def test_what_is_no_id_of_the_hub(wrong: object) -> None:
    with pytest.raises(ValueError, match="is no id of the Hugging Face hub; give owner/name"):
        require_hub_id(wrong)  # pyright: ignore[reportArgumentType]
