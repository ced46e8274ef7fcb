from functools import partial

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.evaluation.baselines import white_noise
from dancetomusic.metrics.bootstrap import bootstrap_score
from dancetomusic.metrics.frechet import (
    at_common_level,
    frechet_distance,
    frechet_distance_unbiased,
    pool_windows,
)
from dancetomusic.types import Waveform


def test_equal_sets_are_at_distance_0(tiny_rng):
    values = tiny_rng.normal(size=(50, 4))
    assert frechet_distance(values, values) == pytest.approx(0.0, abs=1e-9)


def test_closed_form_of_diagonal_normals():
    # Means 3 apart in one axis; variances 4 and 1, 1 and 9: 9 + (2 - 1)² + (1 - 3)² = 14.
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)
    one = corners * [2.0, 1.0]
    other = corners * [1.0, 3.0] + [3.0, 0.0]
    assert frechet_distance(one, other) == pytest.approx(14.0)
    assert frechet_distance(other, one) == pytest.approx(14.0)


def test_extrapolation_removes_the_bias_of_small_sets(tiny_rng):
    reference = tiny_rng.normal(size=(4000, 16))
    draws = [tiny_rng.normal(size=(80, 16)) for _ in range(8)]
    biased = np.mean([frechet_distance(reference, draw) for draw in draws])
    unbiased = np.mean([frechet_distance_unbiased(reference, draw) for draw in draws])
    assert biased > 0.5
    assert unbiased < 0.3 * biased
    moved = frechet_distance_unbiased(reference, draws[0] + 1.0)
    assert moved == pytest.approx(16.0, rel=0.25)


def test_too_few_embeddings(tiny_rng):
    values = tiny_rng.normal(size=(7, 3))
    assert np.isnan(frechet_distance_unbiased(values, values))
    with pytest.raises(InputError, match="1 embeddings"):
        frechet_distance(values, values[:1])
    with pytest.raises(InputError, match="not finite"):
        frechet_distance_unbiased(np.full((9, 3), np.nan), np.zeros((9, 3)))


def test_resamples_spread_about_the_distance(tiny_rng):
    reference = tiny_rng.normal(size=(500, 3))
    dances = [tiny_rng.normal(size=(60, 3)) + 1 for _ in range(6)]
    whole, low, high = bootstrap_score(partial(frechet_distance_unbiased, reference), dances, 20)
    assert whole == frechet_distance_unbiased(reference, np.concatenate(dances))
    assert 1.5 < low < whole < high < 5.0


def test_level_is_left_out():
    noise = white_noise(1.0, 0)
    loud = Waveform(noise.samples * np.float32(3), noise.sample_rate)
    np.testing.assert_allclose(
        at_common_level(noise).samples, at_common_level(loud).samples, rtol=1e-4
    )
    silence = Waveform(np.zeros((1, 5), np.float32), 24_000)
    assert at_common_level(silence) is silence


def test_windows_are_means():
    frames = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(pool_windows(frames, 2), [[1.0, 2.0], [5.0, 6.0]])
