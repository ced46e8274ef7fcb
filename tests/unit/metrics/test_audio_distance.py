import numpy as np
import pytest
from scipy import signal

pytest.importorskip("librosa")

from dancetomusic.errors import InputError
from dancetomusic.metrics.audio_distance import (
    bass_pitch_agreement,
    hop_buzz,
    log_mel_distance_db,
    perplexity,
    si_sdr_db,
)
from dancetomusic.types import Waveform

RATE = 24_000


def noise(seconds: float = 2.0, seed: int = 0) -> Waveform:
    samples = 0.2 * np.random.default_rng(seed).standard_normal((1, round(seconds * RATE)))
    return Waveform(samples.astype(np.float32), RATE)


def tone(frequency_hz: float, seconds: float = 2.0) -> Waveform:
    times = np.arange(round(seconds * RATE)) / RATE
    samples = 0.3 * signal.sawtooth(2 * np.pi * frequency_hz * times)
    return Waveform(samples[None].astype(np.float32), RATE)


def scaled(wave: Waveform, gain: float) -> Waveform:
    return Waveform((gain * wave.samples).astype(np.float32), wave.sample_rate)


def test_equal_sounds_are_at_distance_zero():
    assert log_mel_distance_db(noise(), noise()) == 0.0
    assert log_mel_distance_db(noise(), noise(), below_hz=180.0) == 0.0


def test_a_gain_is_its_own_distance():
    assert log_mel_distance_db(noise(), scaled(noise(), 0.5)) == pytest.approx(6.02, abs=0.01)


def test_level_of_both_does_not_matter():
    quiet = log_mel_distance_db(scaled(noise(), 0.01), scaled(noise(seed=1), 0.01))
    assert log_mel_distance_db(noise(), noise(seed=1)) == pytest.approx(quiet, abs=0.01)


def test_only_low_bands_count_below_a_limit():
    low_pass = signal.butter(8, 1000, fs=RATE, output="sos")
    dull = Waveform(signal.sosfiltfilt(low_pass, noise().samples).astype(np.float32), RATE)
    assert log_mel_distance_db(noise(), dull, below_hz=180.0) < 0.5
    assert log_mel_distance_db(noise(), dull) > 20.0


def test_silence_is_finite():
    silence = Waveform(np.zeros((1, RATE), dtype=np.float32), RATE)
    assert log_mel_distance_db(silence, silence) == 0.0
    assert 10.0 < log_mel_distance_db(noise(1.0), silence) <= 70.0


def test_si_sdr():
    assert si_sdr_db(noise(), scaled(noise(), 3.0)) > 100.0
    mixed = Waveform(noise().samples + 0.1 * noise(seed=1).samples, RATE)
    assert si_sdr_db(noise(), mixed) == pytest.approx(20.0, abs=0.3)
    silence = Waveform(np.zeros((1, RATE), dtype=np.float32), RATE)
    assert np.isnan(si_sdr_db(silence, noise(1.0)))


def test_buzz_of_noise_and_of_repeated_noise():
    assert abs(hop_buzz(noise())) < 0.05
    repeated = np.tile(noise(320 / RATE).samples, (1, 100))
    assert hop_buzz(Waveform(repeated, RATE)) > 0.95
    assert hop_buzz(tone(50.0)) < 0.5
    assert hop_buzz(Waveform(np.zeros((1, 4000), dtype=np.float32), RATE)) == 0.0
    with pytest.raises(InputError):
        hop_buzz(noise(0.01))


def test_buzz_ignores_what_is_low():
    low_pass = signal.butter(8, 500, fs=RATE, output="sos")
    hum = np.tile(noise(320 / RATE).samples, (1, 100))
    hum = 20 * signal.sosfiltfilt(low_pass, hum) + noise(320 * 100 / RATE, seed=1).samples
    assert abs(hop_buzz(Waveform(hum.astype(np.float32), RATE))) < 0.1


def test_bass_pitch():
    assert bass_pitch_agreement(tone(55.0), tone(55.0)) == 1.0
    assert bass_pitch_agreement(tone(55.0), tone(55.0 * 2 ** (30 / 1200))) > 0.95
    assert bass_pitch_agreement(tone(55.0), tone(55.0 * 2 ** (100 / 1200))) < 0.05
    silence = Waveform(np.zeros((1, 2 * RATE), dtype=np.float32), RATE)
    assert np.isnan(bass_pitch_agreement(silence, tone(55.0)))
    assert bass_pitch_agreement(tone(55.0), silence) < 0.05


def test_perplexity():
    uniform = np.stack([np.arange(64), np.zeros(64, dtype=np.int64)])
    np.testing.assert_allclose(perplexity(uniform, 64), [64.0, 1.0])
    np.testing.assert_allclose(perplexity(np.array([[0, 0, 0, 1]]), 2), [1.7548], atol=1e-4)
    for malformed in (np.zeros((2, 0), dtype=np.int64), np.array([[5]]), np.array([[-1]])):
        with pytest.raises(InputError):
            perplexity(malformed, 4)


def test_mismatches_are_refused():
    other_rate = Waveform(noise().samples, 16_000)
    empty = Waveform(np.zeros((1, 0), dtype=np.float32), RATE)
    for measure in (log_mel_distance_db, si_sdr_db, bass_pitch_agreement):
        for other in (other_rate, noise(1.0)):
            with pytest.raises(InputError):
                measure(noise(), other)
        with pytest.raises(InputError):
            measure(empty, empty)
