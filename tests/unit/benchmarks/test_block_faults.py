import numpy as np
import pytest

from benchmarks.block_faults import find_block_faults
from dancetomusic.errors import InputError
from dancetomusic.evaluation.baselines import white_noise
from dancetomusic.types import Waveform

RATE = 24_000


def tone(hertz, seconds=8.0):
    at = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * hertz * at)


def faults(samples):
    return find_block_faults(Waveform(samples.astype(np.float32)[None], RATE), 0.1)


def test_a_smooth_sound_has_none():
    found = faults(tone(113.0))
    assert found.seam_ratio == pytest.approx(1.0, abs=0.2)
    assert found.hiss_db < -60


def test_cuts_between_blocks_are_seams(tiny_rng):
    samples = tone(113.0)
    for start in range(0, samples.size, 2400):
        samples[start : start + 2400] = np.roll(
            samples[start : start + 2400], tiny_rng.integers(99)
        )
    assert faults(samples).seam_ratio > 20


def test_steady_noise_hisses_and_strokes_do_not(tiny_rng):
    strokes = tiny_rng.normal(0, 0.1, 8 * RATE)
    strokes *= np.exp(-(np.arange(strokes.size) % 12_000) / 800)
    assert faults(white_noise(8.0, 0).samples[0]).hiss_db > -8
    assert faults(strokes).hiss_db < faults(white_noise(8.0, 0).samples[0]).hiss_db - 20


def test_a_pulse_at_the_rate_of_blocks_is_heard_and_another_is_not(tiny_rng):
    sound = tiny_rng.normal(0, 0.1, 8 * RATE)
    at = np.arange(sound.size) / RATE
    pulses = {rate: sound * (0.2 + (at * rate % 1 < 0.3)) for rate in (10.0, 8.2)}
    assert faults(pulses[10.0]).pulse_db > 15
    assert faults(pulses[8.2]).pulse_db < 3
    assert abs(faults(sound).pulse_db) < 4


def test_too_short_or_silent_sound_is_refused():
    for samples in (np.zeros(3 * RATE), tone(100.0, 1.0)):
        with pytest.raises(InputError, match="cannot be measured"):
            faults(samples)
