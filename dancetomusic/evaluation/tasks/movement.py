"""Movement alone, scored on dances of groups that its tempo template was not fitted to.

Every clip is read with a template from which its group (a dancer or a song, a street genre, a
ballroom genre) was left out; how groups are assigned to folds is drawn several times. The pose
encoder has seen no real clip and no street dance, but the ballroom dances of ``val`` share
captures with those it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from dancetomusic.data.dance import Dance
from dancetomusic.data.street import StreetClip, load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import WildClip, load_wild, trusted_clips
from dancetomusic.evaluation.clips import (
    METRONOME,
    TRUE_TEMPO,
    MovementClip,
    cut_clips,
    offset_free_f,
    steady_draws,
    tempo_shares,
)
from dancetomusic.evaluation.pieces import QUALITIES, piece_of_dance
from dancetomusic.evaluation.report import cell_text, mean_cell, table
from dancetomusic.metrics.beats import (
    OCTAVES,
    WINDOW_LENGTHS_S,
    Times,
    beat_f,
    slice_beats,
    tempo_bpm,
    tempo_matches,
)
from dancetomusic.metrics.rhythm_scores import RIGHT_F
from dancetomusic.models.encoders import load_encoder
from dancetomusic.models.pose_encoder.movement_rhythm import (
    CERTAINTY_NETWORK,
    CERTAINTY_POOLED,
    MovementReading,
    readings_from_encoding,
)
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding, encode_poses
from dancetomusic.models.pose_encoder.tempo_fit import (
    BALLROOM,
    held_out_templates,
    make_examples,
    street_group,
    street_poses,
    tempo_sources,
    wild_group,
)
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.types import FAIR, SURE, PoseSequence

REAL_CLIPS = "real clips"
TITLES = ("set", "row", "clips", "tempo", "octaves allowed", "beat F", "85-150 BPM")
SMOOTHED_FRAMES = 1.0
DANCEABLE_BPM = (85.0, 150.0)
STREET_LENGTH_S = 20.0
CALIBRATED_ON = (REAL_CLIPS, "ballroom val, 5 s", "ballroom val, 10 s")
"""Sets that certainty is fitted to, each with the same weight: those whose phase is known. Street
fragments are not among them: with their offset left free, more would seem right than are."""

CERTAINTY_EDGES = (0.0, 0.1, 0.25, FAIR, SURE, 1.001)
_RIDGE = 0.02  # on the slope of the calibration


@dataclass(frozen=True)
class EncodedClip:
    """A clip to read.

    Attributes:
        group: What is held out together, and what means are taken over first.
        offset_free: Whether the beats may be late by one constant part of a beat per group.
    """

    set: str
    group: str
    clip: MovementClip
    offset_free: bool
    encoding: PoseEncoding


@torch.inference_mode()
def encoded_clips(
    encoder: PoseEncoder,
    wild: Sequence[WildClip],
    street: Sequence[StreetClip],
    dances: Sequence[Dance],
) -> list[EncodedClip]:
    """Everything that is scored, encoded once.

    Trusted real clips and street fragments whole, street dance without depth in pieces of 20 s,
    ballroom dances in pieces of 5, 10 and 20 s.
    """
    sources = (*_real_clips(wild), *_street_clips(street), *_ballroom_clips(dances))
    return [
        EncodedClip(name, group, clip, name.startswith("street"), encode_poses(encoder, clip.poses))
        for name, group, clip in sources
    ]


def _real_clips(wild: Sequence[WildClip]) -> Iterator[tuple[str, str, MovementClip]]:
    for real in trusted_clips(wild):
        if real.poses is not None:
            group = wild_group(real)
            yield (
                REAL_CLIPS,
                group,
                MovementClip(real.id, group, real.style, real.poses, real.beat_times, real.bpm),
            )


def _street_clips(street: Sequence[StreetClip]) -> Iterator[tuple[str, str, MovementClip]]:
    for fragment in street:
        poses, group = street_poses(fragment), street_group(fragment)
        if not fragment.beat_times.size:
            continue
        name, genre = fragment.name, fragment.genre
        whole = MovementClip(name, name, genre, poses, fragment.beat_times, fragment.bpm)
        if not fragment.flat:
            yield "street, about 10 s", group, whole
            continue
        n_frames = round(STREET_LENGTH_S * poses.fps)
        for first in range(0, len(poses) - n_frames + 1, n_frames):
            start_s = first / poses.fps
            part = replace(
                whole,
                poses=cut_poses(poses, slice(first, first + n_frames)),
                beat_times=slice_beats(fragment.beat_times, start_s, start_s + STREET_LENGTH_S),
            )
            yield "street without depth, 20 s", group, part


def _ballroom_clips(dances: Sequence[Dance]) -> Iterator[tuple[str, str, MovementClip]]:
    for dance in dances:
        for length_s in WINDOW_LENGTHS_S:
            for clip in cut_clips(piece_of_dance(dance), length_s):
                yield f"ballroom val, {length_s:g} s", f"{BALLROOM}:{dance.genre}", clip


def read_held_out(
    clips: Sequence[EncodedClip],
    templates: Mapping[str, Float[np.ndarray, " knots"]],
    frame_rate: float,
) -> list[MovementReading]:
    """The most probable reading of each clip, by a template fitted without its group."""
    return [
        readings_from_encoding(
            each.encoding, frame_rate, [each.clip.poses], template=templates.get(each.group)
        )[0]
        for each in clips
    ]


@torch.inference_mode()
def smoothed(encoder: PoseEncoder, each: EncodedClip) -> EncodedClip:
    """The clip with its joints smoothed by one frame, and encoded again."""
    world = gaussian_filter1d(each.clip.poses.world, SMOOTHED_FRAMES, axis=0)
    poses: PoseSequence = replace(each.clip.poses, world=world)
    clip = replace(each.clip, poses=poses)
    return replace(each, clip=clip, encoding=encode_poses(encoder, poses))


def score_rows(
    clips: Sequence[EncodedClip], readings: Sequence[Sequence[MovementReading]]
) -> list[list[str]]:
    """Table rows for the estimates from movement, and for both metronomes, of every set.

    ``readings`` are of all clips, once for each assignment of groups to folds.
    """
    rng = np.random.default_rng(0)
    rows = []
    for name in dict.fromkeys(each.set for each in clips):
        own = [index for index, each in enumerate(clips) if each.set == name]
        chosen = [clips[index] for index in own]
        read = [[deal[index].track.beat_times for index in own] for deal in readings]
        rows.append(_row(name, "movement", chosen, read))
        movements = [each.clip for each in chosen]
        for row, tempi in (
            (f"{METRONOME}, random phase", [120.0] * len(chosen)),
            (TRUE_TEMPO, [clip.bpm for clip in movements]),
        ):
            rows.append(_row(name, row, chosen, steady_draws(tempi, movements, rng)))
    return rows


def beat_scores(
    clips: Sequence[EncodedClip], beats: Sequence[Times]
) -> Float[np.ndarray, " clips"]:
    """Beat F of each clip of one set, with one constant offset a group where that is free."""
    movements = [each.clip for each in clips]
    if clips and clips[0].offset_free:
        return offset_free_f(movements, beats, [each.group for each in clips])
    pairs = zip(movements, beats, strict=True)
    return np.array([beat_f(clip.beat_times, times) for clip, times in pairs])


def certainty_evidence(
    clips: Sequence[EncodedClip],
    readings: Sequence[Sequence[MovementReading]],
    *,
    by_encoder: bool,
) -> tuple[Float[np.ndarray, " r"], Bool[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Agreement of all readings of one kind, whether they are right, and their weights.

    Right means beat F of at least ``RIGHT_F``.

    ``readings`` are as for :func:`score_rows`; with ``by_encoder`` those count whose phase is the
    encoder's, else those whose phase is pooled.
    """
    found = []
    for name in CALIBRATED_ON:
        own = [index for index, each in enumerate(clips) if each.set == name]
        for deal in readings:
            read = [deal[index] for index in own]
            scores = beat_scores(
                [clips[index] for index in own], [reading.track.beat_times for reading in read]
            )
            found += [
                (reading.agreement, score >= RIGHT_F, 1.0 / len(own))
                for reading, score in zip(read, scores, strict=True)
                if reading.by_encoder == by_encoder
            ]
    agreement, right, weight = np.array(found, np.float64).reshape(-1, 3).T
    return agreement, right.astype(bool), weight


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
    name: str, row: str, clips: Sequence[EncodedClip], runs: Sequence[Sequence[Times]]
) -> list[str]:
    """Means over runs, then the clips of a group, then groups, of every column of ``TITLES``."""
    movements = [each.clip for each in clips]
    groups = np.array([each.group for each in clips])
    texts = []
    for values in (
        tempo_shares(movements, runs),
        tempo_shares(movements, runs, OCTAVES),
        np.mean([beat_scores(clips, run) for run in runs], axis=0),
    ):
        cell = mean_cell(values[groups == group].mean() for group in dict.fromkeys(groups))
        texts.append(cell_text(cell))
    low, high = DANCEABLE_BPM
    danceable = np.mean([[low <= tempo_bpm(times) <= high for times in run] for run in runs])
    return [name, row, str(len(clips)), *texts, f"{danceable:.2f}"]


