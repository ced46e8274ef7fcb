import numpy as np
import pytest

from dancetomusic.evaluation.baselines import white_noise
from dancetomusic.metrics.energy_fit import (
    FLOOR_DB,
    energy_correlation,
    loudness_db,
    quantity_of_motion,
)
from dancetomusic.types import Waveform


def test_following_scores_near_one_and_opposing_near_minus_one(tiny_rng):
    motion = np.cumsum(tiny_rng.normal(size=200))
    assert energy_correlation(motion, motion**3) > 0.7
    assert energy_correlation(motion, -motion) < -0.7


def test_unrelated_music_is_chance(tiny_rng):
    values = [
        energy_correlation(tiny_rng.normal(size=80), tiny_rng.normal(size=80)) for _ in range(40)
    ]
    assert abs(np.mean(values)) < 0.06


def test_windows_where_nobody_dances_do_not_count(tiny_rng):
    motion = tiny_rng.normal(size=60)
    loudness = motion.copy()
    motion[::3] = np.nan
    assert energy_correlation(motion, loudness) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("n", [0, 7])
def test_too_little_cannot_be_measured(n):
    assert np.isnan(energy_correlation(np.arange(n, dtype=float), np.arange(20.0)))


def test_a_constant_cannot_be_measured():
    assert np.isnan(energy_correlation(np.arange(20.0), np.ones(20)))


def test_loudness_is_in_decibels():
    tone = np.full((1, 24_000), 0.1, np.float32)
    np.testing.assert_allclose(loudness_db(Waveform(tone, 24_000)), [-20.0, -20.0], atol=1e-4)
    silence = Waveform(np.zeros((1, 30_000), np.float32), 24_000)
    np.testing.assert_array_equal(loudness_db(silence), [FLOOR_DB, FLOOR_DB])
    assert loudness_db(white_noise(0.3, 0)).size == 0


def test_motion_is_a_mean_of_what_is_known():
    speeds = np.concatenate([np.full(12, 1.0), np.full(12, np.nan), [3.0] * 6, [np.nan] * 6])
    np.testing.assert_array_equal(quantity_of_motion(speeds, 24.0), [1.0, np.nan, 3.0])
