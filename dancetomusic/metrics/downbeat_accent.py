"""Whether the first beat of a bar is played louder than the others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import signal

from dancetomusic.types import Waveform

BASS_LIMIT_HZ = 150.0
BEFORE_S, AFTER_S = 0.03, 0.15
FLOOR_DB = -60.0


def downbeat_accent_db(
    waveform: Waveform,
    beat_times: Float[np.ndarray, " beats"],
    beat_numbers: Int[np.ndarray, " beats"],
    *,
    below_hz: float | None = None,
) -> float:
    """Mean level at beats 1 minus that at the others of the bar, in dB; 0 is no accent.

    The level is the root mean square from 30 ms before to 150 ms after a beat, at least 60 dB
    below full scale. NaN without beats of either kind.

    Only what is lower than ``below_hz`` counts, such as ``BASS_LIMIT_HZ`` for kick and bass.
    """
    samples = waveform.to_mono().samples[0].astype(np.float64)
    rate = waveform.sample_rate
    if below_hz is not None and samples.size:
        low_pass = signal.butter(4, below_hz, fs=rate, output="sos")
        samples = signal.sosfilt(low_pass, samples)
    power = np.concatenate([[0.0], np.cumsum(samples**2)])
    edges = np.rint((beat_times[:, None] + np.array([-BEFORE_S, AFTER_S])) * rate).astype(int)
    inside = (edges[:, 0] >= 0) & (edges[:, 1] <= samples.size)
    edges, numbers = edges[inside], beat_numbers[inside]
    mean = (power[edges[:, 1]] - power[edges[:, 0]]) / (edges[:, 1] - edges[:, 0])
    level = 10.0 * np.log10(np.maximum(mean, 10 ** (FLOOR_DB / 10)))
    first, others = level[numbers == 1], level[numbers != 1]
    if first.size == 0 or others.size == 0:
        return float("nan")
    return float(first.mean() - others.mean())
