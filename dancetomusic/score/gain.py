"""Gains that change with time, on the frames of ``media.loudness``."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

from dancetomusic.io.loudness import frame_hop
from dancetomusic.types import Waveform


def released(
    values: Float64[np.ndarray, " frames"], time_constant_s: float, frame_rate: float
) -> Float64[np.ndarray, " frames"]:
    """Values that rise at once and fall exponentially: the peaks of ``values``, held on to.

    A fall has come down to 1 / e after ``time_constant_s``.

    Example:
        >>> released(np.array([0.0, 1.0, 0.0, 0.0]), 0.1, 10.0).round(3).tolist()
        [0.0, 1.0, 0.368, 0.135]
    """
    fallen = np.arange(values.size) / (time_constant_s * frame_rate)
    with np.errstate(divide="ignore"):
        return np.exp(np.maximum.accumulate(np.log(values) + fallen) - fallen)


def smoothed(
    values: Float64[np.ndarray, " frames"], time_constant_s: float, frame_rate: float
) -> Float64[np.ndarray, " frames"]:
    """Values through a low-pass of first order, from zero on."""
    kept = np.exp(-1 / (time_constant_s * frame_rate))
    result: Float64[np.ndarray, " frames"] = lfilter([1 - kept], [1, -kept], values)
    return result


def held(
    values: Float64[np.ndarray, " frames"], behind: int, ahead: int
) -> Float64[np.ndarray, " frames"]:
    """Each frame's largest value among itself, ``behind`` frames before and ``ahead`` after."""
    size = behind + ahead + 1
    result: Float64[np.ndarray, " frames"] = maximum_filter1d(
        values, size, mode="constant", origin=behind - size // 2
    )
    return result


def eased(values: Float64[np.ndarray, " frames"], length: int) -> Float64[np.ndarray, " frames"]:
    """Mean over each frame and the ``length - 1`` before it, weighted by a Hann window."""
    if not values.size:
        return values
    window = np.hanning(length + 2)[1:-1]
    padded = np.concatenate([np.full(length - 1, values[0]), values])
    return np.convolve(padded, window / window.sum(), mode="valid")


def with_gain_db(waveform: Waveform, gain_db: Float64[np.ndarray, " frames"]) -> Waveform:
    """The sound times a gain in decibels that is given at the middle of each frame.

    Between two middles the factor is interpolated, before the first and after the last it stays.
    """
    n_samples = waveform.samples.shape[1]
    return Waveform(waveform.samples * _curve(gain_db, waveform)[:n_samples], waveform.sample_rate)


def _curve(
    gain_db: Float64[np.ndarray, " frames"], waveform: Waveform
) -> Float32[np.ndarray, " padded"]:
    hop = frame_hop(waveform.sample_rate)
    factor = np.pad(10 ** (gain_db / 20), 1, mode="edge").astype(np.float32)
    ramp = ((np.arange(hop) + 0.5) / hop).astype(np.float32)
    return (factor[:-1, None] + np.diff(factor)[:, None] * ramp).ravel()[hop // 2 :]
