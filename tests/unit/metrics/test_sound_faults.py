import numpy as np
import pytest

from dancetomusic.metrics.sound_faults import find_faults, find_pauses
from dancetomusic.types import Waveform

RATE = 24_000


def tone(seconds, gain):
    return gain * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)


def test_silence_drone_and_clipping_are_found():
    samples = np.concatenate([tone(2, 0.5), np.zeros(3 * RATE), np.clip(tone(4, 2.0), -1, 1)])
    faults = find_faults(Waveform(samples[None].astype(np.float32), RATE), np.array([0.0, 5.0]))
    assert faults.longest_silence_s == pytest.approx(3.0)
    assert faults.longest_drone_s == pytest.approx(4.0)
    assert faults.clipped_share == pytest.approx(4 / 9 * 2 / 3, rel=0.05)
    assert faults.drift_db > 5


def test_regular_music_has_none():
    sound = Waveform(tone(6, 0.5)[None].astype(np.float32), RATE)
    faults = find_faults(sound, np.arange(0, 6, 0.5))
    assert faults.longest_silence_s == faults.clipped_share == 0.0
    assert faults.longest_drone_s == pytest.approx(0.5)
    assert abs(faults.drift_db) < 0.1


def test_nothing_at_all():
    empty = find_faults(Waveform(np.zeros((1, 0), np.float32), RATE), np.zeros(0))
    assert (empty.longest_silence_s, empty.clipped_share, empty.longest_drone_s) == (0, 0, 0)
    silent = find_faults(Waveform(np.zeros((1, 2 * RATE), np.float32), RATE), np.zeros(0))
    assert silent.longest_silence_s == pytest.approx(2.0)
    assert silent.longest_drone_s == 0.0


def test_pauses_are_relative_to_the_loud_parts_and_not_to_silence():
    hiss = 0.001 * np.random.default_rng(0).standard_normal(10 * RATE)
    played = np.concatenate([tone(2, 0.5), np.zeros(3 * RATE), tone(5, 0.5)]) + hiss
    for gain in (1.0, 0.01):
        longest, share = find_pauses(Waveform((gain * played)[None].astype(np.float32), RATE))
        assert longest == pytest.approx(3.0)
        assert share == pytest.approx(3 / 9, abs=0.01)
    assert find_pauses(Waveform(np.zeros((1, 0), np.float32), RATE)) == (0.0, 0.0)
