from __future__ import annotations

import math

import numpy as np
import pytest
import soxr

from dancetomusic.io.loudness import (
    frame_hop,
    integrated_loudness,
    k_weighting,
    true_peak,
    true_peaks,
    weighted_power,
)
from dancetomusic.types import Waveform

pyloudnorm = pytest.importorskip("pyloudnorm")


def sine(frequency_hz: float, rate: int, seconds: float = 2.0, channels: int = 1) -> Waveform:
    wave = np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)
    return Waveform(np.tile(wave, (channels, 1)).astype(np.float32), rate)


def bursts(rate: int, channels: int = 2, seconds: float = 4.0) -> Waveform:
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate)) / rate
    noise = rng.standard_normal((channels, t.size)) * 0.3 * np.exp(-(t % 0.5) / 0.08)
    return Waveform(noise.astype(np.float32), rate)


@pytest.mark.parametrize(("channels", "lufs"), [(1, -3.01), (2, 0.0)])
@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(
    rate: int, channels: int, lufs: float
) -> None:
    assert integrated_loudness(sine(997, rate, channels=channels)) == pytest.approx(lufs, abs=0.05)


def test_filters_at_48_khz_are_those_of_the_standard() -> None:
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241,
             0.73248077421585]  # fmt: skip
    cut = [1, -2, 1, 1, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48_000), [shelf, cut], atol=1e-8)


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000, 96_000])
def test_gated_loudness_agrees_with_another_meter(rate: int) -> None:
    sound = bursts(rate)
    quiet = np.concatenate([sound.samples, sound.samples * 0.01], axis=1)
    for samples in (sound.samples, quiet):
        theirs = pyloudnorm.Meter(rate).integrated_loudness(samples.T.astype(np.float64))
        assert integrated_loudness(Waveform(samples, rate)) == pytest.approx(theirs, abs=0.15)


def test_silence_and_nothing_are_infinitely_quiet() -> None:
    for n_samples in (0, 1, 44_100):
        silence = Waveform(np.zeros((2, n_samples), np.float32), 44_100)
        assert integrated_loudness(silence) == -math.inf
        assert true_peak(silence) == -math.inf


def test_a_short_sound_is_one_block() -> None:
    assert integrated_loudness(sine(997, 44_100, 0.1)) == pytest.approx(-3.0, abs=0.3)


def test_true_peak_sees_between_samples() -> None:
    rate = 48_000
    t = np.arange(rate) / rate
    wave = np.sin(2 * np.pi * rate / 4 * t + np.pi / 4)  # no sample above -3 dB
    wave *= np.hanning(rate)
    sound = Waveform(wave[None].astype(np.float32), rate)
    assert 20 * np.log10(np.abs(sound.samples).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak(sound) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_true_peak_agrees_with_a_resampler(rate: int) -> None:
    sound = bursts(rate)
    upsampled = soxr.resample(sound.samples.T.astype(np.float64), rate, 8 * rate, "VHQ")
    assert true_peak(sound) == pytest.approx(20 * np.log10(np.abs(upsampled).max()), abs=0.3)


def test_frames_cover_the_sound() -> None:
    for n_samples in (1, 13, 14, 15, 1_000):
        sound = Waveform(np.full((2, n_samples), 0.5, np.float32), 44_100)
        n_frames = -(-n_samples // frame_hop(44_100))
        assert weighted_power(sound).size == true_peaks(sound).size == n_frames
