"""Whole models with official weights against the official numbers (tests/models/official/README.md)."""

from __future__ import annotations

from argparse import Namespace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.convert_official import main
from src.models.official_import import import_official, read_official
from src.models.svq_model import SVQ

OFFICIAL = Path(__file__).parent / "models" / "official"
NAMES = ("random", "learned")


def golden(name: str) -> dict[str, Any]:
    return torch.load(OFFICIAL / f"official_tiny_{name}.pt", weights_only=True)


def assert_same(ours: Tensor, official: Tensor) -> None:
    """Within 1e-4 of the largest value."""
    assert ours.shape == official.shape
    assert (ours - official).abs().max() <= 1e-4 * official.abs().max()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_converted_checkpoint_gives_the_official_numbers(tmp_path: Path, name: str) -> None:
    main([str(OFFICIAL / f"official_tiny_{name}.pt"), str(tmp_path / "ours.pth")])
    model, io = SVQ.from_checkpoint(tmp_path / "ours.pth"), golden(name)["io"]
    assert_same(model.encoder.backbone(io["image"])[:, ::97], io["features_every_97th"])
    found = model.encoder(io["image"], model.quantizer, io["slot_noise"])
    assert torch.equal(found.codes, io["indices"])
    assert_same(found.quantized, io["slots"])
    assert_same(found.attention.mT[:, ::97], io["attention_every_97th"])
    assert_same(found.commitment, io["commitment_loss"])
    assert_same(model.embed(io["indices"]), io["slots"])
    decoder, prior = model.decoder.decoder, model.prior
    assert_same(decoder.memory(found.quantized), io["memory"])
    assert_same(decoder.logits(found.quantized, io["dvae_tokens"]), io["token_logits"])
    assert_same(decoder.dvae.decode(io["dvae_tokens"]), io["dvae_recon"])
    blocks = torch.arange(model.num_codebooks).repeat(model.num_slots)
    joint = io["prior_logits"].unflatten(-1, (model.num_codebooks, -1))  # (B, N·M, M, K)
    own = joint[:, torch.arange(len(blocks)), blocks]
    assert prior is not None
    assert_same(prior(io["indices"]).flatten(1, 2), own)


@torch.no_grad()
def test_what_the_gru_mask_hides_is_not_read() -> None:
    state = golden("random")["model"]
    name = "image_encoder.nlotm.gru.gru.weight_hh"
    mask = state["image_encoder.nlotm.gru.mask_hh"]
    disturbed = {**state, name: state[name] + (1 - mask)}
    a, b = (import_official(each, num_slots=3).state_dict() for each in (state, disturbed))
    assert all(torch.equal(a[key], b[key]) for key in a if not key.endswith("eval_noise"))


@torch.no_grad()
def test_prototypes_of_sysbinder() -> None:
    state = dict(golden("random")["model"])
    for key in [key for key in state if "prototype_memory" in key]:
        del state[key]
    torch.manual_seed(1)
    num_blocks, num_prototypes, width = 4, 8, 8
    place = "image_encoder.nlotm.prototype_memory."
    state[f"{place}mem_params"] = torch.randn(1, num_prototypes, num_blocks, width)
    widths = (width, 4 * width, 4 * width, 4 * width, width)
    for number, (into, out) in enumerate(pairwise(widths)):
        state[f"{place}mem_proj.{2 * number}.weight"] = torch.randn(out, into) * into**-0.5
        state[f"{place}mem_proj.{2 * number}.bias"] = torch.randn(out) * 0.1
    as_sysbinder = {key.replace(".nlotm.", ".sysbinder."): value for key, value in state.items()}
    slots = torch.randn(2, 3, num_blocks * width)

    memory = state[f"{place}mem_params"]
    for number in range(4):
        memory = memory @ state[f"{place}mem_proj.{2 * number}.weight"].T + state[f"{place}mem_proj.{2 * number}.bias"]
        memory = memory.relu() if number < 3 else memory
    memory = torch.nn.functional.layer_norm(memory[0], (width,))  # (K, M, C)
    query = torch.nn.functional.layer_norm(slots.unflatten(-1, (num_blocks, width)), (width,))
    weights = torch.einsum("bnmc,kmc->bnmk", query, memory).div(width**0.5).softmax(-1)
    expected = torch.einsum("bnmk,kmc->bnmc", weights, memory).flatten(2)
    for each in (state, as_sysbinder):
        model = import_official(each, num_slots=3)
        assert model.config["bottleneck"] == "prototypes" and not model.has_codes
        assert model.quantizer is not None
        assert_same(model.quantizer(slots).slots, expected)
        assert model.find_slots(torch.rand(1, 3, 64, 64)).quantized.shape == (1, 3, 32)


