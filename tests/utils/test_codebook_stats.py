from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from src.utils.codebook_stats import count_codes, usage


def test_codes_are_counted_block_by_block():
    codes = torch.tensor([[[0, 2], [0, 1]], [[3, 2], [0, 2]]])  # two scenes of two slots
    counts = count_codes(codes, 4)
    assert counts.tolist() == [[3, 0, 0, 1], [0, 1, 3, 0]] and counts.dtype == torch.int64


def test_perplexity_and_share_used():
    use = usage(torch.tensor([[5, 5, 5, 5], [9, 0, 0, 0], [0, 0, 0, 0]]))
    torch.testing.assert_close(use.perplexity, torch.tensor([4.0, 1.0, 1.0], dtype=torch.float64))
    assert use.share.tolist() == [1.0, 0.25, 0.0]


def test_perplexity_is_that_of_scipy():
    counts = np.random.default_rng(0).integers(0, 50, (3, 64))
    use = usage(torch.from_numpy(counts))
    np.testing.assert_allclose(use.perplexity.numpy(), np.exp(stats.entropy(counts, axis=1)), rtol=1e-12)


def test_shares_count_as_well_as_counts():
    counts = torch.tensor([[3.0, 1.0, 0.0]])
    torch.testing.assert_close(usage(counts / 8).perplexity, usage(counts).perplexity)
