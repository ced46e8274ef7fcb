"""A rhythm track as one feature vector per code frame: what the token decoder plays on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

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
    """Describe the rhythm at ``frame / frame_rate`` seconds, one row per frame.

    Columns are named by ``RHYTHM_FEATURES``. Phases are 0 at the beat (bar) and linear
    in between; before the first and after the last beat they go on with the neighbouring
    interval. Bumps are Gaussians of 25 ms standard deviation, 1 at the beat. Tempo is
    octaves above 120 BPM. ``triple_metre`` is 1 for bars of three beats, else 0. Energy is
    resampled linearly and held past its end. Without any beat all columns but the energy
    are 0.

    Args:
        track: Beats, metre and energy.
        frame_rate: Rows a second.
        n_frames: Rows.
        swing: How late the off-beats are to be played, from 0 to 1: both phases pass half a
            beat where ``dancetomusic.rhythm.swing.offbeat_place`` says. Beats stay in place.

    Raises:
        InputError: If ``frame_rate`` is not positive, ``n_frames`` is negative or ``swing`` is
            outside [0, 1].
    """
    if frame_rate <= 0 or n_frames < 0:
        raise InputError(
            f"{n_frames} frames at {frame_rate} a second", "Give a length ≥ 0 and a rate > 0."
        )
    columns = np.zeros((n_frames, len(RHYTHM_FEATURES)), np.float32)
    if n_frames == 0:
        return columns
    seconds = np.arange(n_frames) / frame_rate
    if track.energy.size:
        energy_s = np.arange(track.energy.size) / track.energy_rate
        columns[:, 8] = np.interp(seconds, energy_s, track.energy)
    if track.beat_times.size == 0:
        return columns

    times, numbers = extrapolate_beats(
        track.beat_times, track.beat_numbers, end_s=max(seconds[-1], track.duration_s)
    )
    before = np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, times.size - 2)
    interval = np.diff(times)[before]
    beat_phase = (seconds - times[before]) / interval
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


def _bump(seconds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Gaussian of the distance to the nearest of ``times``."""
    if times.size == 0:
        return np.zeros_like(seconds)
    edges = (times[1:] + times[:-1]) / 2
    nearest = times[np.searchsorted(edges, seconds)]
    return np.exp(-0.5 * ((seconds - nearest) / BUMP_WIDTH_S) ** 2)
