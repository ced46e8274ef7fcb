"""Beats estimated from movement alone, scored against annotated beats.

Every clip is cut from the poses before its beats are estimated: the estimator sees nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmin

from dancetomusic.data.augment import retime, retime_beats
from dancetomusic.data.street import StreetClip
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.pieces import Piece, Song
from dancetomusic.metrics.beats import (
    WINDOW_LENGTHS_S,
    Times,
    beat_f,
    slice_beats,
    tempo_bpm,
    tempo_matches,
)
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.types import PoseSequence

LENGTHS_S: tuple[float | None, ...] = (*WINDOW_LENGTHS_S, None)
"""Lengths of clips; ``None`` for the whole piece."""

RETIMINGS = (0.75, 0.85, 1.2, 1.35)
RANDOM_DRAWS = 10
"""Samples of each baseline of random phase."""

SPEED_MINIMA = "speed minima"
TRUE_TEMPO = "true tempo, random phase"
METRONOME = "120 BPM"
OFFSETS = np.arange(20) / 20
"""Constant offsets of a nominal grid that are tried, in beats."""


@dataclass(frozen=True)
class MovementClip:
    """Movement to estimate beats from, with what only baselines and scores may know.

    Attributes:
        name: Its own name within everything that is pooled.
        dance: What it was cut from; intervals are taken over these.
        beat_times: Annotated, in seconds from the first pose.
    """

    name: str
    dance: str
    genre: str
    poses: PoseSequence
    beat_times: Times
    bpm: float


BeatEstimator = Callable[[MovementClip, np.random.Generator], Times]
KnownTempo = MovementClip | StreetClip


def length_name(length_s: float | None) -> str:
    """How tables call a length of clips."""
    return "whole" if length_s is None else f"{length_s:g} s"


def cut_clips(piece: Piece, length_s: float | None, *, speed: float = 1.0) -> list[MovementClip]:
    """Clips side by side from the start of a dance played ``speed`` times as fast.

    An incomplete last clip is left out; without ``length_s`` there is one, the whole piece.
    """
    poses, beats = retime_dance(piece.poses, piece.beat_times, speed)
    fps = poses.fps
    n_frames = len(poses) if length_s is None else round(length_s * fps)
    return [
        MovementClip(
            name=f"{piece.name} {speed} {index}",
            dance=piece.dance,
            genre=piece.genre,
            poses=cut_poses(poses, slice(first, first + n_frames)),
            beat_times=slice_beats(beats, first / fps, (first + n_frames) / fps),
            bpm=piece.bpm * speed,
        )
        for index, first in enumerate(range(0, len(poses) - n_frames + 1, n_frames))
    ]


def retime_dance(poses: PoseSequence, beats: Times, speed: float) -> tuple[PoseSequence, Times]:
    """A dance and its beats ``speed`` times as fast, at the same number of poses a second."""
    if speed == 1.0:
        return poses, beats
    n_frames = int(len(poses) / speed)
    world = retime(poses.world, poses.fps, start_s=0.0, speed=speed, n_frames=n_frames)
    source = np.minimum((np.arange(n_frames) * speed).astype(int), len(poses) - 1)
    retimed = PoseSequence(world, poses.present[source], poses.visibility[source], poses.fps)
    return retimed, retime_beats(beats, start_s=0.0, speed=speed)


def speed_minima(poses: PoseSequence) -> Times:
    """Moments at which the joints move slowest, smoothed over 0.1 s, in seconds."""
    steps = np.diff(poses.world, axis=0)
    if steps.shape[0] == 0:
        return np.zeros(0)
    speed = gaussian_filter1d(
        np.linalg.norm(steps, axis=-1).mean(axis=1).astype(np.float64), 0.1 * poses.fps
    )
    return (argrelmin(speed)[0] + 0.5) / poses.fps


def baseline_estimators(songs: Sequence[Song]) -> dict[str, BeatEstimator]:
    """Baselines that know nothing of the movement, or only its tempo or genre.

    The mean tempo of a genre comes from ``songs``: what was trained on.
    """
    mean_bpm = {
        genre: float(np.mean([song.bpm for song in songs if song.genre == genre]))
        for genre in {song.genre for song in songs}
    }

    def steady(tempo: Callable[[MovementClip], float]) -> BeatEstimator:
        return lambda clip, rng: steady_beats(tempo(clip), clip, rng)

    return {
        SPEED_MINIMA: lambda clip, rng: speed_minima(clip.poses),
        TRUE_TEMPO: steady(lambda clip: clip.bpm),
        "genre's mean tempo, random phase": steady(lambda clip: mean_bpm.get(clip.genre, 120.0)),
        METRONOME: steady(lambda clip: 120.0),
    }


def steady_beats(bpm: float, clip: KnownTempo, rng: np.random.Generator) -> Times:
    """Even beats of a tempo over a clip, at a random phase; none for NaN."""
    if not np.isfinite(bpm):
        return np.zeros(0)
    return metronome_times(bpm, clip.poses.duration_s, float(rng.random()))


def steady_draws(
    tempi: Sequence[float], clips: Sequence[KnownTempo], rng: np.random.Generator
) -> list[list[Times]]:
    """``RANDOM_DRAWS`` times :func:`steady_beats` of each clip at its tempo."""
    return [
        [steady_beats(bpm, clip, rng) for bpm, clip in zip(tempi, clips, strict=True)]
        for _ in range(RANDOM_DRAWS)
    ]


def tempo_shares(
    clips: Sequence[KnownTempo],
    runs: Sequence[Sequence[Times]],
    multiples: Sequence[float] = (1.0,),
) -> Float[np.ndarray, " clips"]:
    """Share of runs in which the tempo of each clip is right, or one of ``multiples`` of it."""
    right = [
        [
            tempo_matches(tempo_bpm(beats) / clip.bpm, multiples)
            for clip, beats in zip(clips, run, strict=True)
        ]
        for run in runs
    ]
    return np.asarray(np.mean(right, axis=0), np.float64)


def draws_of(baseline: str) -> int:
    """How often a baseline is sampled: once where nothing in it is random."""
    return 1 if baseline == SPEED_MINIMA else RANDOM_DRAWS


def nominal_grids(bpm: float, duration_s: float) -> tuple[Times, ...]:
    """Even beats of a known tempo and an unknown phase: late by each of ``OFFSETS``."""
    return tuple(metronome_times(bpm, duration_s, float(offset)) for offset in OFFSETS)


def f_at_offsets(times: Times, bpm: float, duration_s: float) -> Float[np.ndarray, " offsets"]:
    """Beat F against each of ``nominal_grids``."""
    return np.array([beat_f(grid, times) for grid in nominal_grids(bpm, duration_s)])


def offset_free_f(
    clips: Sequence[KnownTempo], beats: Sequence[Times], groups: Sequence[str]
) -> Float[np.ndarray, " clips"]:
    """Beat F of each clip, late by the constant that suits the clips of its group best."""
    scores = [
        f_at_offsets(times, clip.bpm, clip.poses.duration_s)
        for clip, times in zip(clips, beats, strict=True)
    ]
    return best_offset_by_genre(np.stack(scores), groups)


def best_offset_by_genre(
    scores: Float[np.ndarray, "clips offsets"], genres: Sequence[str]
) -> Float[np.ndarray, " clips"]:
    """Score of each clip at the offset that suits the clips of its genre best, on average."""
    best = np.zeros(scores.shape[0])
    for genre in set(genres):
        own = np.array([other == genre for other in genres])
        best[own] = scores[own, scores[own].mean(axis=0).argmax()]
    return best
