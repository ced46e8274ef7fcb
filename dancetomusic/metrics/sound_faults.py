"""Silence, pauses, clipping and drones: what spoils a sound whatever its rhythm."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dancetomusic.types import Waveform

SILENCE_DBFS = -50.0
FULL_SCALE = 0.999
WINDOW_S = 0.1
PAUSE_WINDOW_S = 0.05
PAUSE_DB = -26.0
"""Of the level that the loudest twentieth of a sound exceeds; what is below is a pause."""


@dataclass(frozen=True)
class SoundFaults:
    """What is wrong with a sound.

    Attributes:
        longest_silence_s: Longest stretch below -50 dBFS, in seconds.
        clipped_share: Samples at full scale, in [0, 1].
        longest_drone_s: Longest audible stretch without an onset, in seconds.
        drift_db: Level of the last quarter minus that of the first, in dB.
    """

    longest_silence_s: float
    clipped_share: float
    longest_drone_s: float
    drift_db: float


def find_faults(waveform: Waveform, onset_times: Float[np.ndarray, " onsets"]) -> SoundFaults:
    """Measure the faults of a sound.

    Onsets are of any register, quiet ones among them.
    """
    power = _window_power(waveform, WINDOW_S)
    silent = power < 10 ** (SILENCE_DBFS / 10)
    ends = np.concatenate([[0.0], onset_times, [waveform.duration_s]])
    drone_s = 0.0
    for start, end in pairwise(ends):
        between = ~silent[round(start / WINDOW_S) : round(end / WINDOW_S)]
        drone_s = max(drone_s, float(_longest_run(between)) * WINDOW_S)
    clipped = np.abs(waveform.samples) >= FULL_SCALE
    quarter = max(1, power.size // 4)
    loud = [
        10.0 * np.log10(np.maximum(part.mean(), 1e-12)) if part.size else -120.0
        for part in (power[:quarter], power[-quarter:])
    ]
    return SoundFaults(
        longest_silence_s=_longest_run(silent) * WINDOW_S,
        clipped_share=float(clipped.mean()) if clipped.size else 0.0,
        longest_drone_s=drone_s,
        drift_db=float(loud[1] - loud[0]),
    )


def find_pauses(waveform: Waveform) -> tuple[float, float]:
    """Longest pause of a sound in seconds, and the share of its time that is pause.

    A pause is 26 dB and more below the loud level, so that noise does not hide it. Half a second at
    either end does not count.
    """
    power = _window_power(waveform, PAUSE_WINDOW_S)
    ends = round(0.5 / PAUSE_WINDOW_S)
    inner = power[ends:-ends]
    if not inner.size:
        return 0.0, 0.0
    quiet = inner < 10 ** (PAUSE_DB / 10) * np.percentile(power, 95)
    return _longest_run(quiet) * PAUSE_WINDOW_S, float(quiet.mean())


def _window_power(waveform: Waveform, window_s: float) -> Float[np.ndarray, " windows"]:
    """Mean square of each whole window of a sound, its channels mixed."""
    mono = waveform.to_mono().samples[0].astype(np.float64)
    length = max(1, round(window_s * waveform.sample_rate))
    return (mono[: mono.size // length * length].reshape(-1, length) ** 2).mean(axis=1)


def _longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
