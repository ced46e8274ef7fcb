"""Clips of dances that an encoder has not seen, and scores of the beats estimated from them.

Dances share takes: a row of figures danced in one is often the very same capture in another.
Clips of held-out figures are therefore counted once for the same figures in the same order, in
the first dance that has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from dancetomusic.data.dance import Dance
from dancetomusic.data.figures import figure_span
from dancetomusic.data.street import StreetClip
from dancetomusic.evaluation.clips import (
    METRONOME,
    SPEED_MINIMA,
    TRUE_TEMPO,
    MovementClip,
    baseline_estimators,
    cut_clips,
    draws_of,
    offset_free_f,
    speed_minima,
    steady_draws,
    tempo_shares,
)
from dancetomusic.evaluation.pieces import Song, figure_stretches, piece_of_dance
from dancetomusic.evaluation.report import Cell, mean_cell
from dancetomusic.metrics.beats import OCTAVES, Times, beat_f, tempo_bpm, tempo_matches
from dancetomusic.metrics.calibration import beats_right
from dancetomusic.types import PoseSequence

SHORTEST_PART_S = 0.3
"""A figure that fills less of a clip does not make it another movement."""

WITH_DEPTH = "with depth"


@dataclass(frozen=True)
class Reading:
    """Estimated beats of a clip, in seconds, and the confidence of each; none where unknown."""

    beat_times: Times
    confidence: Times


@dataclass(frozen=True)
class ClipScore:
    """How one reading of a clip did.

    Attributes:
        tempo: 1 if the tempo is within 4 %, else 0; a mean over draws in between.
        confidence: Of each estimated beat.
        right: Whether it lies at an annotated one.
        beat_times: Annotated beats, in seconds from the start of the clip.
        found: Which of them were estimated.
    """

    dance: str
    name: str
    f: float
    tempo: float
    confidence: Float[np.ndarray, " beats"]
    right: Bool[np.ndarray, " beats"]
    beat_times: Float[np.ndarray, " annotated"]
    found: Bool[np.ndarray, " annotated"]


@dataclass(frozen=True)
class Pooled:
    """Scores of many clips, dance by dance."""

    f: Cell
    tempo: Cell
    clips: int


@dataclass(frozen=True)
class StreetRow:
    """A row of the street table; the lead is over true tempo with random phase."""

    clips: str
    row: str
    seeds: int
    tempo: Cell
    f: Cell
    lead: Cell


Reader = Callable[[PoseSequence], Reading]


def dance_clips(
    dances: Iterable[Dance], length_s: float | None, speeds: Sequence[float] = (1.0,)
) -> list[MovementClip]:
    """Clips side by side of whole dances, at every speed; ``None`` for the whole dance."""
    return [
        clip
        for dance in dances
        for speed in speeds
        for clip in cut_clips(piece_of_dance(dance), length_s, speed=speed)
    ]


def held_out_clips(
    dances: Sequence[Dance], block: str, length_s: float, speeds: Sequence[float] = (1.0,)
) -> list[MovementClip]:
    """Clips side by side from the start of every stretch of a block's figures, each once.

    An incomplete last clip is left out; stretches are played ``speeds`` times as fast.

    Raises:
        InputError: If there is no such block.
    """
    by_name = {dance.dance_id: dance for dance in dances}
    stretches = figure_stretches(dances, block, min_s=0.0)
    clips: list[MovementClip] = []
    for speed in speeds:
        counted: set[tuple[str, ...]] = set()
        taken_s = length_s * speed
        for stretch in stretches:
            for index, clip in enumerate(cut_clips(stretch, length_s, speed=speed)):
                first_s = stretch.start_s + index * taken_s
                figures = figures_between(by_name[stretch.dance], first_s, first_s + taken_s)
                if figures not in counted:
                    counted.add(figures)
                    clips.append(replace(clip, name=f"{block} {clip.name}"))
    return clips


def figures_between(dance: Dance, start_s: float, end_s: float) -> tuple[str, ...]:
    """Names of the figures danced for more than 0.3 s of a stretch, in order."""
    spans = [(figure.name, *figure_span(dance, figure)) for figure in dance.figures]
    return tuple(
        name
        for name, first, last in spans
        if min(last, end_s) - max(first, start_s) > SHORTEST_PART_S
    )


def score_clips(reader: Reader, clips: Iterable[MovementClip]) -> list[ClipScore]:
    """Estimate the beats of every clip and score them."""
    return [_score(clip, [reader(clip.poses)]) for clip in clips]


def score_baselines(
    songs: Sequence[Song], clips: Sequence[MovementClip]
) -> dict[str, list[ClipScore]]:
    """Scores of the baselines; those of random phase are sampled ten times.

    A genre's mean tempo comes from ``songs``; a clip's own is left out.
    """
    scores: dict[str, list[ClipScore]] = {row: [] for row in baseline_estimators(songs)}
    estimators = {
        dance: baseline_estimators([song for song in songs if song.dance != dance])
        for dance in {clip.dance for clip in clips}
    }
    for clip in clips:
        rng = np.random.default_rng(list(clip.name.encode()))
        for row, estimator in estimators[clip.dance].items():
            times = [estimator(clip, rng) for _ in range(draws_of(row))]
            scores[row].append(_score(clip, [Reading(found, np.zeros(0)) for found in times]))
    return scores


def pool(scores: Iterable[ClipScore]) -> Pooled:
    """Means over the readings of a clip, then the clips of a dance, then dances."""
    scores = list(scores)
    return Pooled(
        f=mean_cell(per_dance(scores, lambda score: score.f).values()),
        tempo=mean_cell(per_dance(scores, lambda score: score.tempo).values()),
        clips=len({score.name for score in scores}),
    )


def per_dance(scores: Iterable[ClipScore], value: Callable[[ClipScore], float]) -> dict[str, float]:
    """Mean value of each dance; a clip scored more often than others counts as much as they."""
    clips: dict[tuple[str, str], list[float]] = defaultdict(list)
    for score in scores:
        clips[score.dance, score.name].append(value(score))
    dances: dict[str, list[float]] = defaultdict(list)
    for (dance, _), values in clips.items():
        dances[dance].append(float(np.mean(values)))
    return {dance: float(np.mean(values)) for dance, values in dances.items()}


def score_street(
    street: Sequence[StreetClip], estimated: Mapping[str, Sequence[Sequence[Times]]]
) -> list[StreetRow]:
    """Rows of the street table.

    ``estimated`` holds, by reading, for each run, the beats of every clip.
    """
    rows = []
    for name, chosen in {
        WITH_DEPTH: [not clip.flat for clip in street],
        "with depth, tempo and grid certain": [
            not clip.flat and clip.beat_times.size > 0 for clip in street
        ],
        "without depth": [clip.flat for clip in street],
    }.items():
        own = [index for index, inside in enumerate(chosen) if inside]
        if own:
            clips = [street[index] for index in own]
            readings = {
                reading: [[beats[index] for index in own] for beats in runs]
                for reading, runs in estimated.items()
            }
            rows += _street_rows(name, clips, readings)
    return rows


def join(parts: Iterable[Mapping[str, Sequence[ClipScore]]]) -> dict[str, list[ClipScore]]:
    """Scores of several runs, by kind of clip."""
    joined: dict[str, list[ClipScore]] = defaultdict(list)
    for part in parts:
        for kind, scores in part.items():
            joined[kind] += scores
    return dict(joined)


def _street_rows(
    name: str, clips: Sequence[StreetClip], estimated: Mapping[str, Sequence[Sequence[Times]]]
) -> list[StreetRow]:
    """Rows for some clips; beat F is of those whose phase is known."""
    phased = [index for index, clip in enumerate(clips) if clip.beat_times.size]
    known = [clips[index] for index in phased]
    rng = np.random.default_rng(0)

    def offset_free(runs: Sequence[Sequence[Times]]) -> Float[np.ndarray, " clips"]:
        if not known:
            return np.zeros(0)
        values = [
            offset_free_f(known, [run[index] for index in phased], [clip.genre for clip in known])
            for run in runs
        ]
        return np.asarray(np.mean(values, axis=0), np.float64)

    true = steady_draws([clip.bpm for clip in clips], clips, rng)
    chance = offset_free(true)
    rows: list[tuple[str, int, Sequence[Sequence[Times]]]] = []
    for reading, runs in estimated.items():
        rows.append((reading, len(runs), runs))
        shifted = [
            beats for run in runs for beats in steady_draws(list(map(tempo_bpm, run)), clips, rng)
        ]
        rows.append((f"tempo of {reading}, random phase", len(runs), shifted))
    rows += [
        (TRUE_TEMPO, 0, true),
        (SPEED_MINIMA, 0, [[speed_minima(clip.poses) for clip in clips]]),
        (METRONOME, 0, steady_draws([120.0] * len(clips), clips, rng)),
    ]
    table = []
    for row, seeds, runs in rows:
        f, tempo = offset_free(runs), mean_cell(tempo_shares(clips, runs, OCTAVES))
        table.append(StreetRow(name, row, seeds, tempo, mean_cell(f), mean_cell(f - chance)))
    return table


def _score(clip: MovementClip, readings: Sequence[Reading]) -> ClipScore:
    """Mean over the readings; confidence is that of the first."""
    first = readings[0]
    stated = first.confidence.size > 0
    return ClipScore(
        dance=clip.dance,
        name=clip.name,
        f=float(np.mean([beat_f(clip.beat_times, reading.beat_times) for reading in readings])),
        tempo=float(
            np.mean([tempo_matches(tempo_bpm(each.beat_times) / clip.bpm) for each in readings])
        ),
        confidence=first.confidence,
        right=beats_right(clip.beat_times, first.beat_times) if stated else np.zeros(0, bool),
        beat_times=clip.beat_times,
        found=beats_right(first.beat_times, clip.beat_times),
    )
