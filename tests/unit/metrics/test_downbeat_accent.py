import numpy as np
import pytest

from dancetomusic.metrics.downbeat_accent import BASS_LIMIT_HZ, downbeat_accent_db
from dancetomusic.types import Waveform

RATE = 24_000
BEATS = 0.5 + np.arange(12) * 0.5
NUMBERS = np.arange(12) % 3 + 1


def music(gains, hz):
    sound = np.zeros(8 * RATE, np.float32)
    age = np.arange(round(0.1 * RATE)) / RATE
    for beat, gain in zip(BEATS, gains, strict=True):
        start = round(beat * RATE)
        sound[start : start + age.size] = gain * np.sin(2 * np.pi * hz * age)
    return Waveform(sound[None], RATE)


def test_ten_times_the_amplitude_is_20_db():
    waltz = np.where(NUMBERS == 1, 0.5, 0.05)
    assert downbeat_accent_db(music(waltz, 1000.0), BEATS, NUMBERS) == pytest.approx(20.0, abs=0.1)
    level = np.full(12, 0.3)
    assert downbeat_accent_db(music(level, 1000.0), BEATS, NUMBERS) == pytest.approx(0.0, abs=0.1)
    late = np.roll(waltz, 1)
    assert downbeat_accent_db(music(late, 1000.0), BEATS, NUMBERS) < -5


def test_only_the_bass_counts_below_its_limit():
    both = (
        music(np.full(12, 0.3), 60.0).samples
        + music(np.where(NUMBERS == 1, 0.02, 0.6), 2000.0).samples
    )
    sound = Waveform(both, RATE)
    assert downbeat_accent_db(sound, BEATS, NUMBERS) < -3
    low = downbeat_accent_db(sound, BEATS, NUMBERS, below_hz=BASS_LIMIT_HZ)
    assert low == pytest.approx(0.0, abs=0.5)


def test_without_beats_nothing_is_said():
    sound = music(np.full(12, 0.3), 1000.0)
    assert np.isnan(downbeat_accent_db(sound, np.zeros(0), np.zeros(0, int)))
    assert np.isnan(downbeat_accent_db(sound, BEATS, np.ones(12, int)))
    empty = Waveform(np.zeros((1, 0), np.float32), RATE)
    assert np.isnan(downbeat_accent_db(empty, BEATS, NUMBERS, below_hz=BASS_LIMIT_HZ))
    silence = Waveform(np.zeros((1, 8 * RATE), np.float32), RATE)
    assert downbeat_accent_db(silence, BEATS, NUMBERS) == 0.0
