"""Ward's method against SciPy's, which knows no weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage

from src.models.merging import ward


@pytest.mark.parametrize("number", [1, 4, 29, 30])
def test_merging_equals_scipy_whatever_the_weights(number: int) -> None:
    """A point of weight 3 is three points in one place."""
    points, weights = torch.randn(30, 3), torch.randint(1, 4, (30,))
    heavy, means = ward(weights.float(), points, number)
    repeated = points.repeat_interleave(weights, dim=0).double().numpy()
    labels = fcluster(linkage(repeated, "ward"), number, "maxclust")
    expected = {tuple(np.round([*repeated[labels == label].mean(0), (labels == label).sum()], 4)) for label in labels}
    found = {tuple(np.round(row, 4)) for row in torch.cat([means, heavy[:, None]], dim=1).double().numpy()}
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=2e-4)


def test_codes_that_are_never_used_go_first() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    weights, means = ward(torch.tensor([4.0, 0.0, 4.0, 0.0]), points, 2)
    assert weights.tolist() == [4, 4] and means.tolist() == [[0], [5]]
