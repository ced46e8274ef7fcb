"""How dense the onsets of drums and bass are, and in which registers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import signal

from dancetomusic.types import Waveform

REGISTERS_HZ = {"low": (30.0, 150.0), "mid": (180.0, 1500.0), "high": (6000.0, 11000.0)}
"""Kick drum and bass; snare, toms and what lies around them; hats and cymbals."""

RISE_DB = 6.0
FLOOR_DB = -45.0
REGISTER_RANGE_DB = -40.0
APART_S = 0.06
HOP_S = 0.01
_WINDOW_S = 0.04


@dataclass(frozen=True)
class DrumBalance:
    """Onsets of a sound.

    Attributes:
        density: Onsets of all registers, a second.
        low: Share of them that are low, in [0, 1]; NaN without onsets.
        mid: Share in the middle.
        high: Share that are high.
    """

    density: float
    low: float
    mid: float
    high: float


def register_onsets(waveform: Waveform) -> dict[str, Float[np.ndarray, " _onsets"]]:
    """Times of onsets in each register, in seconds; none in silence.

    An onset is a local peak in the rise over 30 ms of a register's level (Hann windows of
    40 ms every 10 ms), of 6 dB or more, to within 45 dB of the register's loudest. A register
    40 dB below the loudest one is silent. One drum may have onsets in two registers: compare with
    real grooves measured in the same way.
    """
    mono = waveform.to_mono().samples[0]
    length, hop = (round(s * waveform.sample_rate) for s in (_WINDOW_S, HOP_S))
    if mono.size < length or not mono.any():
        return {name: np.zeros(0) for name in REGISTERS_HZ}
    padded = np.pad(mono, length // 2)
    frequencies, _, spectrum = signal.stft(
        padded, waveform.sample_rate, "hann", length, length - hop, boundary=None, padded=False
    )
    # Power of each register over time.
    power = np.abs(spectrum) ** 2
    bands = {
        name: power[(frequencies >= low) & (frequencies <= high)].sum(axis=0)
        for name, (low, high) in REGISTERS_HZ.items()
    }
    audible = max(float(band.max()) for band in bands.values()) * 10 ** (REGISTER_RANGE_DB / 10)
    return {
        name: _peaks_of_rise(band) * HOP_S if band.max() > audible else np.zeros(0)
        for name, band in bands.items()
    }


def register_onset_times(waveform: Waveform) -> Float[np.ndarray, " onsets"]:
    """Times of the onsets of all registers together, in seconds, in order."""
    return np.sort(np.concatenate(list(register_onsets(waveform).values())))


def drum_balance(waveform: Waveform) -> DrumBalance:
    """Density of onsets and the share of each register."""
    counts = {name: times.size for name, times in register_onsets(waveform).items()}
    total = sum(counts.values())
    shares = {name: count / total if total else float("nan") for name, count in counts.items()}
    return DrumBalance(density=total / max(waveform.duration_s, 1e-9), **shares)


def _peaks_of_rise(power: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " _peaks"]:
    loudest = float(power.max(initial=0.0))
    if loudest <= 1e-12:
        return np.zeros(0)
    level = 10.0 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR_DB / 10)))
    lag = 3
    rise = np.zeros_like(level)
    rise[lag:] = level[lag:] - level[:-lag]
    rise[:lag] = level[:lag] - FLOOR_DB
    peaks, _ = signal.find_peaks(
        np.concatenate([[0.0], rise]), height=RISE_DB, distance=max(1, round(APART_S / HOP_S))
    )
    return np.maximum(peaks - 1 - lag / 2, 0.0)
