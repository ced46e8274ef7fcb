"""Movement alone, scored on dances of groups that its tempo template was not fitted to.

Every clip is read with a template from which its group (a dancer or a song, a street genre, a
ballroom genre) was left out; how the groups are dealt out to folds is drawn several times. The pose
encoder has seen no real clip and no street dance, but the ballroom dances of ``val`` share
captures with those it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from dancetomusic.data.dance import Dance
from dancetomusic.data.street import StreetClip
from dancetomusic.data.wild import WildClip, trusted_clips
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.tasks.generalization_clips import (
    OCTAVES,
    cell_of,
    f_at_offsets,
    one_offset_a_genre,
    tempo_right,
)
from dancetomusic.evaluation.tasks.music.grid import cut_clips
from dancetomusic.evaluation.tasks.music.pieces import piece_of_dance
from dancetomusic.evaluation.tasks.music.summary import Cell
from dancetomusic.metrics.beats import Times, beat_f, tempo_bpm
from dancetomusic.models.pose_encoder.movement_rhythm import MovementReading, readings_from_encoding
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding, encode_poses
from dancetomusic.models.pose_encoder.tempo_fit import (
    BALLROOM,
    street_group,
    street_poses,
    wild_group,
)
from dancetomusic.types import PoseSequence

RIGHT_F = 0.9
"""Beat F from which the beats of a clip count as right."""

SMOOTHED_FRAMES = 1.0
RANDOM_DRAWS = 10
DANCEABLE_BPM = (85.0, 150.0)
STREET_LENGTH_S = 20.0
BALLROOM_LENGTHS_S = (5.0, 10.0, 20.0)
CALIBRATED_ON = ("real clips", "ballroom val, 5 s", "ballroom val, 10 s")
"""Sets that certainty is fitted to, each with the same weight: those whose phase is known. Street
fragments are not among them: with their offset left free, more would seem right than are."""

_RIDGE = 0.02  # on the slope of the calibration


@dataclass(frozen=True)
class MovementClip:
    """A clip to read.

    Attributes:
        set: Which table row it belongs to.
        group: What is held out together, and what means are taken over first.
        poses: The dancer.
        bpm: True tempo in beats a minute.
        beat_times: True beats in seconds.
        offset_free: Whether the beats may be late by one constant part of a beat per group.
        encoding: What the encoder says of it.
    """

    set: str
    group: str
    poses: PoseSequence
    bpm: float
    beat_times: Times
    offset_free: bool
    encoding: PoseEncoding


@dataclass(frozen=True)
class MovementRow:
    """Scores of one set by one reader: means over clips and then groups."""

    set: str
    row: str
    clips: int
    tempo: Cell
    tempo_octaves: Cell
    f: Cell
    danceable: float


@torch.inference_mode()
def movement_clips(
    encoder: PoseEncoder,
    wild: Sequence[WildClip],
    street: Sequence[StreetClip],
    dances: Sequence[Dance],
) -> list[MovementClip]:
    """Everything that is scored, encoded once.

    Trusted real clips and street fragments whole, street dance without depth in pieces of 20 s,
    ballroom dances in pieces of 5, 10 and 20 s.
    """
    clips: list[MovementClip] = []

    def add(kind: str, group: str, poses: PoseSequence, bpm: float, beats: Times) -> None:
        free = kind.startswith("street")
        encoding = encode_poses(encoder, poses)
        clips.append(MovementClip(kind, group, poses, bpm, beats, free, encoding))

    for real in trusted_clips(wild):
        if real.poses is not None:
            add("real clips", wild_group(real), real.poses, real.bpm, real.beat_times)
    for fragment in street:
        if not fragment.beat_times.size:
            continue
        poses, group = street_poses(fragment), street_group(fragment)
        if not fragment.flat:
            add("street, about 10 s", group, poses, fragment.bpm, fragment.beat_times)
            continue
        n_frames = round(STREET_LENGTH_S * poses.fps)
        for first in range(0, len(poses) - n_frames + 1, n_frames):
            piece = slice(first, first + n_frames)
            part = PoseSequence(
                poses.world[piece], poses.present[piece], poses.visibility[piece], poses.fps
            )
            beats = fragment.beat_times - first / poses.fps
            inside = beats[(beats >= 0) & (beats < STREET_LENGTH_S)]
            add("street without depth, 20 s", group, part, fragment.bpm, inside)
    for dance in dances:
        for length_s in BALLROOM_LENGTHS_S:
            for clip in cut_clips(piece_of_dance(dance), length_s):
                kind = f"ballroom val, {length_s:g} s"
                group = f"{BALLROOM}:{dance.genre}"
                add(kind, group, clip.poses, clip.bpm, clip.beat_times)
    return clips


def read_held_out(
    clips: Sequence[MovementClip],
    templates: Mapping[str, Float[np.ndarray, " knots"]],
    frame_rate: float,
) -> list[MovementReading]:
    """The likeliest reading of each clip, by a template fitted without its group."""
    return [
        readings_from_encoding(
            clip.encoding, frame_rate, [clip.poses], template=templates.get(clip.group)
        )[0]
        for clip in clips
    ]


@torch.inference_mode()
def smoothed(encoder: PoseEncoder, clip: MovementClip) -> MovementClip:
    """The clip with its joints smoothed by one frame, and encoded again."""
    world = gaussian_filter1d(clip.poses.world, SMOOTHED_FRAMES, axis=0)
    poses = replace(clip.poses, world=world)
    return replace(clip, poses=poses, encoding=encode_poses(encoder, poses))


def score_rows(
    clips: Sequence[MovementClip], readings: Sequence[Sequence[MovementReading]], seed: int = 0
) -> list[MovementRow]:
    """A row for the reader, and for both metronomes, of every set.

    Args:
        clips: What was read.
        readings: Of all clips, once for each deal of the folds.
        seed: Of the random phases.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name in dict.fromkeys(clip.set for clip in clips):
        own = [index for index, clip in enumerate(clips) if clip.set == name]
        chosen = [clips[index] for index in own]
        read = [[deal[index].track.beat_times for index in own] for deal in readings]
        rows.append(_row(name, "movement", chosen, read))
        for row, tempi in (
            ("120 BPM, random phase", [120.0] * len(chosen)),
            ("true tempo, random phase", [clip.bpm for clip in chosen]),
        ):
            draws = [
                [
                    metronome_times(bpm, clip.poses.duration_s, float(rng.random()))
                    for bpm, clip in zip(tempi, chosen, strict=True)
                ]
                for _ in range(RANDOM_DRAWS)
            ]
            rows.append(_row(name, row, chosen, draws))
    return rows


