import numpy as np
import pytest

from dancetomusic.metrics.bootstrap import bootstrap_interval


def test_equal_values_leave_no_doubt():
    assert bootstrap_interval([0.5] * 7) == (0.5, 0.5)


def test_one_dance_has_no_width():
    assert bootstrap_interval([0.25]) == (0.25, 0.25)


def test_interval_agrees_with_the_standard_error():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    half_width = 1.96 * values.std() / np.sqrt(values.size)
    assert low == pytest.approx(values.mean() - half_width, abs=0.03)
    assert high == pytest.approx(values.mean() + half_width, abs=0.03)


def test_less_confidence_is_narrower():
    values = np.arange(10.0)
    wide, narrow = bootstrap_interval(values), bootstrap_interval(values, confidence=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_seed_decides():
    values = np.random.default_rng(1).random(9)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_unmeasured_dances_are_left_out():
    assert bootstrap_interval([1.0, float("nan"), 1.0]) == (1.0, 1.0)
    assert np.isnan(bootstrap_interval([])).all()
    assert np.isnan(bootstrap_interval([float("nan")])).all()