def evaluate(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with beats and poses.")],
    street: Annotated[Path, typer.Argument(help="Folder of street dance fragments.")],
    dances: Annotated[Path, typer.Argument(help="Folder of Tang et al.'s dances.")],
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="Whose encoder.")] = "pose2audio",
    deals: Annotated[
        int, typer.Option("--deals", min=1, help="Ways to assign groups to folds.")
    ] = 3,
) -> None:
    """Print a table with baselines, how far smoothing changes tempi, and the calibration."""
    torch.set_num_threads(1)
    encoder = load_encoder(checkpoint)
    rate = encoder.config.frame_rate
    real, fragments = load_wild(wild), load_street(street)
    examples = make_examples(tempo_sources(real, fragments, load_dances(dances, split="train")))
    templates = [held_out_templates(examples, seed=1 + deal) for deal in range(deals)]
    val = load_dances(dances, split="val", qualities=QUALITIES)
    clips = encoded_clips(encoder, real, fragments, val)
    readings = [read_held_out(clips, own, rate) for own in templates]
    print("\n".join(table(TITLES, score_rows(clips, readings))))
    _print_smoothing(encoder, clips, readings[0], templates[0])
    for kind, by_encoder, shipped in (
        ("encoder", True, CERTAINTY_NETWORK),
        ("pooled", False, CERTAINTY_POOLED),
    ):
        _print_calibration(
            kind, shipped, *certainty_evidence(clips, readings, by_encoder=by_encoder)
        )


