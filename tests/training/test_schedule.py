from __future__ import annotations

import pytest

from src.training.schedule import gumbel_temperature_at, learning_rate_at, ramp


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
    assert [ramp(step, 2, 2) for step in range(4)] == [0.0, 0.0, 1.0, 1.0]


def test_a_half_life_counts_from_the_first_step_and_multiplies_the_warm_up():
    rate = [learning_rate_at(step, peak=2.0, warmup_steps=4, total_steps=9, half_life=3) for step in range(9)]
    assert rate[0] == pytest.approx(0.5) and rate[3] == pytest.approx(1.0)
    assert rate[6] / rate[3] == pytest.approx(0.5)


def test_the_temperature_falls_as_half_a_cosine_and_stays():
    tau = [gumbel_temperature_at(step, start=1.0, end=0.1, steps=10) for step in range(13)]
    assert tau[0] == 1.0 and tau[5] == pytest.approx(0.55) and tau[10:] == [0.1] * 3
    assert tau == sorted(tau, reverse=True)
    assert gumbel_temperature_at(0, start=1.0, end=0.1, steps=0) == 0.1
