"""A beat grid read from movement alone, scored against annotated beats.

Every clip is cut from the poses before it is read: the reader sees nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmin

from dancetomusic.data.augment import retime, retime_beats
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.tasks.music.pieces import Piece, Song
from dancetomusic.metrics.beats import WINDOW_LENGTHS_S, Times, score_beats, slice_beats
from dancetomusic.types import PoseSequence

LENGTHS_S: tuple[float | None, ...] = (*WINDOW_LENGTHS_S, None)
"""Lengths of clips; ``None`` for the whole piece."""

RETIMINGS = (0.75, 0.85, 1.2, 1.35)
RANDOM_DRAWS = 10
METRICS = ("f", "cmlt", "tempo", "tempo_octave")


@dataclass(frozen=True)
class GridClip:
    """Movement to read, with what only trivial rows and scores may know."""

    genre: str
    poses: PoseSequence
    beat_times: Times
    bpm: float


Reader = Callable[[GridClip, np.random.Generator], Times]


def cut_clips(piece: Piece, length_s: float | None, *, speed: float = 1.0) -> list[GridClip]:
    """Clips side by side from the start of a dance played ``speed`` times as fast.

    Args:
        piece: Where to cut.
        length_s: Length of a clip; an incomplete last one is left out. ``None`` for the
            whole piece.
        speed: 1 is as danced.
    """
    poses, beats = piece.poses, piece.beat_times
    fps = poses.fps
    if speed != 1.0:
        n_frames = int(len(poses) / speed)
        world = retime(poses.world, fps, start_s=0.0, speed=speed, n_frames=n_frames)
        source = np.minimum((np.arange(n_frames) * speed).astype(int), len(poses) - 1)
        poses = PoseSequence(world, poses.present[source], poses.visibility[source], fps)
        beats = retime_beats(beats, start_s=0.0, speed=speed)
    n_frames = len(poses) if length_s is None else round(length_s * fps)
    clips = []
    for first in range(0, len(poses) - n_frames + 1, n_frames):
        frames = slice(first, first + n_frames)
        clips.append(
            GridClip(
                genre=piece.genre,
                poses=PoseSequence(
                    poses.world[frames], poses.present[frames], poses.visibility[frames], fps
                ),
                beat_times=slice_beats(beats, first / fps, (first + n_frames) / fps),
                bpm=piece.bpm * speed,
            )
        )
    return clips


def speed_minima(poses: PoseSequence) -> Times:
    """Moments at which the joints move slowest, smoothed over 0.1 s, in seconds."""
    steps = np.diff(poses.world, axis=0)
    if steps.shape[0] == 0:
        return np.zeros(0)
    speed = gaussian_filter1d(
        np.linalg.norm(steps, axis=-1).mean(axis=1).astype(np.float64), 0.1 * poses.fps
    )
    return (argrelmin(speed)[0] + 0.5) / poses.fps


def trivial_readers(songs: Sequence[Song]) -> dict[str, Reader]:
    """Rows that know nothing of the movement, or only its tempo or genre.

    Args:
        songs: Where a genre's mean tempo comes from: what was trained on.
    """
    mean_bpm = {
        genre: float(np.mean([song.bpm for song in songs if song.genre == genre]))
        for genre in {song.genre for song in songs}
    }

    def steady(bpm: float, clip: GridClip, rng: np.random.Generator) -> Times:
        return metronome_times(bpm, clip.poses.duration_s, float(rng.random()))

    return {
        "speed minima": lambda clip, rng: speed_minima(clip.poses),
        "true tempo, random phase": lambda clip, rng: steady(clip.bpm, clip, rng),
        "genre's mean tempo, random phase": (
            lambda clip, rng: steady(mean_bpm.get(clip.genre, 120.0), clip, rng)
        ),
        "120 BPM": lambda clip, rng: steady(120.0, clip, rng),
    }


def score_reader(
    reader: Reader,
    piece: Piece,
    length_s: float | None,
    *,
    speeds: Sequence[float] = (1.0,),
    draws: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Mean scores of a reader over the clips of a piece, each read ``draws`` times.

    NaN where the piece is shorter than ``length_s``.
    """
    rng = np.random.default_rng([seed, *piece.name.encode()])
    clips = [clip for speed in speeds for clip in cut_clips(piece, length_s, speed=speed)]
    scores = [
        score_beats(clip.beat_times, reader(clip, rng)) for clip in clips for _ in range(draws)
    ]
    if not scores:
        return dict.fromkeys(METRICS, float("nan"))
    return {
        metric: float(np.mean([getattr(score, metric) for score in scores])) for metric in METRICS
    }
