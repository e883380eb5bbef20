from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save, load_kept, safe_load

CONTENT = {"format": FORMAT, "version": VERSION, "weights": {"a": torch.arange(1000.0)}, "step": 3}
ROOT = Path(__file__).parents[2]


def test_what_is_saved_comes_back_and_no_draft_stays(tmp_path):
    path = tmp_path / "new" / "folder" / "model.pth"
    atomic_save(CONTENT, path)
    loaded = safe_load(path)
    assert loaded["step"] == 3 and torch.equal(loaded["weights"]["a"], CONTENT["weights"]["a"])
    assert os.listdir(path.parent) == ["model.pth"]


def test_a_failed_save_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "model.pth"
    atomic_save(CONTENT, path)
    with pytest.raises(Exception, match="pickle"):
        atomic_save({"bad": lambda: None}, path)
    assert safe_load(path)["step"] == 3
    assert os.listdir(tmp_path) == ["model.pth"]


def test_a_file_that_may_not_grow_is_the_systems_error(tmp_path):
    pytest.importorskip("resource")
    code = (
        "import resource, sys, torch\n"
        "from src.utils.checkpoint_io import atomic_save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    atomic_save({str(n): torch.zeros(100) for n in range(500)}, sys.argv[1])\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "model.pth"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "File too large" in done.stdout and str(path) in done.stdout, done.stderr
    assert not os.listdir(tmp_path)


def test_a_kill_while_writing_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "model.pth"
    atomic_save(CONTENT, path)
    code = (
        "import os, signal, sys, torch\n"
        "from src.utils import checkpoint_io\n"
        "kill = getattr(signal, 'SIGKILL', signal.SIGTERM)\n"  # Windows: os.kill ends a process at once for both
        "checkpoint_io.os.replace = lambda *_: os.kill(os.getpid(), kill)\n"
        "checkpoint_io.atomic_save({'format': 'svq', 'version': 1, 'step': 4}, sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, timeout=120)
    assert done.returncode == (-9 if os.name == "posix" else signal.SIGTERM)
    assert safe_load(path)["step"] == 3


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth does not exist; train one"):
        safe_load(tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match=r"a shipped model: .*; did you mean sprites\?"):
        safe_load("Sprite")


@pytest.mark.parametrize("path", [None, 3, {"format": FORMAT}])
def test_what_is_no_path(path):
    with pytest.raises(TypeError, match="checkpoint must be the path of a file, got "):
        safe_load(path)


def test_a_plain_pickle_file_gives_the_error_only(tmp_path, recwarn):
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps({"format": FORMAT}))
    with pytest.raises(ValueError, match="cannot be read"):
        safe_load(path)
    assert not recwarn.list


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder; give a file"):
        safe_load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file(tmp_path, share):
    path = tmp_path / "model.pth"
    atomic_save(CONTENT, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"bytes\) cannot be read: it is truncated"):
        safe_load(path)


def test_a_flipped_bit_in_a_weight(tmp_path):
    path = tmp_path / "model.pth"
    atomic_save(CONTENT, path)
    whole = path.read_bytes()
    place = whole.index(struct.pack("<f", 500.0))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert torch.load(path, weights_only=True)["weights"]["a"][500] != 500  # PyTorch does not look
    with pytest.raises(ValueError, match=r"bytes\) cannot be read: it is truncated, damaged"):
        safe_load(path)


def test_a_text_file(tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("not a checkpoint")
    with pytest.raises(ValueError, match="cannot be read"):
        safe_load(path)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made_by_evil",)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"format": FORMAT, "x": Evil()}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        safe_load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="cannot be read"):
        safe_load(path)
    assert not (tmp_path / "made_by_evil").exists()


@pytest.mark.parametrize("content", [{"model_state_dict": {}}, {"format": "other"}, [1, 2], torch.zeros(3)])
def test_a_foreign_checkpoint(tmp_path, content):
    path = tmp_path / "foreign.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match="was not written by this project"):
        safe_load(path)


def test_a_newer_version(tmp_path):
    path = tmp_path / "newer.pth"
    atomic_save({"format": FORMAT, "version": VERSION + 1}, path)
    with pytest.raises(ValueError, match=f"has version {VERSION + 1} but this code reads version {VERSION}"):
        safe_load(path)


def test_kept_files_are_read_whole_and_of_their_format_or_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "kept.pth"
    assert load_kept(None, "ours") is None and load_kept(path, "ours") is None
    atomic_save({"format": "ours", "values": torch.arange(3)}, path)
    kept = load_kept(path, "ours")
    assert kept is not None and kept["values"].tolist() == [0, 1, 2]
    assert load_kept(path, "another") is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_kept(path, "ours") is None


def test_the_folder_of_a_run_stands_for_its_best_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; give a file, such as .*best_model.pth"):
        safe_load(tmp_path)
    atomic_save({"format": FORMAT, "version": VERSION, "step": 3}, tmp_path / "best_model.pth")
    assert safe_load(tmp_path)["step"] == 3
