"""Graphs do what the model does, for any number of scenes, and what cannot be exported is said in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from src.configs import launch
from src.configs.errors import CommandError, ConfigError
from src.configs.launch import plain
from src.configs.schema import ExportConfig
from src.models.catalogue import make_model
from src.models.code_model import CodeModel
from src.models.graphs import DecoderGraph, EncoderGraph
from src.training import exporting
from src.training.checkpoint import save_checkpoint
from src.training.exporting import compare, write_graphs

from ..website.pages import blocks, read
from .tiny import CONFIGS, tiny_config

SIZES = {
    **{"image_size": 16, "num_slots": 3, "num_iterations": 2, "slot_size": 20, "num_codebooks": 5, "codebook_size": 8},
    **{"code_dim": 6, "hidden_dim": 8, "vocab_size": 12, "num_starts": 2},
}


def images(batch: int) -> Tensor:
    return torch.rand(batch, 3, 16, 16)


def saved(path: Path, kind: str = "svq", config: dict | None = None, **changes: object) -> CodeModel:
    """The model of a checkpoint; without settings of a training unless `config` has them."""
    torch.manual_seed(0)
    model = make_model(kind, {**SIZES, **changes})
    if "commitment_cost" in model.config:
        model.train()(images(16))  # fills the codebooks
        if model.codebook is not None:
            # Untrained slots are much alike, and between codes that are as well rounding would decide.
            model.codebook.detach().add_(torch.randn_like(model.codebook))
    save_checkpoint(path, model, step=0, metrics={}, config=config or {})
    return model.eval()


def export(tmp_path: Path, *words: str) -> dict[str, dict]:
    given = [f"checkpoint={tmp_path / 'model.pth'}", f"output={tmp_path / 'exported'}", "num_images=5", *words]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        paths = write_graphs(launch.to_object(compose("export", given), ExportConfig))
    content = json.loads((tmp_path / "exported" / "export.json").read_text())
    assert [path.name for path in paths] == [*content["files"], "export.json"]
    assert all(path.stat().st_size == content["files"][path.name]["bytes"] for path in paths[:-1])
    return content


def run_page(program: str, image: object) -> dict[str, Any]:
    """What the code of docs/weights.md that opens `program` gives for a picture, in the current folder."""
    names = {"image": image}
    (code,) = (code for code in blocks(read("docs/weights.md"), "python") if f"exported/{program}" in code)
    exec(compile(code, program, "exec"), names)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svq", "vqvae", "dvae"])
def test_saved_programs_do_what_the_model_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    trained = kind == "svq"
    model = saved(tmp_path / "model.pth", kind, plain(tiny_config()) if trained else None)
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)  # which no graph has
    content = export(tmp_path, "formats=[pt2]")
    assert content["pictures"] == ("shapes, validation split" if trained else "painted from random codes")
    assert content["files"]["encoder.pt2"]["codes_differ"] == 0
    assert content["files"]["encoder.pt2"]["codes"] == 5 * model.num_slots * model.num_codebooks
    encoder, decoder = (
        torch.export.load(tmp_path / "exported" / f"{name}.pt2").module() for name in ("encoder", "decoder")
    )
    for batch in (1, 2, 7):
        image = images(batch)
        with torch.no_grad():
            codes, *more = encoder(image)
            assert torch.equal(codes, model.encode(image))
            painted, *masks = decoder(codes)
            torch.testing.assert_close(painted, model.paint(codes).clamp(0, 1))
            if kind == "svq":
                outputs = model(image)
                for found, name in zip([*more, *masks], ("slots", "masks", "masks"), strict=True):
                    torch.testing.assert_close(found, outputs[name], atol=1e-5, rtol=0)
            else:
                assert not more and not masks
    if kind == "svq":
        assert torch.equal(run_page("encoder.pt2", image)["codes"], codes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"decoder": "cnn", "quantize_at": "every"}, marks=pytest.mark.slow),
        pytest.param({"slot_init": "learned", "salience": False, "inhibition": 0.0}, marks=pytest.mark.slow),
        pytest.param({"kind": "vqvae"}, marks=pytest.mark.slow),
        pytest.param({"kind": "dvae"}, marks=pytest.mark.slow),
    ],
)
def test_onnx_files_do_what_the_model_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict) -> None:
    monkeypatch.chdir(tmp_path)
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = saved(tmp_path / "model.pth", **{"num_iterations": 1, "num_starts": 1, **changes})
    content = export(tmp_path, "formats=[onnx]")
    assert content["files"]["encoder.onnx"]["codes_differ"] == 0
    sessions = [onnxruntime.InferenceSession(tmp_path / "exported" / f"{name}.onnx") for name in ("encoder", "decoder")]
    assert [each.name for each in sessions[0].get_outputs()] == list(EncoderGraph(model).outputs)
    for batch in (1, 3):
        image = images(batch)
        codes, *_ = (torch.from_numpy(each) for each in sessions[0].run(None, {"image": image.numpy()}))
        assert torch.equal(codes, model.encode(image))
        painted, *_ = (torch.from_numpy(each) for each in sessions[1].run(None, {"codes": codes.numpy()}))
        torch.testing.assert_close(painted, model.paint(codes).clamp(0, 1), atol=1e-4, rtol=0)
    if not changes:
        image = images(2)
        found = run_page("{name}.onnx", image.numpy())
        assert torch.equal(torch.from_numpy(found["codes"]), model.encode(image))
        assert found["image"].shape == image.shape and len(found["masks"]) == 2


def test_a_comparison_counts_what_differs() -> None:
    model = make_model("svq", {**SIZES, "num_iterations": 1, "num_starts": 1}).eval()
    graph, inputs = EncoderGraph(model), images(20)

    def wrong_in_one_scene(batch: Tensor) -> list[Tensor]:
        codes, slots, masks = (each.clone() for each in graph(batch))
        if len(batch) > 1 and torch.equal(batch[0], inputs[1]):
            codes[0, 0, :2] = (codes[0, 0, :2] + 1) % model.codebook_size
            slots[0] += 5  # not looked at: that scene has other codes
            masks[1] += 0.25
        return [codes, slots, masks]

    found = compare(graph, wrong_in_one_scene, inputs)
    assert (found["images"], found["codes"], found["codes_differ"]) == (20, 20 * 3 * 5, 2)
    assert found["largest_error"]["slots"] == 0 and abs(found["largest_error"]["masks"] - 0.25) < 1e-6
    decoder = DecoderGraph(model)
    same = compare(decoder, lambda batch: list(decoder(batch)), torch.zeros(1, 3, 5, dtype=torch.int64))
    assert same == {"images": 1, "codes": 0, "codes_differ": 0, "largest_error": {"image": 0.0, "masks": 0.0}}


def test_what_is_no_number_is_as_wrong_as_can_be() -> None:
    decoder = DecoderGraph(make_model("svq", {**SIZES, "num_iterations": 1, "num_starts": 1}).eval())
    codes = torch.zeros(3, 3, 5, dtype=torch.int64)
    found = compare(decoder, lambda batch: [decoder(batch)[0] * float("nan"), decoder(batch)[1]], codes)
    assert found["largest_error"] == {"image": float("inf"), "masks": 0.0}


@pytest.mark.slow
def test_a_graph_that_is_off_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "model.pth", "dvae")
    monkeypatch.setattr(exporting, "LARGEST_ERROR", -1.0)
    with pytest.raises(CommandError, match=r"decoder\.pt2 does not do what the model does: .* image by .* at most"):
        export(tmp_path, "formats=[pt2]")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_onnx_needs_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r"formats=\[onnx\] needs .*; the extra `export` has it"):
        export(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ({}, ["formats=[]"], r"formats=\[\] leaves nothing to write; choose one of: pt2, onnx"),
        ({}, ["formats=[pt2,tflite]"], "formats has tflite, which is unknown; choose one of: pt2, onnx"),
        ({}, ["num_images=0"], "num_images=0 is out of range; it must be at least 1"),
        ({}, ["formats=[pt2]", "checkpoint=nowhere.pth"], "nowhere.pth does not exist"),
        ({"bottleneck": "none"}, ["formats=[pt2]"], "writes no codes, which a graph could lead to"),
        ({"decoder": "transformer", "num_starts": 1}, ["formats=[pt2]"], "paints token by token"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path: Path, changes: dict, words: list[str], said: str) -> None:
    saved(tmp_path / "model.pth", **changes)
    with pytest.raises(ConfigError, match=said) as caught:
        export(tmp_path, *words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    saved(tmp_path / "model.pth", "dvae")
    (tmp_path / "exported").write_text("")
    with pytest.raises(ConfigError, match="exported is a file; give a folder"):
        export(tmp_path, "formats=[pt2]")