def _print_smoothing(
    encoder: PoseEncoder,
    clips: Sequence[EncodedClip],
    readings: Sequence[MovementReading],
    templates: Mapping[str, Float[np.ndarray, " knots"]],
) -> None:
    real = [
        (each, reading)
        for each, reading in zip(clips, readings, strict=True)
        if each.set == REAL_CLIPS
    ]
    smooth = read_held_out(
        [smoothed(encoder, each) for each, _ in real], templates, encoder.config.frame_rate
    )
    changed = [
        not tempo_matches(after.track.bpm / before.track.bpm)
        for (_, before), after in zip(real, smooth, strict=True)
    ]
    print(f"smoothed by one frame, tempo changes by > 4 %: {np.mean(changed):.2f}")


def _print_calibration(
    kind: str,
    shipped: tuple[float, float],
    agreement: Float[np.ndarray, " r"],
    right: Bool[np.ndarray, " r"],
    weight: Float[np.ndarray, " r"],
) -> None:
    """The fitted calibration, and what the shipped one says of the same readings."""
    fitted = fit_certainty(agreement, right, weight)
    print(f"{kind}: certainty fitted ({fitted[0]:.2f}, {fitted[1]:.2f})")
    certainty = 1.0 / (1.0 + np.exp(-shipped[0] - shipped[1] * agreement))
    for low, high in pairwise(CERTAINTY_EDGES):
        inside = (certainty >= low) & (certainty < high)
        if inside.any():
            share = np.average(right[inside], weights=weight[inside])
            print(
                f"  certainty {low:.2f}-{min(high, 1.0):.2f}: {inside.sum()} readings, "
                f"beat F >= {RIGHT_F} in {share:.2f}"
            )
