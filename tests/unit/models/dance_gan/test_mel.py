from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.models.dance_gan.mel import (
    FASTEST_DANCED_BPM,
    N_BANDS,
    SOUND_RATE,
    danced_level,
    dancing_beats,
    mel_levels,
)
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.types import Waveform
from tests.dance_factory import drums
from tests.video_factory import SAMPLE_RATE


def drumming(bpm, seconds):
    times = np.arange(0.2, seconds, 60 / bpm)
    return Waveform(drums(times, np.arange(times.size) % 4 + 1, seconds)[None], SAMPLE_RATE)


def test_bands_come_at_their_rate_and_loudness_is_no_difference():
    music = drumming(100, 3.0)
    bands = mel_levels(music)
    assert bands.shape == (int(3.0 * SOUND_RATE), N_BANDS)
    louder = mel_levels(Waveform(music.samples * 0.1, music.sample_rate))
    assert np.allclose(bands, louder, atol=1e-3)
    assert bands.min() >= 0.0


def test_an_onset_raises_the_levels_at_its_time():
    samples = np.zeros((1, 48_000), np.float32)
    samples[0, 24_000:24_200] = np.random.default_rng(0).normal(0, 0.3, 200)
    loud = mel_levels(Waveform(samples, 24_000)).mean(axis=1)
    assert np.argmax(loud) / SOUND_RATE == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_any_rate_and_two_channels(rate):
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 2 * rate)).astype(np.float32)
    assert mel_levels(Waveform(samples, rate)).shape == (192, N_BANDS)


@pytest.mark.parametrize("n_samples", [0, 100, 23_000])
def test_less_than_a_second_is_refused(n_samples):
    with pytest.raises(InputError, match="lasts"):
        mel_levels(Waveform(np.ones((1, n_samples), np.float32), 24_000))


def test_silence_is_refused():
    with pytest.raises(InputError, match="silent"):
        mel_levels(Waveform(np.zeros((1, 48_000), np.float32), 24_000))


def test_beats_are_found_and_a_fast_pulse_is_halved():
    track = dancing_beats(drumming(105, 12.0))
    assert track.bpm == pytest.approx(105, rel=0.03)
    fast = dancing_beats(drumming(170, 12.0))
    assert fast.bpm <= FASTEST_DANCED_BPM
    assert fast.bpm == pytest.approx(85, rel=0.03)


@pytest.mark.parametrize("surer", [0, 1])
def test_of_a_fast_pulse_those_beats_are_danced_that_are_surer(surer):
    pulse = steady_grid(180.0, 12.0)
    confidence = np.where(np.arange(pulse.beat_times.size) % 2 == surer, 0.7, 0.3)
    danced = danced_level(replace(pulse, confidence=confidence))
    np.testing.assert_array_equal(danced.beat_times, pulse.beat_times[surer::2])
    assert (danced.confidence == 0.7).all()
    assert danced.beat_numbers[:5].tolist() == [1, 2, 3, 4, 1]


def test_a_pulse_that_can_be_danced_is_kept():
    pulse = steady_grid(128.0, 12.0)
    assert danced_level(pulse) is pulse