def test_training_checkpoints_and_prefixes_are_understood(tmp_path: Path) -> None:
    content = golden("random")
    state = {f"module.{name}": tensor for name, tensor in content["model"].items()}
    torch.save({"epoch": 3, "model": state}, tmp_path / "model.pt")
    torch.save(content["prior"], tmp_path / "prior.pt")
    words = ["--prior", str(tmp_path / "prior.pt"), "--prior-num-heads", "2", "--num-decoder-heads", "2"]
    main([str(tmp_path / "model.pt"), str(tmp_path / "ours.pth"), *words])
    model = SVQ.from_checkpoint(tmp_path / "ours.pth")
    assert model.num_slots == 3  # as the prior says
    assert model.prior is not None and model.generate(1).shape == (1, 3, 64, 64)
    assert read_official(tmp_path / "model.pt").keys() == {"model"}


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a conversion that fails."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1
    return said


def test_every_tensor_that_does_not_fit_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = golden("random")
    del content["model"]["image_decoder.head.weight"]
    del content["model"]["dvae.encoder.3.m.bias"]
    content["model"]["image_encoder.extra"] = torch.zeros(1)
    content["model"]["image_encoder.nlotm.norm_slots.bias"] = torch.zeros(5)
    torch.save(content, tmp_path / "in.pt")
    said = failure(capsys, str(tmp_path / "in.pt"), str(tmp_path / "out.pth"))
    for part in (
        "image_decoder.head.weight is missing",
        "dvae.encoder.3.m.bias is missing",
        "image_encoder.extra is unexpected",
        "image_encoder.nlotm.norm_slots.bias (5,) does not fit",
    ):
        assert part in said
    assert not (tmp_path / "out.pth").exists()


def test_files_that_hold_no_official_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.pth")
    assert "does not exist" in failure(capsys, str(tmp_path / "none.pt"), out)
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert "cannot be opened" in failure(capsys, str(tmp_path / "text.pt"), out)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    assert "holds no state dict of the official code" in failure(capsys, str(tmp_path / "other.pt"), out)
    torch.save(golden("random")["prior"], tmp_path / "prior.pt")
    assert "holds a prior only" in failure(capsys, str(tmp_path / "prior.pt"), out)


def test_what_cannot_be_converted_or_would_be_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, into = golden("random"), tmp_path / "in.pt"
    torch.save(content, into)
    before = into.read_bytes()
    assert "is read, so it cannot be written as well" in failure(capsys, str(into), str(into))
    assert into.read_bytes() == before
    assert "is a folder; give the file to write" in failure(capsys, str(into), str(tmp_path))
    said = failure(capsys, str(into), str(tmp_path / "out.pth"), "--num-slots", "7")
    assert "num_slots=7 but the weights are those of 3 slots" in said
    content["model"]["dvae.decoder.11.bias"][0] = torch.nan
    torch.save(content, into)
    said = failure(capsys, str(into), str(tmp_path / "out.pth"))
    assert "hold NaN or infinity, the first in dvae.decoder.11.bias" in said
    with pytest.raises(ValueError, match="num_slot=3 is nothing that an official model is told"):
        import_official(golden("random")["model"], num_slot=3)


def test_arguments_kept_beside_the_weights_are_no_hindrance(tmp_path: Path) -> None:
    torch.save({"args": Namespace(lr=1e-4), "model": golden("random")["model"]}, tmp_path / "in.pt")
    assert read_official(tmp_path / "in.pt").keys() == {"model"}
