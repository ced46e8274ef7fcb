import numpy as np
import pytest

from dancetomusic.evaluation.baselines import (
    fit_duration,
    metronome_times,
    render_clicks,
    shift_half_beat,
    white_noise,
)
from dancetomusic.types import Waveform

RATE = 24_000


def test_clicks_start_at_their_times_and_nowhere_else():
    times = np.array([0.25, 1.0])
    clicks = render_clicks(times, 1.5)
    assert clicks.duration_s == 1.5
    loud = np.flatnonzero(np.abs(clicks.samples[0]) > 0.05) / RATE
    assert ((loud - 0.25 < 0.05) & (loud >= 0.25) | (loud >= 1.0) & (loud - 1.0 < 0.05)).all()
    assert loud.min() - 0.25 < 0.001
    assert np.abs(clicks.samples).max() <= 1.0


def test_clicks_outside_the_duration_are_dropped():
    silent = render_clicks(np.array([-1.0, 2.0]), 2.0)
    assert not silent.samples.any()
    assert render_clicks(np.array([1.99]), 2.0).samples.any()
    assert not render_clicks(np.zeros(0), 1.0).samples.any()


def test_metronome_times():
    np.testing.assert_allclose(metronome_times(120.0, 2.0), [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(metronome_times(60.0, 3.0, phase=0.25), [0.25, 1.25, 2.25])


def test_half_a_beat_twice_is_a_beat():
    wave = render_clicks(np.array([0.0]), 2.0)
    once = shift_half_beat(wave, 120.0)
    assert np.abs(once.samples[0, : RATE // 4]).max() == 0.0
    np.testing.assert_array_equal(once.samples[0, RATE // 4 :], wave.samples[0, : -RATE // 4])
    twice = shift_half_beat(once, 120.0)
    np.testing.assert_array_equal(twice.samples, np.roll(wave.samples, RATE // 2, axis=1))


@pytest.mark.parametrize("duration_s", [0.5, 1.0, 2.7])
def test_songs_are_cut_or_repeated(duration_s):
    song = white_noise(1.0, 0)
    fitted = fit_duration(song, duration_s)
    assert fitted.samples.shape == (1, round(duration_s * RATE))
    index = np.arange(fitted.samples.shape[1]) % RATE
    np.testing.assert_array_equal(fitted.samples[0], song.samples[0, index])


def test_noise():
    noise = white_noise(2.0, seed=1)
    assert noise.samples.std() == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(noise.samples, white_noise(2.0, seed=1).samples)
    assert not np.array_equal(noise.samples, white_noise(2.0, seed=2).samples)
    assert isinstance(noise, Waveform)
