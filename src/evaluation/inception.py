"""FID and KID through torchmetrics, with a network of features that the user gives: nothing is downloaded.

Legend: B images, F features.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .frechet import enough_for_covariance

KID_SUBSETS, KID_SUBSET = 100, 500  # subsets drawn, and how many images each has


class FeatureNetwork(nn.Module):
    """Images (B, 3, H, W) uint8 -> features (B, F) float32, of the network in a file.

    Args:
        path: a TorchScript network of such images (Inception as NVIDIA publishes it is one), or torch-fidelity's
            weights of Inception, which need torch-fidelity.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds neither.
        ImportError: it seems to hold weights, and torch-fidelity is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise FileNotFoundError(
                f"{path} is no file; give one with Inception's weights (TorchScript, or torch-fidelity's), or null"
            )
        try:
            with warnings.catch_warnings():  # TorchScript is old but is what the networks are published in
                warnings.simplefilter("ignore", DeprecationWarning)
                self.network = torch.jit.load(self.path, map_location="cpu")
        except RuntimeError:
            self.network = _of_weights(self.path)
        self.eval().requires_grad_(False)
        asked = getattr(getattr(self.network, "forward", None), "schema", None)
        self.options = {"return_features": True} if "return_features" in str(asked) else {}
        self.num_features = self._count_features()  # torchmetrics reads it

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        features = self.network(images, **self.options)
        return (features[0] if isinstance(features, tuple) else features).float()

    def _count_features(self) -> int:
        wanted = "expected a network that makes features (B, F) of uint8 images (B, 3, H, W)"
        try:
            features = self(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
        except (RuntimeError, AttributeError) as error:
            raise ValueError(f"{self.path} cannot look at pictures, {wanted}: {_one_line(error)}") from error
        if features.dim() != 2 or len(features) != 2:
            raise ValueError(f"{self.path} made features of shape {tuple(features.shape)} of 2 pictures, {wanted}")
        return features.shape[1]


def require_torchmetrics() -> None:
    """Raises ImportError, one line that says how to install it, where torchmetrics is missing."""
    _import("torchmetrics.image.fid", "FID and KID need torchmetrics", "torchmetrics")


def fid_and_kid(
    network: FeatureNetwork,
    reference: Tensor,
    compared: Mapping[str, Tensor],
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    seed: int = 0,
    notes: list[str],
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """FID and KID of some sets of images from `reference`.

    Args:
        reference, compared: images (B, 3, H, W), float in [0, 1] or uint8, equally many in each.
        seed: of KID's subsets; the caller's random numbers are left alone.
        notes: gets a line for what there are too few images for, which is None.

    Returns:
        `fid` of each set and, as `mean` and `std` over its subsets, `kid`; with both `n` and `features`.

    Raises:
        ImportError: torchmetrics is not installed.
    """
    sizes = {"n": len(reference), "features": network.num_features}
    lacking = f"{len(reference)} images are too few for"
    with_fid, with_kid = enough_for_covariance(len(reference), network.num_features), len(reference) >= KID_SUBSET
    if not with_fid:
        notes.append(
            f"fid: {lacking} the covariance of {network.num_features} features; draw and hold out more than those"
        )
    if not with_kid:
        notes.append(f"kid: {lacking} its subsets of {KID_SUBSET}; draw and hold out as many at least")
    require_torchmetrics()
    network = network.to(device)
    real = _features(network, reference, device, batch_size)
    drawn = {name: _features(network, images, device, batch_size) for name, images in compared.items()}
    fid = kid = None
    if with_fid:
        kind = import_module("torchmetrics.image.fid").FrechetInceptionDistance
        found = _compare(kind(feature=_AsTheyAre(network.num_features), reset_real_features=False), real, drawn)
        fid = {name: float(value) for name, value in found.items()} | sizes
    if with_kid:
        kind = import_module("torchmetrics.image.kid").KernelInceptionDistance
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore", UserWarning)  # that it keeps the features
            torch.manual_seed(seed)
            metric = kind(
                feature=_AsTheyAre(network.num_features),
                subsets=KID_SUBSETS,
                subset_size=KID_SUBSET,
                reset_real_features=False,
            )
            found = _compare(metric, real, drawn)
        kid = {name: {"mean": float(mean), "std": float(std)} for name, (mean, std) in found.items()} | sizes
    return fid, kid


class _AsTheyAre(nn.Identity):
    """What torchmetrics takes for its network: features are made once here, for both metrics."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _features(network: FeatureNetwork, images: Tensor, device: torch.device | str, batch_size: int) -> Tensor:
    """(B, F) float64 on the CPU."""
    parts = []
    for batch in images.split(batch_size):
        batch = batch if batch.dtype == torch.uint8 else (batch * 255).round().to(torch.uint8)
        parts.append(network(batch.to(device)).cpu().double())
    return torch.cat(parts)


def _compare(metric: Any, real: Tensor, drawn: Mapping[str, Tensor]) -> dict[str, Any]:
    metric.update(real, real=True)
    found = {}
    for name, features in drawn.items():
        metric.reset()  # keeps the real ones
        metric.update(features, real=False)
        found[name] = metric.compute()
    return found


def _of_weights(path: Path) -> nn.Module:
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would run what a file asks for
    except Exception as error:  # truncated or foreign files raise anything
        raise ValueError(
            f"{path} holds neither a TorchScript network nor weights; give a file with one of them, of Inception"
        ) from error
    library = _import("torch_fidelity", f"{path} is no TorchScript network, and weights need it", "torch-fidelity")
    try:
        return library.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no weights of torch-fidelity's Inception: {_one_line(error)}") from error


def _import(module: str, need: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{need} ({error}); install it with: pip install {package}") from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]} …"
