from __future__ import annotations

import pytest

from src.training.schedule import learning_rate_at, ramp


def rates(total: int, warmup: int, peak: float = 2.0) -> list[float]:
    return [learning_rate_at(step, peak=peak, warmup_steps=warmup, total_steps=total) for step in range(total)]


def test_rises_in_equal_parts_and_reaches_the_peak():
    assert rates(100, 4)[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])


def test_falls_as_half_a_cosine_to_almost_nothing():
    after = rates(104, 4)[4:]
    assert after == sorted(after, reverse=True)
    assert after[50] == pytest.approx(1.0)
    assert 0 < after[-1] < 0.001


def test_every_step_learns_whatever_the_lengths():
    for total, warmup in ((1, 0), (1, 5), (5, 5), (3, 10)):
        assert all(0 < rate <= 2.0 for rate in rates(total, warmup))


def test_ramp_rises_in_a_straight_line_and_stays():
    assert [ramp(step, 2, 4) for step in range(6)] == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    assert ramp(0, 0, 0) == ramp(5, 9, 3) == 1.0
