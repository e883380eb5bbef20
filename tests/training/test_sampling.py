from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from src.configs import launch
from src.configs.errors import ConfigError
from src.configs.schema import GenerateConfig
from src.models.svq_model import SVQ
from src.training.build import make_model
from src.training.sampling import write_samples
from src.utils import visualization
from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save

from .tiny import CONFIGS, tiny_config

ROOT = Path(__file__).parents[2]


def generate(tmp_path: Path, *overrides: str) -> list[Path]:
    words = [f"output={tmp_path / 'out'}", "num_images=5", "device=cpu", "dpi=40", *overrides]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("generate", words)
    return write_samples(launch.to_object(composed, GenerateConfig))


def write(path: Path, model: SVQ, **changes) -> Path:
    content = {"format": FORMAT, "version": VERSION, "model_config": model.config}
    atomic_save({**content, "model_state_dict": model.state_dict(), "step": 0, "metrics": {}, **changes}, path)
    return path


@pytest.fixture(scope="module")
def model() -> SVQ:
    torch.manual_seed(0)
    model = make_model(tiny_config().model)
    model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, model) -> str:
    return f"checkpoint={write(tmp_path_factory.mktemp('checkpoint') / 'model.pth', model)}"


def test_writes_a_picture_and_codes_that_decode_to_it(tmp_path, checkpoint, model):
    picture, listing = generate(tmp_path, checkpoint, "precision=float32")
    assert picture.name == "images.png" and picture.read_bytes().startswith(b"\x89PNG")
    content = json.loads(listing.read_text())
    codes = torch.tensor(content["codes"])
    assert list(codes.shape) == content["shape"] == [5, 3, 2]
    assert codes.min() >= 0 and codes.max() < 8
    decoded = model.eval().decode(codes).recon
    sheet = visualization.sample_sheet(decoded, "5 scenes drawn from the prior, temperature 1", dpi=40)
    expected = visualization.save_figure(sheet, tmp_path / "expected.png")
    assert np.array_equal(*(np.asarray(Image.open(path)) for path in (picture, expected)))


def test_a_shipped_model_is_a_checkpoint_by_its_name(tmp_path, checkpoint, model, monkeypatch):
    monkeypatch.setattr("src.utils.pretrained.SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    model.save_pretrained(tmp_path / "shipped" / "tiny")
    drawn = []
    for given in (checkpoint, "checkpoint=tiny", f"checkpoint={tmp_path / 'shipped' / 'tiny'}"):
        drawn.append(json.loads(generate(tmp_path, given)[1].read_text())["codes"])
    assert drawn[0] == drawn[1] == drawn[2]
    with pytest.raises(ConfigError, match="tin does not exist; .* or give the name of a shipped model: tiny"):
        generate(tmp_path, "checkpoint=tin")


def test_the_seed_decides(tmp_path, checkpoint):
    drawn = [json.loads(generate(tmp_path, checkpoint, f"seed={seed}")[1].read_text())["codes"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_top_k_of_one_draws_the_likeliest_code_only(tmp_path, checkpoint):
    codes = torch.tensor(json.loads(generate(tmp_path, checkpoint, "top_k=1")[1].read_text())["codes"])
    assert (codes == codes[0]).all()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("temperature=0", "temperature=0.0 is out of range; it must be greater than 0"),
        ("temperature=-1", "temperature=-1.0 is out of range"),
        ("top_k=0", "top_k=0 is out of range; it must be at least 1"),
        ("num_images=0", "num_images=0 is out of range; it must be at least 1"),
        ("device=gpu", "device=gpu is unknown; choose one of"),
    ],
)
def test_arguments_out_of_range(tmp_path, checkpoint, override, said):
    with pytest.raises(ConfigError, match=said):
        generate(tmp_path, checkpoint, override)


@pytest.mark.slow
def test_models_of_every_kind_are_loaded_wherever_they_are_asked_for(tmp_path):
    kinds = ["vqvae", "dvae"]
    for kind in kinds:
        model = make_model(tiny_config(f"model={kind}", "model.vocab_size=8").model)
        model.init_prior(embed_dim=8, num_heads=2, num_layers=1)
        path = write(tmp_path / f"{kind}.pth", model)
        _, listing = generate(tmp_path, f"checkpoint={path}")
        content = json.loads(listing.read_text())
        assert content["shape"] == [5, model.num_slots, 1]
        assert 0 <= torch.tensor(content["codes"]).min() <= torch.tensor(content["codes"]).max() < model.codebook_size
    # Nothing else was imported there that would know the kinds.
    code = "import sys; from src.models.code_model import CodeModel\n"
    code += "for path in sys.argv[1:]: print(CodeModel.from_checkpoint(path).kind)"
    line = [sys.executable, "-c", code, *(str(tmp_path / f"{kind}.pth") for kind in kinds)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == kinds, done.stderr


def test_a_model_without_a_prior(tmp_path):
    path = write(tmp_path / "plain.pth", make_model(tiny_config().model))
    with pytest.raises(ConfigError, match="holds no prior to generate from"):
        generate(tmp_path, f"checkpoint={path}")
    path = write(
        tmp_path / "codeless.pth", make_model(tiny_config("model.bottleneck=none", "training.prior.steps=0").model)
    )
    with pytest.raises(ConfigError, match="holds a model that writes no codes.*model.bottleneck=codes"):
        generate(tmp_path, f"checkpoint={path}")


def test_checkpoints_that_cannot_be_used(tmp_path, model):
    missing = tmp_path / "missing.pth"
    with pytest.raises(ConfigError, match=r"missing\.pth does not exist"):
        generate(tmp_path, f"checkpoint={missing}")
    other = write(tmp_path / "other.pth", model, model_config={**model.config, "slot_size": 16})
    with pytest.raises(ConfigError, match="does not fit"):
        generate(tmp_path, f"checkpoint={other}")
    foreign = tmp_path / "foreign.pth"
    torch.save({"state_dict": {}}, foreign)
    with pytest.raises(ConfigError, match="was not written by this project"):
        generate(tmp_path, f"checkpoint={foreign}")
    whole = write(tmp_path / "whole.pth", model).read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="truncated"):
        generate(tmp_path, f"checkpoint={tmp_path / 'half.pth'}")


def test_an_output_that_is_a_file(tmp_path, checkpoint):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        generate(tmp_path, checkpoint, f"output={tmp_path / 'taken'}")