def beat_scores(
    clips: Sequence[MovementClip], beats: Sequence[Times]
) -> Float[np.ndarray, " clips"]:
    """Beat F of each clip of one set, with one constant offset a group where that is free."""
    if not clips or not clips[0].offset_free:
        pairs = zip(clips, beats, strict=True)
        return np.array([beat_f(clip.beat_times, times) for clip, times in pairs])
    table = [
        f_at_offsets(times, clip.bpm, clip.poses.duration_s)
        for clip, times in zip(clips, beats, strict=True)
    ]
    return one_offset_a_genre(np.stack(table), [clip.group for clip in clips])


def certainty_evidence(
    clips: Sequence[MovementClip],
    readings: Sequence[Sequence[MovementReading]],
    *,
    by_encoder: bool,
) -> tuple[Float[np.ndarray, " r"], Bool[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Agreement of all readings of one kind, whether they are right, and their weights.

    Right means beat F of at least ``RIGHT_F``.
    """
    agreement, right, weight = [], [], []
    for name in CALIBRATED_ON:
        own = [index for index, clip in enumerate(clips) if clip.set == name]
        for deal in readings:
            scores = beat_scores(
                [clips[index] for index in own], [deal[index].track.beat_times for index in own]
            )
            for index, score in zip(own, scores, strict=True):
                if deal[index].by_encoder == by_encoder:
                    agreement.append(deal[index].agreement)
                    right.append(bool(score >= RIGHT_F))
                    weight.append(1.0 / len(own))
    return np.array(agreement), np.array(right, bool), np.array(weight)


def fit_certainty(
    agreement: Float[np.ndarray, " clips"],
    right: Bool[np.ndarray, " clips"],
    weight: Float[np.ndarray, " clips"],
) -> tuple[float, float]:
    """Log-odds of being right at agreement 0 and per unit of it: Platt's scaling.

    References:
        Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    share = weight / weight.sum()

    def loss(values: np.ndarray) -> float:
        odds = values[0] + values[1] * agreement
        missed = np.logaddexp(0.0, np.where(right, -odds, odds))
        return float(share @ missed + 0.5 * _RIDGE * (values[1] / 10.0) ** 2)

    found = minimize(loss, np.array([-2.0, 4.0]), bounds=[(-8.0, 4.0), (0.0, 20.0)])
    return float(found.x[0]), float(found.x[1])


def _row(
    name: str, row: str, clips: Sequence[MovementClip], runs: Sequence[Sequence[Times]]
) -> MovementRow:
    """Means over runs, then the clips of a group, then groups."""
    tempi = [[tempo_bpm(times) for times in run] for run in runs]
    strict = [
        [tempo_right(clip.bpm, times) for clip, times in zip(clips, run, strict=True)]
        for run in runs
    ]
    octaves = [
        [tempo_right(clip.bpm, times, OCTAVES) for clip, times in zip(clips, run, strict=True)]
        for run in runs
    ]
    low, high = DANCEABLE_BPM
    return MovementRow(
        set=name,
        row=row,
        clips=len(clips),
        tempo=_by_group(clips, np.mean(strict, axis=0)),
        tempo_octaves=_by_group(clips, np.mean(octaves, axis=0)),
        f=_by_group(clips, np.mean([beat_scores(clips, run) for run in runs], axis=0)),
        danceable=float(np.mean([[low <= bpm <= high for bpm in run] for run in tempi])),
    )


def _by_group(clips: Sequence[MovementClip], values: Float[np.ndarray, " clips"]) -> Cell:
    groups = dict.fromkeys(clip.group for clip in clips)
    means = [
        float(np.mean([v for clip, v in zip(clips, values, strict=True) if clip.group == group]))
        for group in groups
    ]
    return cell_of(means)
