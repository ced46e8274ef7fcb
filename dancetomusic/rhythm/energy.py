"""Strength of movement and loudness on one scale, so that one can stand for the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.ndimage import gaussian_filter1d

from dancetomusic.pose.motion import BODY
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

ENERGY_RATE = 10.0
SMOOTHING_S = 0.25
SPREAD_DB = 6.0
FLOOR_DB = -60.0
USUAL = 0.5
"""Energy half-way between the 10th and the 90th percentile of the level."""

MEMORY_S, CAMERA_FPS = 20.0, 24.0
"""How far back :class:`CausalEnergy` takes its percentiles, at so many frames a second."""

CAUSAL_SMOOTHING_S = 0.15
"""Of the causal energy: played early, it cannot wait for the half second of the offline one."""

ACCENT_S = 0.04
"""Of the accent, which only smooths the detector's noise."""


def movement_energy(poses: PoseSequence) -> Float32[np.ndarray, " energy_frames"]:
    """Strength of movement in [0, 1], ``ENERGY_RATE`` values a second from 0 s.

    The mean speed of the joints, smoothed over about half a second, in dB; its 10th and
    90th percentile become 0.1 and 0.9 (at least 6 dB apart, so that even movement stays
    near 0.5). Falls to 0 where no dancer is present.
    """
    return group_energy([poses])


def group_energy(dancers: Sequence[PoseSequence]) -> Float32[np.ndarray, " energy_frames"]:
    """As :func:`movement_energy`, from the mean speed of all dancers who are there.

    The first dancer's length is that of the result.
    """
    first = dancers[0]
    n_values = _n_values(first.duration_s)
    if len(first) < 2:
        return np.zeros(n_values, np.float32)
    speed, present = np.zeros(len(first)), np.zeros(len(first))
    for poses in dancers:
        n_frames = min(len(poses), len(first))
        if n_frames < 2:
            continue
        own, known = _joint_speed(poses)
        speed[:n_frames] += (own * known)[:n_frames]
        present[:n_frames] += known[:n_frames]
    speed /= np.maximum(present, 1.0)
    sigma = SMOOTHING_S * first.fps
    share = gaussian_filter1d((present > 0).astype(float), sigma, mode="nearest")
    smooth = gaussian_filter1d(speed, sigma, mode="nearest") / np.maximum(share, 1e-6)
    level = _unit_level(smooth, share > 0.1) * np.minimum(1.0, 2.0 * share)
    return _sample(level, first.fps, n_values)


class CausalEnergy:
    """:func:`movement_energy` of landmarks as they come, from the past alone.

    Attributes:
        energy: Strength of movement in [0, 1]; 0.5 is usual for the last 20 s.
        accent: The same, smoothed over a frame only.
    """

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=round(MEMORY_S * CAMERA_FPS))
        self.reset()

    def reset(self) -> None:
        """Forget where the joints were; what is usual stays known."""
        self._last: tuple[float, np.ndarray] | None = None
        self._smooth = self._quick = 0.0
        self.energy = self.accent = 0.0

    def push(self, world: Float32[np.ndarray, "33 3"], time_s: float) -> None:
        """Take the landmarks of a frame, in metres."""
        last, self._last = self._last, (time_s, world)
        if last is None:
            return
        elapsed = max(time_s - last[0], 1e-3)
        speed = float(_mean_step(np.stack([last[1], world]))[0]) / elapsed
        self._smooth += (1 - np.exp(-elapsed / CAUSAL_SMOOTHING_S)) * (speed - self._smooth)
        self._quick += (1 - np.exp(-elapsed / ACCENT_S)) * (speed - self._quick)
        smooth, quick = _decibels(np.array([self._smooth, self._quick]))
        self._levels.append(float(smooth))
        usual = np.array(self._levels)
        self.energy, self.accent = _scale(np.array([smooth, quick]), usual).tolist()


def danced_rhythm(
    poses: PoseSequence,
    beat_times: Float[np.ndarray, " beats"],
    beat_numbers: Int[np.ndarray, " beats"],
) -> RhythmTrack:
    """Known beats of a dance, with the strength of its movement, as long as the dance."""
    return RhythmTrack(
        beat_times=beat_times,
        beat_numbers=beat_numbers,
        energy=movement_energy(poses),
        energy_rate=ENERGY_RATE,
        duration_s=poses.duration_s,
    )


def loudness_energy(waveform: Waveform) -> Float32[np.ndarray, " energy_frames"]:
    """Loudness in [0, 1] on the scale and at the rate of :func:`movement_energy`.

    Root mean square over frames of 10 ms, smoothed and scaled in the same way; digital
    silence is 0.
    """
    n_values = _n_values(waveform.duration_s)
    hop = max(1, waveform.sample_rate // 100)
    samples = waveform.samples.mean(axis=0)
    if samples.size < hop:
        return np.zeros(n_values, np.float32)
    frames = samples[: samples.size // hop * hop].reshape(-1, hop)
    frame_rate = waveform.sample_rate / hop
    power = (frames.astype(np.float64) ** 2).mean(axis=1)
    smooth = gaussian_filter1d(power, SMOOTHING_S * frame_rate, mode="nearest")
    amplitude = np.sqrt(np.maximum(smooth, 0.0))
    audible = amplitude > 10 ** (FLOOR_DB / 20)
    return _sample(_unit_level(amplitude, audible) * audible, frame_rate, n_values)


def _joint_speed(
    poses: PoseSequence,
) -> tuple[Float[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """Mean speed of the joints in m/s, and where it is known."""
    per_frame = _mean_step(poses.world) * poses.fps
    known = poses.present & np.roll(poses.present, 1)
    known[0] = poses.present[0]
    return np.append(per_frame[:1], per_frame).astype(np.float64), known


def _mean_step(world: np.ndarray) -> np.ndarray:
    """Mean distance in metres that the joints move from each frame to the next."""
    return np.linalg.norm(np.diff(world[:, BODY], axis=0), axis=-1).mean(axis=1)


def _n_values(duration_s: float) -> int:
    return max(1, int(np.ceil(duration_s * ENERGY_RATE - 1e-9)))


def _unit_level(amplitude: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Amplitude to [0, 1] by percentiles of its level where ``known``."""
    if not known.any():
        return np.zeros_like(amplitude)
    level = _decibels(amplitude)
    return _scale(level, level[known])


def _decibels(amplitude: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(amplitude, 10 ** (FLOOR_DB / 20)))


def _scale(level: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Level to [0, 1]: the 10th and 90th percentile of the usual ones become 0.1 and 0.9."""
    low, high = np.percentile(usual, [10, 90])
    spread = max(high - low, SPREAD_DB)
    return np.clip(USUAL + 0.8 * (level - (low + high) / 2) / spread, 0.0, 1.0)


def _sample(values: np.ndarray, source_rate: float, n_values: int) -> np.ndarray:
    times = np.arange(n_values) / ENERGY_RATE
    return np.interp(times, np.arange(values.size) / source_rate, values).astype(np.float32)
