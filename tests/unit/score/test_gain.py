from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.score.gain import eased, held, released, smoothed, with_gain_db
from dancetomusic.types import Waveform


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0.01, 1))
def test_release_is_the_loop_that_it_stands_for(
    values: list[float], time_constant_s: float
) -> None:
    falling, expected, level = np.exp(-1 / (time_constant_s * 100)), [], 0.0
    for value in values:
        level = max(value, level * falling)
        expected.append(level)
    result = released(np.array(values), time_constant_s, 100.0)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-300)


def test_hold_and_ease_move_a_peak_where_they_say() -> None:
    values = np.zeros(20)
    values[10] = 1
    assert np.flatnonzero(held(values, 3, 2)).tolist() == [8, 9, 10, 11, 12, 13]
    assert np.flatnonzero(eased(values, 4)).tolist() == [10, 11, 12, 13]
    assert eased(values, 4).sum() == pytest.approx(1)
    assert smoothed(np.ones(1_000), 0.1, 100.0)[[0, 10, 999]] == pytest.approx(
        [0.095, 0.667, 1.0], abs=0.01
    )


@pytest.mark.parametrize("n_samples", [1, 14, 1_000, 4_411])
@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_gain_follows_its_frames(n_samples: int, rate: int) -> None:
    hop = max(8, rate // 3_000)
    sound = Waveform(np.ones((2, n_samples), np.float32), rate)
    frames = np.linspace(0, -12, -(-n_samples // hop))
    moved = with_gain_db(sound, frames).samples
    assert moved.shape == sound.samples.shape
    middles = np.arange(hop // 2, n_samples, hop)
    expected = 10 ** (frames[: middles.size] / 20)
    np.testing.assert_allclose(moved[0, middles], expected, rtol=0.06)
    assert (np.diff(moved[0]) <= 1e-7).all()
