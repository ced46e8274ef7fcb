"""Harmony of a sound, as it can be found without its notes: pitch classes, and the bass's root."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int64

from dancetomusic.metrics.audio_distance import low_pitch
from dancetomusic.metrics.bar_similarity import FRAME_RATE, bar_patterns
from dancetomusic.metrics.bootstrap import known_mean
from dancetomusic.types import Waveform

FFT_S = 0.17
CHROMA_RANGE_HZ = (100.0, 2000.0)
BASS_RANGE_DB = 30.0
PERIOD = 4
"""Bars after which harmony is expected to come again."""


def pitch_classes(waveform: Waveform) -> Float[np.ndarray, "12 frames"]:
    """Share of each pitch class in the amplitude from 100 Hz to 2 kHz, 100 frames a second.

    In order from C, tuned to 440 Hz; 0 everywhere in silence.
    """
    import librosa

    mono = waveform.to_mono()
    rate, samples = mono.sample_rate, mono.samples[0]
    length, hop = round(FFT_S * rate), round(rate / FRAME_RATE)
    frequencies = librosa.fft_frequencies(sr=rate, n_fft=length)
    inside = (frequencies >= CHROMA_RANGE_HZ[0]) & (frequencies <= CHROMA_RANGE_HZ[1])
    classes = librosa.filters.chroma(sr=rate, n_fft=length, octwidth=None)
    amplitude = np.abs(librosa.stft(samples, n_fft=length, hop_length=hop))[inside]
    chroma = classes[:, inside] @ amplitude
    return np.asarray(chroma / np.maximum(chroma.sum(axis=0), 1e-6), np.float64)


def bass_roots(
    waveform: Waveform,
    beat_times: Float[np.ndarray, " beats"],
    beat_numbers: Int[np.ndarray, " beats"],
) -> Int64[np.ndarray, " bars"]:
    """Pitch class that the bass sounds most in the first half of each bar; -1 without bass.

    Pitch is YIN's below 200 Hz every 10 ms, weighted by level. Bars as in ``bar_patterns``.

    References:
        de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator", 2002.
    """
    pitch, level = low_pitch(waveform)
    weights = np.zeros((12, pitch.size))
    audible = level > level.max(initial=0.0) * 10 ** (-BASS_RANGE_DB / 20)
    classes = np.rint(12 * np.log2(pitch / 440.0) + 9).astype(int) % 12
    weights[classes[audible], np.flatnonzero(audible)] = level[audible]
    bars = bar_patterns(weights, beat_times, beat_numbers, steps_per_beat=2, early=0.0)
    if not bars.size:
        return np.zeros(0, np.int64)
    steps = bars.reshape(len(bars), 12, -1)
    opening = steps[:, :, : steps.shape[2] // 2].sum(axis=2)
    return np.where(opening.any(axis=1), opening.argmax(axis=1), -1).astype(np.int64)


def repeated_form(harmony: Int64[np.ndarray, " bars"]) -> tuple[float, float]:
    """Share of bars whose harmony comes again after ``PERIOD`` bars, and mean share after fewer.

    Bars without any (below 0) are left out; NaN without any pair of bars. From 24 on only the root
    is known, which goes with every chord on it.
    """
    shares = []
    for lag in range(1, PERIOD + 1):
        before, after = harmony[:-lag], harmony[lag:]
        known = (before >= 0) & (after >= 0)
        open_triad = (before >= 24) | (after >= 24)
        same = (before == after) | (open_triad & (before % 12 == after % 12))
        shares.append(float(same[known].mean()) if known.any() else float("nan"))
    return shares[-1], known_mean(shares[:-1])
