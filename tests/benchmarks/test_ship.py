"""What is shipped comes from the published run of seed 0, fits, and says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import ship as shipping
from benchmarks.ship import ship
from src.configs.launch import plain
from src.models.code_model import CodeModel
from src.models.svq_model import SVQ
from src.training.build import make_model
from src.training.checkpoint import BEST, save_checkpoint
from src.utils.pretrained import CARD, WEIGHTS

from ..training.tiny import tiny_config

VALIDATION = {"autoencoder_loss": 0.25, "prior_loss": 1.5}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Where checkpoints, results and shipped models are; there is a published run "tiny"."""
    monkeypatch.setattr(shipping, "PICTURES", 8)
    found = (tmp_path / "checkpoints", tmp_path / "results", tmp_path / "pretrained")
    publish(found)
    return found


def publish(places: tuple[Path, Path, Path], *words: str, prior: bool = True, **changes: object) -> SVQ:
    config = tiny_config(*words)
    torch.manual_seed(0)
    model = make_model(config.model)
    assert isinstance(model, SVQ)
    if prior:
        model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    settings = plain(config)
    save_checkpoint(places[0] / "tiny/seed_0" / BEST, model, step=5, metrics=VALIDATION, config=settings)
    run = {"wall_seconds": 60, "scores": {"segmentation": {"miou": 0.5}}, "validation": VALIDATION, "config": settings}
    (places[1] / "tiny").mkdir(parents=True, exist_ok=True)
    (places[1] / "tiny/seed_0.json").write_text(json.dumps({**run, **changes}))
    return model.eval()


def test_small_weights_are_shipped_as_they_are(places: tuple[Path, Path, Path]) -> None:
    model = publish(places)
    folder = ship("tiny", *places)
    found = CodeModel.from_pretrained(folder)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())
    assert found.origin["config"]["data"]["name"] == "shapes" and found.origin["step"] == 5
    card = (folder / CARD).read_text()
    for line in ("# tiny", "| mIoU | 0.500 |", "| process start to exit, minutes | 1.0 |"):
        assert line in card
    assert "From `results/tiny/seed_0.json`." in card and "rounding" not in card
    with pytest.raises(SystemExit, match="is there already; remove it to ship other weights"):
        ship("tiny", *places)


def test_large_weights_are_rounded_and_the_card_says_what_it_costs(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (ship("tiny", *places) / WEIGHTS).stat().st_size
    monkeypatch.setattr(shipping, "LARGEST", whole - 1)
    folder = ship("tiny", *places[:2], places[2] / "again")
    assert (folder / WEIGHTS).stat().st_size < whole
    card = (folder / CARD).read_text()
    assert "| codes that rounding the weights changes, % of 48 |" in card  # 8 scenes of 3 slots of 2 blocks
    before, after = card.split("| prior, bits a code, before and after rounding | ")[1].split(" |")[0].split()
    assert abs(float(before) - float(after)) < 0.1
    monkeypatch.setattr(shipping, "LARGEST", 1000)
    with pytest.raises(SystemExit, match=r"take [\d,]+ bytes, rounded; at most 1,000 are shipped"):
        ship("tiny", *places[:2], places[2] / "once_more")
    assert not (places[2] / "once_more").exists()


def test_what_is_missing_or_of_another_run_is_named(places: tuple[Path, Path, Path]) -> None:
    with pytest.raises(SystemExit, match="best_model.pth is missing; python -m benchmarks.default_runs --name small"):
        ship("small", *places)
    publish(places, validation={**VALIDATION, "prior_loss": 1.25})
    with pytest.raises(SystemExit, match="are of different runs: their validation metrics are not the same"):
        ship("tiny", *places)
    publish(places, config=plain(tiny_config("seed=3", "model.inhibition=0")))
    with pytest.raises(SystemExit, match="were made with different settings: model.inhibition, seed"):
        ship("tiny", *places)
    publish(places, prior=False)
    with pytest.raises(SystemExit, match="has no prior: its training has not come to its end"):
        ship("tiny", *places)
    (places[0] / "tiny/seed_0" / BEST).write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="cannot be read: it is truncated"):
        ship("tiny", *places)
    (places[1] / "tiny/seed_0.json").unlink()
    with pytest.raises(SystemExit, match="seed_0.json is missing"):
        ship("tiny", *places)
    assert not places[2].exists()
