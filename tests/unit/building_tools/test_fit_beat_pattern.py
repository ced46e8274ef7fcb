import numpy as np
import pytest

from building_tools.fit_beat_pattern import BeatPatternConfig, Song, fit_beat_pattern, grid_f
from dancetomusic.rhythm.onset_pattern import STEPS_PER_BEAT, beat_rates
from dancetomusic.types import Waveform

RATE = 24_000


def clicks(bpm, seconds, first_s):
    samples = np.zeros((1, round(seconds * RATE)), np.float32)
    times = np.arange(first_s, seconds, 60.0 / bpm)
    for time in times:
        samples[0, round(time * RATE) :][:240] += np.float32(0.5)
    return Song(Waveform(samples, RATE), times, np.arange(times.size) % 4 + 1)


def test_the_right_grid_has_the_best_f():
    rates = beat_rates(5.0)
    beats = np.arange(-2.4, 2.5, 0.5)
    scores = grid_f(beats, rates, 5.0)
    tempo, place = np.unravel_index(scores.argmax(), scores.shape)
    assert scores.max() == 1.0
    assert rates[tempo] == pytest.approx(2.0, rel=0.03)
    phase = place / STEPS_PER_BEAT / rates[tempo]
    assert abs((phase - 0.1 + 0.25) % 0.5 - 0.25) < 0.07
    assert scores[np.abs(rates - 4.0 / 3).argmin()].max() < 1.0


def test_a_pattern_learns_that_clicks_are_beats():
    songs = [clicks(bpm, 12.0, 0.1 * k) for k, bpm in enumerate((90, 100, 110, 120, 130, 140))]
    config = BeatPatternConfig(windows_per_min=15.0, steps=12, batch_size=8, learning_rate=0.05)
    pattern, downbeat = fit_beat_pattern(songs, config)
    again, _ = fit_beat_pattern(songs, config)
    assert pattern.shape == (4, 2 * STEPS_PER_BEAT)
    assert downbeat.shape == (5,)
    np.testing.assert_array_equal(pattern, again)
    on_beat = pattern[:, [0, STEPS_PER_BEAT]].mean()
    off_beat = pattern[:, [STEPS_PER_BEAT // 2, 3 * STEPS_PER_BEAT // 2]].mean()
    assert on_beat > off_beat
