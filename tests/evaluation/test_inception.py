"""FID and KID with a small network in place of Inception."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.evaluation import inception
from src.evaluation.frechet import frechet_distance
from src.evaluation.inception import FeatureNetwork, fid_and_kid


class Small(nn.Module):
    """Features of pictures: their colours in four quarters."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)


class Choosy(nn.Module):
    """As NVIDIA's: features only when asked for."""

    def forward(self, images: Tensor, return_features: bool = False) -> Tensor:
        quarters = nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)
        return quarters if return_features else quarters[:, :2]


class Map(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float()


def saved(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return saved(Small(), tmp_path / "small.pt")


def pictures(count: int, seed: int, brightness: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 3, 2, 2, generator=generator) * brightness
    return (nn.functional.interpolate(corners, scale_factor=4) * 255).round().to(torch.uint8)


def test_fid_and_kid_with_a_network_of_ones_own(small: Path) -> None:
    pytest.importorskip("torchmetrics")
    network, notes = FeatureNetwork(small), []
    assert network.num_features == 12
    real, same, darker = pictures(600, 0), pictures(600, 1), pictures(600, 2, 0.8)
    state = torch.get_rng_state()
    fid, kid = fid_and_kid(network, real, {"darker": darker.float() / 255, "true": same}, notes=notes)
    assert torch.equal(torch.get_rng_state(), state) and notes == []
    assert fid is not None and kid is not None
    for name, images in (("darker", darker), ("true", same)):
        assert fid[name] == pytest.approx(frechet_distance(network(images), network(real)), rel=1e-6)
    assert fid["darker"] > 5 * fid["true"] and fid["n"] == kid["n"] == 600 and kid["features"] == 12
    assert kid["darker"]["mean"] > 5 * abs(kid["true"]["mean"]) and kid["darker"]["std"] > 0
    assert fid_and_kid(network, real, {"darker": darker, "true": same}, notes=notes) == (fid, kid)


def test_too_few_images_are_a_line_each(small: Path) -> None:
    notes: list[str] = []
    few = pictures(12, 0)
    assert fid_and_kid(FeatureNetwork(small), few, {"drawn": few}, notes=notes) == (None, None)
    assert [line.split(":")[0] for line in notes] == ["fid", "kid"]
    assert "12 images are too few for the covariance of 12 features" in notes[0] and "500" in notes[1]


def test_a_network_that_must_be_asked_for_features_is(tmp_path: Path) -> None:
    assert FeatureNetwork(saved(Choosy(), tmp_path / "choosy.pt")).num_features == 12


def test_files_that_cannot_be_used_are_one_line(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.pt is no file; give one"):
        FeatureNetwork(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(ValueError, match="holds neither a TorchScript network nor weights"):
        FeatureNetwork(tmp_path / "text.pt")
    with pytest.raises(ValueError, match=r"made features of shape \(2, 3, 64, 64\) .* expected a network"):
        FeatureNetwork(saved(Map(), tmp_path / "map.pt"))
    with pytest.raises(ValueError, match="cannot look at pictures"):
        FeatureNetwork(saved(nn.Linear(3, 3), tmp_path / "linear.pt"))
    torch.save({"fc.weight": torch.rand(2, 2)}, tmp_path / "weights.pth")
    without(monkeypatch, "torch_fidelity")
    with pytest.raises(ImportError, match="weights need it .* pip install torch-fidelity") as caught:
        FeatureNetwork(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_without_torchmetrics_one_line_says_what_to_install(small: Path, monkeypatch) -> None:
    without(monkeypatch, "torchmetrics")
    images = pictures(20, 0)
    with pytest.raises(ImportError, match="FID and KID need torchmetrics .* pip install torchmetrics") as caught:
        fid_and_kid(FeatureNetwork(small), images, {"drawn": images}, notes=[])
    assert "\n" not in str(caught.value)


def without(monkeypatch, package: str) -> None:
    """As if the package were not installed."""

    def refuse(name: str):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return importlib.import_module(name)

    monkeypatch.setattr(inception, "import_module", refuse)
