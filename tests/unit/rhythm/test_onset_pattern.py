import numpy as np
import pytest

from dancetomusic.metrics.beats import beat_f
from dancetomusic.rhythm.onset_pattern import (
    DOWNBEAT,
    FRAME_RATE,
    PATTERN,
    STEPS_PER_BEAT,
    fit_onset_pattern,
    onset_bands,
)
from dancetomusic.types import Waveform
from tests.sound_factory import RATE, drums


@pytest.mark.parametrize("bpm", [96, 108, 120, 138])
@pytest.mark.parametrize("seconds", [5, 12])
def test_beats_of_drums_are_found(bpm, seconds):
    waveform, beats = drums(bpm, seconds)
    track = fit_onset_pattern(waveform)
    assert beat_f(beats, track.beat_times) > 0.9
    assert track.bpm == pytest.approx(bpm, rel=0.02)
    assert track.duration_s == seconds
    assert track.confidence.min() > 0.3
    assert set(track.beat_numbers) <= {1, 2, 3, 4}


def test_beats_do_not_depend_on_level_channels_or_rate():
    waveform, _ = drums(112, 6)
    expected = fit_onset_pattern(waveform).beat_times
    quiet = Waveform(np.repeat(waveform.samples, 2, axis=0) * np.float32(0.01), RATE)
    np.testing.assert_allclose(fit_onset_pattern(quiet).beat_times, expected, atol=0.01)
    fast, _ = drums(112, 6, rate=44_100)
    np.testing.assert_allclose(fit_onset_pattern(fast).beat_times, expected, atol=0.03)


def test_players_who_drift_are_followed():
    waveform, _ = drums(110, 40)
    stretched = np.cumsum(1 + 0.015 * np.sin(2 * np.pi * np.arange(waveform.samples.size) / 4.8e5))
    samples = np.interp(stretched, np.arange(waveform.samples.size), waveform.samples[0])
    beats = np.interp(
        np.arange(0.2, 39.5, 60 / 110) * RATE, stretched, np.arange(waveform.samples.size) / RATE
    )
    track = fit_onset_pattern(Waveform(samples[None].astype(np.float32), RATE))
    assert beat_f(beats, track.beat_times) > 0.85


@pytest.mark.parametrize("n_samples", [0, 1, 100, 23_000, 120_000])
def test_silence_has_no_beat(n_samples):
    track = fit_onset_pattern(Waveform(np.zeros((1, n_samples), np.float32), RATE))
    assert track.beat_times.size == track.beat_numbers.size == 0
    assert track.duration_s == n_samples / RATE


def test_less_than_a_second_has_no_beat():
    waveform, _ = drums(120, 0.9)
    assert fit_onset_pattern(waveform).beat_times.size == 0


def test_noise_is_no_error_and_not_trusted(tiny_rng):
    noise = Waveform(tiny_rng.standard_normal((1, 20 * RATE)).astype(np.float32) * 0.1, RATE)
    waveform, _ = drums(120, 20)
    trusted = fit_onset_pattern(waveform).confidence.mean()
    assert fit_onset_pattern(noise).confidence.mean() < 0.5 * trusted


def test_one_click_is_no_error():
    samples = np.zeros((1, 5 * RATE), np.float32)
    samples[0, RATE] = 1.0
    assert np.isfinite(fit_onset_pattern(Waveform(samples, RATE)).beat_times).all()


def test_onsets_are_where_notes_begin():
    samples = np.zeros((1, 2 * RATE), np.float32)
    samples[0, RATE : RATE + 2400] = np.sin(2 * np.pi * 80 * np.arange(2400) / RATE)
    onsets = onset_bands(Waveform(samples, RATE))
    assert onsets.shape == (4, 200)
    assert onsets[0].argmax() / FRAME_RATE == pytest.approx(1.0, abs=0.03)


def test_the_pattern_has_a_place_for_each_step_of_two_beats():
    assert PATTERN.shape == (4, 2 * STEPS_PER_BEAT)
    assert DOWNBEAT.shape == (5,)
