"""Whether music is loud where the dancer moves much."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dancetomusic.types import Waveform

WINDOW_S = 0.5
SHIFTS = 32
FLOOR_DB = -60.0


def loudness_db(waveform: Waveform) -> Float[np.ndarray, " windows"]:
    """Root mean square of each window of 0.5 s, in dB below full scale, at least -60."""
    mono = waveform.to_mono().samples[0]
    length = round(WINDOW_S * waveform.sample_rate)
    windows = mono[: mono.size // length * length].reshape(-1, length).astype(np.float64)
    rms = np.sqrt((windows**2).mean(axis=1))
    return 20.0 * np.log10(np.maximum(rms, 10 ** (FLOOR_DB / 20)))


def quantity_of_motion(
    speeds: Float[np.ndarray, " steps"], fps: float
) -> Float[np.ndarray, " windows"]:
    """Mean joint speed of each window of 0.5 s, in metres a second; NaN where nobody is seen."""
    edges = np.arange(int(speeds.size / fps / WINDOW_S) + 1) * WINDOW_S * fps
    parts = [speeds[round(a) : round(b)] for a, b in pairwise(edges)]
    return np.array([p[~np.isnan(p)].mean() if (~np.isnan(p)).any() else np.nan for p in parts])


def energy_correlation(
    motion: Float[np.ndarray, " windows"], loudness: Float[np.ndarray, " _windows"]
) -> float:
    """Spearman's ρ of motion and loudness minus its mean over shifted motion, in [-2, 2].

    The motion is shuffled by turning it round in time by at least a tenth of its length, which
    keeps how smooth it is. 0 is chance. NaN below 8 windows in common, and where either is
    constant.

    NaN windows are left out, and the longer of both is cut.
    """
    from scipy.stats import rankdata

    n = min(motion.size, loudness.size)
    motion, loudness = motion[:n], loudness[:n]
    known = ~np.isnan(motion)
    if known.sum() < 8:
        return float("nan")
    a, b = rankdata(motion[known]), rankdata(loudness[known])
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    n = a.size
    first = max(1, n // 10)
    shifts = np.unique(np.linspace(first, n - first, SHIFTS).astype(int))
    true = float(np.corrcoef(a, b)[0, 1])
    shuffled = [float(np.corrcoef(np.roll(a, shift), b)[0, 1]) for shift in shifts]
    return true - float(np.mean(shuffled))
