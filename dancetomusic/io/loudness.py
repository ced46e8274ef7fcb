"""Programme loudness and true peak of a sound.

Conventions: loudness is in LUFS, peaks in dBTP (decibels to full scale); every channel has weight
1; silence is at minus infinity. Both are also given frame by frame, on a grid of ``frame_hop``
samples, so that gains can be tried on them without going through the sound again.

References:
    ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio level",
    2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import sosfilt

from dancetomusic.types import Waveform

_FRAME_RATE = 3_000  # Hz, at least: a third of a millisecond is finer than any gain moves
_BLOCK_S, _STEP_S = 0.4, 0.1
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
_LOWEST_LUFS = -120.0
_OFFSET_DB = -0.691  # makes a 997 Hz sine at full scale in one channel -3.01 LUFS
_OVERSAMPLING, _TAPS = 8, 16  # the standard asks for four times; taps are those on each side
_FRAMES_AT_ONCE = 4_096


def frame_hop(sample_rate: int) -> int:
    """Samples in a frame: a third of a millisecond at 44.1 kHz, and never fewer than 8."""
    return max(8, sample_rate // _FRAME_RATE)


def integrated_loudness(waveform: Waveform) -> float:
    """Gated loudness of the whole sound in LUFS; minus infinity where all is below -70 LUFS.

    A sound shorter than the standard's block of 0.4 s is one block of its own length.

    Example:
        >>> sine = np.sin(2 * np.pi * 997 / 48_000 * np.arange(48_000)).astype(np.float32)
        >>> round(integrated_loudness(Waveform(sine[None], 48_000)), 1)
        -3.0
    """
    hop = frame_hop(waveform.sample_rate)
    return gated_loudness(weighted_power(waveform), waveform.sample_rate / hop)


def true_peak(waveform: Waveform) -> float:
    """Highest peak of the sound at eight times its rate, in dBTP; at four it may read less."""
    peak = float(true_peaks(waveform).max(initial=0.0))
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def gated_loudness(power: Float64[np.ndarray, " frames"], frame_rate: float) -> float:
    """Loudness in LUFS of ``weighted_power``, by blocks of 0.4 s and the two gates."""
    if not power.size:
        return -math.inf
    length = min(_BLOCK_S * frame_rate, float(power.size))
    starts = np.arange(0.0, power.size - length + 0.5, _STEP_S * frame_rate)
    summed = np.concatenate([[0.0], np.cumsum(power)])
    grid = np.arange(power.size + 1)
    blocks = np.interp(starts + length, grid, summed) - np.interp(starts, grid, summed)
    blocks = blocks / length
    loud = blocks[blocks > _power(_ABSOLUTE_GATE)]
    if not loud.size:
        return -math.inf
    gate = loud.mean() * 10 ** (_RELATIVE_GATE / 10)
    return _OFFSET_DB + 10 * math.log10(loud[loud > gate].mean())


def weighted_power(waveform: Waveform) -> Float64[np.ndarray, " frames"]:
    """Mean square of the K-weighted sound in each frame, summed over channels.

    The last frame is filled up with silence.
    """
    hop = frame_hop(waveform.sample_rate)
    n_samples = waveform.samples.shape[1]
    power = np.zeros(-(-n_samples // hop))
    if not n_samples:
        return power
    sections = k_weighting(waveform.sample_rate)
    for channel in waveform.samples:
        weighted = np.zeros(power.size * hop)
        weighted[:n_samples] = sosfilt(sections, channel)
        frames = weighted.reshape(-1, hop)
        power += np.einsum("fh,fh->f", frames, frames) / hop
    return power


def k_weighting(sample_rate: int) -> Float64[np.ndarray, "2 6"]:
    """The standard's two filters, a shelf for the head and a low cut, for any rate.

    Its coefficients for 48 kHz, taken back to the analogue filters that they came from.

    References:
        De Man, "Evaluation of implementations of the EBU R128 loudness measurement", 2018.
    """
    k, q = math.tan(math.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    shelf_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    cut_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    first = np.array([*shelf, *shelf_poles]) / shelf_poles[0]
    second = np.array([1.0, -2.0, 1.0, *(np.array(cut_poles) / cut_poles[0])])
    return np.stack([first, second])


def true_peaks(waveform: Waveform) -> Float32[np.ndarray, " frames"]:
    """Largest absolute value of any channel in each frame, at eight times the rate."""
    hop = frame_hop(waveform.sample_rate)
    n_samples = waveform.samples.shape[1]
    n_frames = -(-n_samples // hop)
    peaks = np.zeros(n_frames, np.float32)
    kernel = _interpolator(hop)
    for channel in waveform.samples:
        padded = np.zeros(n_frames * hop + 2 * _TAPS, np.float32)
        padded[_TAPS : _TAPS + n_samples] = channel
        for first, windows in _windows(padded, hop):
            between = np.abs(windows @ kernel).max(axis=1)
            part = peaks[first : first + between.size]
            np.maximum(part, between, out=part)
    return peaks


def _windows(
    padded: Float32[np.ndarray, " padded"], hop: int
) -> Iterator[tuple[int, Float32[np.ndarray, "part window"]]]:
    """Frames with ``_TAPS`` samples on both sides, some at a time, each part with its start."""
    if padded.size < hop + 2 * _TAPS:
        return
    views = sliding_window_view(padded, hop + 2 * _TAPS)[::hop]
    for first in range(0, len(views), _FRAMES_AT_ONCE):
        yield first, np.ascontiguousarray(views[first : first + _FRAMES_AT_ONCE])


def _interpolator(hop: int) -> Float32[np.ndarray, "window oversampled"]:
    """Matrix from a frame with its surroundings to the oversampled frame."""
    wanted = _TAPS + np.arange(hop * _OVERSAMPLING) / _OVERSAMPLING
    distance = np.arange(hop + 2 * _TAPS)[:, None] - wanted[None]
    inside = np.clip(1 - (distance / _TAPS) ** 2, 0, None)
    kernel = np.sinc(distance) * np.i0(6.0 * np.sqrt(inside)) / np.i0(6.0) * (inside > 0)
    return kernel.astype(np.float32)


def power_to_lufs(power: Float64[np.ndarray, " frames"]) -> Float64[np.ndarray, " frames"]:
    """Loudness that each frame's ``weighted_power`` would have if it continued; -120 LUFS at least.

    Example:
        >>> power_to_lufs(np.array([1.0, 0.0])).round(1).tolist()
        [-0.7, -120.0]
    """
    return np.maximum(_OFFSET_DB + 10 * np.log10(np.maximum(power, 1e-13)), _LOWEST_LUFS)


def _power(lufs: float) -> float:
    return 10 ** ((lufs - _OFFSET_DB) / 10)
