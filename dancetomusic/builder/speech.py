"""How much a sound is like speech rather than music, from its first principles.

Speech comes in some four syllables a second, its pitch glides, it has no steady pulse and hardly
any bass. Each is measured; a logistic function of the four, fitted to dance music and to
synthesised speech, with and without noise, reverberation and music behind it, weighs them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dancetomusic.types import Waveform

MIN_DURATION_S = 1.0
"""Shorter sounds are not judged: four syllables are the least that show a rhythm."""

_FRAME_RATE = 100.0  # frames a second of all that is measured
_EDGES_HZ = (
    *(60, 120, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480),
    *(1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400, 7700),
)  # critical bands, Zwicker 1961, with a split lowest one
_BASS = slice(0, 2)  # below 120 Hz
_VOICE = slice(2, 19)  # 120 to 4400 Hz
_SYLLABLES_HZ = (2.5, 7.5)
_PULSE_S = (0.2, 1.6)  # 37 to 300 BPM
_PITCH_HZ = (75.0, 400.0)
_GLIDE_SEMITONES = (0.25, 4.0)  # within 50 ms; more is a leap, or an error of an octave


def speech_likeness(waveform: Waveform) -> float:
    """Judge a sound of a few seconds: 0 for music, 1 for speech.

    Silence, and what is shorter than a second, gives 0. Singing with an accompaniment counts
    as music, speech over soft music as speech.

    References:
        Scheirer & Slaney, "Construction and Evaluation of a Robust Multifeature Speech/Music
        Discriminator", ICASSP 1997: modulation at 4 Hz, pulse.
        Boersma, "Accurate Short-term Analysis of the Fundamental Frequency", 1993: pitch as
        the peak of the autocorrelation over that of the window.
    """
    samples = waveform.samples.mean(axis=0).astype(np.float64)
    samples -= samples.mean() if samples.size else 0.0
    level = float(np.sqrt(np.mean(samples**2))) if samples.size else 0.0
    if waveform.duration_s < MIN_DURATION_S or level < 1e-5:
        return 0.0
    samples /= level
    power = _band_power(samples, waveform.sample_rate)
    score = (
        3.0
        + 8.5 * np.log10(syllable_modulation(power) + 1e-6)
        - 18.0 * pulse_clarity(power)
        + 8.0 * pitch_glide(samples, waveform.sample_rate)
        - 2.65 * np.log10(power[_BASS].sum() / power.sum() + 1e-4)
    )
    return float(1.0 / (1.0 + np.exp(-np.clip(score, -50.0, 50.0))))


def syllable_modulation(power: Float[np.ndarray, "bands frames"]) -> float:
    """Power of the swell of the voice's bands at 2.5 to 7.5 Hz, over that of their mean."""
    amplitude = np.sqrt(power[_VOICE])
    weight = np.sqrt(power[_VOICE].mean(axis=1))
    relative = amplitude / (amplitude.mean(axis=1, keepdims=True) + 1e-6) - 1.0
    n_frames = power.shape[1]
    window = np.hanning(n_frames)
    spectrum = np.abs(np.fft.rfft(relative * window, axis=1)) ** 2
    spectrum *= 2.0 / ((window**2).sum() * n_frames)
    rate = np.fft.rfftfreq(n_frames, 1 / _FRAME_RATE)
    inside = (rate >= _SYLLABLES_HZ[0]) & (rate <= _SYLLABLES_HZ[1])
    return float(weight @ spectrum[:, inside].sum(axis=1) / (weight.sum() + 1e-9))


def pulse_clarity(power: Float[np.ndarray, "bands frames"]) -> float:
    """Largest correlation of the onsets with themselves a beat later; 1 for a perfect pulse."""
    level = np.log10(power + 1e-3 * power.mean())
    onset = np.maximum(np.diff(level, axis=1), 0.0).mean(axis=0)
    window = np.hanning(7)
    onset = np.convolve(onset - onset.mean(), window / window.sum(), "same")
    correlation = _autocorrelation(onset[None])[0]
    if correlation[0] <= 0:
        return 0.0
    first, last = (round(lag * _FRAME_RATE) for lag in _PULSE_S)
    overlap = 1.0 - np.arange(onset.size) / onset.size
    lags = slice(first, min(last, onset.size // 2))
    return float((correlation[lags] / correlation[0] / overlap[lags]).max())


def pitch_glide(samples: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Share of voiced moments whose pitch is moving, neither held nor leaping."""
    import soxr

    rate = 8000
    low = soxr.resample(samples, sample_rate, rate)
    length, hop = rate // 20, round(rate / _FRAME_RATE)
    window = np.hanning(length)
    frames = np.lib.stride_tricks.sliding_window_view(low, length)[::hop] * window
    correlation = _autocorrelation(frames)
    bias = _autocorrelation(window[None])[0]
    correlation /= (correlation[:, :1] + 1e-9) * (bias / bias[0] + 1e-3)
    shortest, longest = round(rate / _PITCH_HZ[1]), round(rate / _PITCH_HZ[0])
    within = correlation[:, shortest:longest]
    pitch = rate / (within.argmax(axis=1) + shortest)
    loud = frames.std(axis=1)
    voiced = (within.max(axis=1) > 0.6) & (loud > 0.3 * np.median(loud))
    apart = round(0.05 * _FRAME_RATE)
    both = voiced[apart:] & voiced[:-apart]
    turn = 12.0 * np.abs(np.log2(pitch[apart:] / pitch[:-apart]))
    moving = both & (turn > _GLIDE_SEMITONES[0]) & (turn < _GLIDE_SEMITONES[1])
    return float(moving.sum() / max(1, both.sum()))


def _band_power(
    samples: Float[np.ndarray, " samples"], sample_rate: int
) -> Float[np.ndarray, "bands frames"]:
    length, hop = round(0.032 * sample_rate), round(sample_rate / _FRAME_RATE)
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(length), axis=1)) ** 2
    band = np.searchsorted(_EDGES_HZ, np.fft.rfftfreq(length, 1 / sample_rate), side="right")
    member = (band[:, None] == np.arange(len(_EDGES_HZ) + 1)).astype(np.float64)
    return (spectrum @ member).T / (np.hanning(length).sum() ** 2)


def _autocorrelation(rows: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, "rows n"]:
    n = rows.shape[1]
    padded = 1 << (2 * n).bit_length()
    return np.fft.irfft(np.abs(np.fft.rfft(rows, padded)) ** 2)[:, :n]
