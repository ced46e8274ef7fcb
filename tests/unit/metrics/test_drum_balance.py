import numpy as np
import pytest

from dancetomusic.evaluation.baselines import white_noise
from dancetomusic.metrics.drum_balance import drum_balance, register_onset_times, register_onsets
from dancetomusic.types import Waveform

RATE = 24_000


def strokes(times, hz, seconds=8.0):
    """Decaying tones at some times, in one register."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    age = np.arange(round(0.2 * RATE)) / RATE
    tone = 0.5 * (1 - np.exp(-age / 0.002)) * np.exp(-age / 0.02) * np.sin(2 * np.pi * hz * age)
    for time in times:
        start = round(time * RATE)
        sound[start : start + age.size] += tone[: sound.size - start].astype(np.float32)
    return sound


def test_each_drum_is_heard_in_its_register():
    kicks, hats = np.arange(0.5, 7.5, 1.0), np.arange(0.25, 7.75, 0.25)
    sound = Waveform((strokes(kicks, 60.0) + strokes(hats, 8000.0))[None], RATE)
    onsets = register_onsets(sound)
    np.testing.assert_allclose(onsets["low"], kicks, atol=0.03)
    np.testing.assert_allclose(onsets["high"], hats, atol=0.03)
    balance = drum_balance(sound)
    assert balance.high > balance.low
    assert balance.low + balance.mid + balance.high == pytest.approx(1.0)
    alone = drum_balance(Waveform(strokes(hats, 8000.0)[None], RATE))
    assert alone.density == pytest.approx(hats.size / 8.0, rel=0.05)
    assert alone.high == pytest.approx(1.0, abs=0.05)


def test_level_does_not_matter():
    sound = strokes(np.arange(0.5, 7.5, 0.5), 60.0) + strokes(np.arange(0.3, 7.5, 0.5), 8000.0)
    loud, soft = (drum_balance(Waveform(gain * sound[None], RATE)) for gain in (1.0, 0.01))
    assert loud == soft


@pytest.mark.parametrize("n_samples", [0, 10, RATE])
def test_silence_has_no_strokes(n_samples):
    balance = drum_balance(Waveform(np.zeros((1, n_samples), np.float32), RATE))
    assert balance.density == 0.0
    assert np.isnan([balance.low, balance.mid, balance.high]).all()


def test_noise_has_no_strokes_above_the_bass():
    onsets = register_onsets(white_noise(8.0, 0))
    assert onsets["mid"].size + onsets["high"].size < 8


def test_quiet_strokes_are_found_and_a_lasting_sound_is_none():
    times = np.arange(0.5, 7.5, 0.5)
    sound = strokes(times, 60.0)
    sound[4 * RATE :] *= 0.05
    found = register_onset_times(Waveform(sound[None], RATE))
    assert np.abs(times[:, None] - found).min(axis=1).max() < 0.03
    assert np.abs(times[:, None] - found).min(axis=0).max() < 0.03
    seconds = np.arange(8 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * hz * seconds) for hz in (65.4, 196.0, 330.0, 7000.0))
    assert register_onset_times(Waveform(chord[None].astype(np.float32), RATE)).max() < 0.1
