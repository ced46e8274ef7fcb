"""A rhythm track as one feature vector per frame: what models are conditioned on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import extrapolate_beats
from dancetomusic.rhythm.swing import straighten_beats
from dancetomusic.types import RhythmTrack

RHYTHM_FEATURES = (
    "beat_cos",
    "beat_sin",
    "bar_cos",
    "bar_sin",
    "beat_bump",
    "downbeat_bump",
    "triple_metre",
    "log2_tempo",
    "energy",
)
BUMP_WIDTH_S = 0.025
REFERENCE_BPM = 120.0


def rhythm_features(
    track: RhythmTrack, frame_rate: float, n_frames: int, *, swing: float = 0.0
) -> Float32[np.ndarray, "frames features"]:
    """The features of :func:`features_at` at ``frame / frame_rate`` seconds.

    ``swing`` is as for :func:`features_at`.

    Raises:
        InputError: If ``frame_rate`` is not positive, ``n_frames`` is negative or ``swing`` is
            outside [0, 1].
    """
    if frame_rate <= 0 or n_frames < 0:
        raise InputError(
            f"{n_frames} frames at {frame_rate} a second", "Give a length ≥ 0 and a rate > 0."
        )
    return features_at(track, np.arange(n_frames) / frame_rate, swing=swing)


def features_at(
    track: RhythmTrack, seconds: Float[np.ndarray, " frames"], *, swing: float = 0.0
) -> Float32[np.ndarray, "frames features"]:
    """Describe the rhythm at given times, one row each.

    Columns are named by ``RHYTHM_FEATURES``. Phases are 0 at the beat (bar) and linear
    in between; before the first and after the last beat they continue with the neighbouring
    interval. Bumps are Gaussians of 25 ms standard deviation, 1 at the beat. Tempo is
    octaves above 120 BPM. ``triple_metre`` is 1 for bars of three beats, else 0. Energy is
    interpolated linearly and held past its end. Without any beat all columns but the energy
    are 0.

    Args:
        track: Beats, metre and energy.
        seconds: Times of the rows.
        swing: How late the off-beats are to be played, from 0 to 1: both phases pass half a
            beat where ``dancetomusic.rhythm.swing.offbeat_position`` says. Beats stay in place.

    Raises:
        InputError: If ``swing`` is outside [0, 1].
    """
    columns = np.zeros((seconds.size, len(RHYTHM_FEATURES)), np.float32)
    if seconds.size == 0:
        return columns
    if track.energy.size:
        energy_s = np.arange(track.energy.size) / track.energy_rate
        columns[:, 8] = np.interp(seconds, energy_s, track.energy)
    if track.beat_times.size == 0:
        return columns

    times, numbers = extrapolate_beats(
        track.beat_times,
        track.beat_numbers,
        start_s=float(seconds.min()),
        end_s=max(float(seconds.max()), track.duration_s),
    )
    before, interval, beat_phase = _interval_of(times, seconds)
    if swing:
        beat_phase = straighten_beats(beat_phase, swing)
    bar_phase = (numbers[before] - 1 + beat_phase) / track.beats_per_bar
    columns[:, 0] = np.cos(2 * np.pi * beat_phase)
    columns[:, 1] = np.sin(2 * np.pi * beat_phase)
    columns[:, 2] = np.cos(2 * np.pi * bar_phase)
    columns[:, 3] = np.sin(2 * np.pi * bar_phase)
    columns[:, 4] = _bump(seconds, times)
    columns[:, 5] = _bump(seconds, times[numbers == 1])
    columns[:, 6] = track.beats_per_bar == 3
    columns[:, 7] = np.log2(60.0 / interval / REFERENCE_BPM)
    return columns


def beat_position(
    beat_times: Float[np.ndarray, " beats"], seconds: Float[np.ndarray, " moments"]
) -> Float[np.ndarray, " moments"]:
    """Beats elapsed since the first one at each moment, fractions included.

    Before the first and after the last beat the neighbouring interval continues.

    Raises:
        InputError: If there are fewer than two beats.
    """
    if beat_times.size < 2:
        raise InputError(f"{beat_times.size} beats are no rhythm", "Give at least two beats.")
    before, _, phase = _interval_of(beat_times, seconds)
    return before + phase


def _interval_of(
    times: np.ndarray, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The interval between beats of each moment: its number, its length, and the share passed."""
    before = np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, times.size - 2)
    interval = np.diff(times)[before]
    return before, interval, (seconds - times[before]) / interval


def _bump(seconds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Gaussian of the distance to the nearest of ``times``."""
    if times.size == 0:
        return np.zeros_like(seconds)
    edges = (times[1:] + times[:-1]) / 2
    nearest = times[np.searchsorted(edges, seconds)]
    return np.exp(-0.5 * ((seconds - nearest) / BUMP_WIDTH_S) ** 2)
