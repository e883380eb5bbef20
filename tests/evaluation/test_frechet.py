"""The Fréchet distance of known Gaussians, and of features beside torchmetrics'."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.evaluation.frechet import enough_for_covariance, frechet_distance


def with_moments(mean: Tensor, covariance: Tensor, count: int = 50) -> Tensor:
    """Vectors whose mean and unbiased covariance are exactly these."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
    values = values - values.mean(dim=0)
    values = values @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(values.T))).T
    return values @ torch.linalg.cholesky(covariance.double()).T + mean.double()


def test_known_gaussians() -> None:
    first = with_moments(torch.tensor([0.0, 1.0, 2.0]), torch.diag(torch.tensor([1.0, 4.0, 9.0])))
    second = with_moments(torch.tensor([1.0, 1.0, 0.0]), torch.diag(torch.tensor([4.0, 4.0, 1.0])), count=70)
    # commuting covariances: |m1 - m2|² + sum of (s1 - s2)² = 1 + 4 + (1 - 2)² + 0 + (3 - 1)²
    assert frechet_distance(first, second) == pytest.approx(10.0)
    assert frechet_distance(second, first) == pytest.approx(10.0)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(first, first + torch.tensor([3.0, 0.0, 4.0])) == pytest.approx(25.0)


def test_covariances_that_do_not_commute() -> None:
    one, other = torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    product = one @ other  # of 2 x 2: tr sqrt(P) = sqrt(tr P + 2 sqrt(det P))
    root = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
    expected = float(one.trace() + other.trace() - 2 * root)
    zero = torch.zeros(2)
    assert frechet_distance(with_moments(zero, one), with_moments(zero, other)) == pytest.approx(expected)


def test_features_that_never_vary_are_no_obstacle() -> None:
    features = torch.rand(20, 4)
    features[:, 2] = 1.0
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-6)


def test_too_few_vectors_are_refused() -> None:
    assert enough_for_covariance(5, 4) and not enough_for_covariance(4, 4)
    with pytest.raises(ValueError, match="4 vectors are too few for the covariance of 4 features"):
        frechet_distance(torch.rand(9, 4), torch.rand(4, 4))
    with pytest.raises(ValueError, match=r"shapes \(9, 4\) and \(9, 3\)"):
        frechet_distance(torch.rand(9, 4), torch.rand(9, 3))


def test_it_is_the_distance_of_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    first = torch.randn(100, 6, generator=generator, dtype=torch.float64)
    second = torch.randn(80, 6, generator=generator, dtype=torch.float64) @ mix + 1

    class AsTheyAre(torch.nn.Identity):
        num_features = 6

    metric = fid.FrechetInceptionDistance(feature=AsTheyAre())
    metric.update(first, real=True)
    metric.update(second, real=False)
    assert frechet_distance(first, second) == pytest.approx(float(metric.compute()), rel=1e-9)
