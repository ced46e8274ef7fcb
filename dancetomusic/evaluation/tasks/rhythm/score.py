"""Estimated rhythm scored on a set of clips: every estimator and baseline, clip by clip.

Only ``estimators.py`` knows models; here estimates become scores, and scores means.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from dancetomusic.evaluation.clips import RANDOM_DRAWS, best_offset_by_genre
from dancetomusic.evaluation.report import Cell, mean_cell
from dancetomusic.evaluation.tasks.rhythm.beatless_sounds import beatless_sounds
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    BASELINES,
    HALF_BEAT,
    RANDOM_BASELINES,
    Estimate,
    Estimator,
    baseline_beats,
)
from dancetomusic.evaluation.tasks.rhythm.set import RhythmClip, RhythmSet
from dancetomusic.metrics.beats import WINDOW_LENGTHS_S
from dancetomusic.metrics.bootstrap import known_mean, mean_scores
from dancetomusic.metrics.calibration import CalibrationBin, calibration_curve, calibration_error
from dancetomusic.metrics.rhythm_scores import METRICS, RhythmScores, interval_bpm, score_rhythm
from dancetomusic.rhythm.files import save_beats
from dancetomusic.types import FAIR, SURE, RhythmTrack, Waveform

ONE_CLIP_STYLES = "styles of one clip"
MAX_ONE_CLIP_STYLES = 5
"""Styles of one clip that have a row of their own; more of them share one."""


Estimated: TypeAlias = tuple[RhythmClip, Estimate]


@dataclass(frozen=True)
class ClipResult:
    """The result of one row on one clip.

    Attributes:
        scores: How it did; means over draws for baselines of random phase.
        bpm: Estimated tempo; NaN where it has none.
        certainty: Stated by the estimator; NaN where it states none.
    """

    row: str
    clip: str
    group: str
    style: str
    scores: RhythmScores
    bpm: float = float("nan")
    certainty: float = float("nan")
    source: str = ""
    beats: int = 0


@dataclass(frozen=True)
class RowSummary:
    """Means of one row over groups, with intervals.

    Attributes:
        cells: Metric to its mean over groups.
        over_clips: Mean F over clips.
        certainty: Mean stated certainty; NaN where none is stated.
    """

    cells: dict[str, Cell]
    over_clips: float
    certainty: float
    clips: int


@dataclass(frozen=True)
class Calibration:
    """Certainty of whole clips against the share of them that are right.

    Attributes:
        curve: Clips in order of certainty, cut into equal parts.
        error: Mean distance of certainty from the share right.
        sure: Number of clips with certainty of 0.8 or more.
        sure_right: Share of those with F of 0.9 or more; NaN without any.
        scored: Number of clips.
    """

    curve: list[CalibrationBin]
    error: float
    sure: int
    sure_right: float
    scored: int


@dataclass(frozen=True)
class Refusals:
    """How often an estimator refuses clips whose music has no pulse, and others.

    Attributes:
        beatless: Clips without a pulse.
        refused: Share of them that it calls a guess, or finds no beat in.
        beatless_sure: Share of them of which it is sure.
        scored: Clips with a reference.
        scored_refused: Share of those that it calls a guess.
    """

    beatless: int
    refused: float
    beatless_sure: float
    scored: int
    scored_refused: float


@dataclass(frozen=True)
class BeatlessSound:
    """One kind of synthesised sound without a beat."""

    kind: str
    sounds: int
    sure: int
    highest_certainty: float


@dataclass(frozen=True)
class RhythmFindings:
    """The content of a report on rhythm; plain values.

    Attributes:
        clips: The clips, in order.
        note: What must be said beside their scores.
        results: Row to its results on whole clips, in order of the clips; baselines last.
        lengths: Row, then length in seconds (``None`` for whole), to its means.
        unscored: Row to its results on clips without a reference.
        beatless: How sure the tracker of sound is of synthesised sounds without a beat.
        seconds_per_minute: Row to processor seconds for a minute of its input.
    """

    clips: tuple[RhythmClip, ...]
    note: str
    results: dict[str, list[ClipResult]]
    lengths: dict[str, dict[float | None, RowSummary]]
    unscored: dict[str, list[ClipResult]]
    beatless: list[BeatlessSound]
    seconds_per_minute: dict[str, float]


def evaluate_rhythm(
    rhythm_set: RhythmSet,
    estimators: Mapping[str, Estimator],
    *,
    sound_tracker: Callable[[Waveform, float], Estimate] | None = None,
    windowed: Iterable[str] = (),
    beats_output: Path | None = None,
    written: str | None = None,
    on_done: Callable[[int], None] = lambda total: None,
) -> RhythmFindings:
    """Estimate every clip and score it, beside the baselines.

    Args:
        rhythm_set: What to score on.
        estimators: Name of the row to its estimator.
        sound_tracker: Tracks sounds that have no beat; ``None`` leaves these out.
        windowed: Rows that are scored on stretches too, cut before they are estimated.
        beats_output: Folder for ``ID.csv`` of ``written``.
        written: Row whose beats are written.
        on_done: Called after every clip with the number of clips in all.
    """
    everything = list(rhythm_set.clips)
    estimates: dict[str, list[Estimated]] = {row: [] for row in estimators}
    cuts: dict[str, dict[float, list[Estimated]]] = {
        row: {length: [] for length in WINDOW_LENGTHS_S} for row in windowed
    }
    for clip in everything:
        for row, estimator in estimators.items():
            estimated = _estimated(estimator, [clip])
            estimates[row] += estimated
            if beats_output is not None and row == written and estimated:
                write_beats(beats_output, *estimated[0])
        if clip.scored:
            for row, lengths in cuts.items():
                for length, pairs in lengths.items():
                    pairs += _estimated(estimators[row], clip.windows(length))
        on_done(len(everything))
    scored = [clip for clip in everything if clip.scored]
    results, unscored = (
        {
            row: score_row(row, [pair for pair in pairs if pair[0].scored == has_reference])
            for row, pairs in estimates.items()
        }
        for has_reference in (True, False)
    )
    offset_free = any(len(clip.references) > 1 for clip in everything)
    # Where any constant offset is allowed, the truth half a beat late is the truth.
    baselines = [row for row in BASELINES if not (offset_free and row == HALF_BEAT)]
    results |= {row: score_baseline(row, scored, everything) for row in baselines}
    return RhythmFindings(
        clips=rhythm_set.clips,
        note=rhythm_set.note,
        results=results,
        lengths=_length_rows(cuts, results, scored, baselines),
        unscored=unscored,
        beatless=[] if sound_tracker is None else track_beatless(sound_tracker),
        seconds_per_minute={
            row: _seconds_per_minute(pairs) for row, pairs in estimates.items() if pairs
        },
    )


def _estimated(estimator: Estimator, clips: Iterable[RhythmClip]) -> list[Estimated]:
    """The clips that have what the estimator reads, with its estimates."""
    estimates = ((clip, estimator(clip)) for clip in clips)
    return [(clip, estimate) for clip, estimate in estimates if estimate is not None]


def write_beats(folder: Path, clip: RhythmClip, estimate: Estimate) -> None:
    """Write the beats as ``ID.csv``; positions count from 1 to 4 where none are estimated.

    Raises:
        OutputError: If the file cannot be written.
    """
    times = estimate.beat_times
    positions = estimate.beat_places
    track = RhythmTrack(
        beat_times=times,
        beat_numbers=np.arange(times.size) % 4 + 1 if positions is None else positions,
        energy=np.zeros(0, np.float32),
        energy_rate=1.0,
        duration_s=clip.duration_s,
        source=estimate.source,
        certainty=0.0 if np.isnan(estimate.certainty) else estimate.certainty,
    )
    save_beats(folder / f"{clip.name}.csv", track)


def score_row(row: str, pairs: Sequence[Estimated]) -> list[ClipResult]:
    """Scores of every estimate; where the reference has free offsets, at the best for its style."""
    tables = [
        [_score(clip, estimate, beats) for beats in clip.references] for clip, estimate in pairs
    ]
    clips = [clip for clip, _ in pairs]
    return [
        ClipResult(
            row=row,
            clip=clip.name,
            group=clip.group,
            style=clip.style,
            scores=scores,
            bpm=interval_bpm(estimate.beat_times),
            certainty=estimate.certainty,
            source=estimate.source,
            beats=estimate.beat_times.size,
        )
        for (clip, estimate), scores in zip(pairs, _at_best_offset(clips, tables), strict=True)
    ]


def score_baseline(
    row: str, clips: Sequence[RhythmClip], others: Sequence[RhythmClip]
) -> list[ClipResult]:
    """Scores of a baseline; those of random phase are means over ten samples."""
    rngs = {clip.name: np.random.default_rng([0, *clip.name.encode()]) for clip in clips}
    draws = [
        score_row(
            row,
            [
                (clip, Estimate(baseline_beats(row, clip, others, rngs[clip.name])))
                for clip in clips
            ],
        )
        for _ in range(RANDOM_DRAWS if row in RANDOM_BASELINES else 1)
    ]
    return [
        ClipResult(
            row=row,
            clip=samples[0].clip,
            group=samples[0].group,
            style=samples[0].style,
            scores=mean_scores([result.scores for result in samples]),
        )
        for samples in zip(*draws, strict=True)
    ]


def summarise_row(results: Sequence[ClipResult]) -> RowSummary:
    """Means over the clips of a group, then over groups, with intervals over groups."""
    return RowSummary(
        cells={metric: group_cell(results, metric) for metric in METRICS},
        over_clips=known_mean([result.scores.f for result in results]),
        certainty=known_mean([result.certainty for result in results]),
        clips=len({result.clip for result in results}),
    )


def group_cell(results: Iterable[ClipResult], metric: str) -> Cell:
    """Mean over groups of one metric with its interval; clips where it is NaN are left out."""
    groups: dict[str, list[float]] = defaultdict(list)
    for result in results:
        value = float(getattr(result.scores, metric))
        if not np.isnan(value):
            groups[result.group].append(value)
    return mean_cell(float(np.mean(values)) for values in groups.values())


def calibrate(results: Sequence[ClipResult]) -> Calibration | None:
    """Certainty of whole clips against whether they are right; ``None`` where none is stated."""
    stated = [r for r in results if not np.isnan(r.certainty) and not np.isnan(r.scores.f)]
    if not stated:
        return None
    certainty = np.array([result.certainty for result in stated])
    right = np.array([bool(result.scores.right) for result in stated])
    curve = calibration_curve(certainty, right)
    sure = certainty >= SURE
    return Calibration(
        curve=curve,
        error=calibration_error(curve),
        sure=int(sure.sum()),
        sure_right=float(right[sure].mean()) if sure.any() else float("nan"),
        scored=len(stated),
    )


def count_refusals(findings: RhythmFindings, row: str) -> Refusals | None:
    """How a row treats clips whose music has no pulse; ``None`` where it states no certainty."""
    scored = [r for r in findings.results[row] if not np.isnan(r.certainty)]
    without = {clip.name for clip in findings.clips if not clip.has_pulse}
    beatless = [r for r in findings.unscored.get(row, []) if r.clip in without]
    if not scored:
        return None
    return Refusals(
        beatless=len(beatless),
        refused=known_mean([float(_refuses(result)) for result in beatless]),
        beatless_sure=known_mean(
            [float(not _refuses(r) and r.certainty >= SURE) for r in beatless]
        ),
        scored=len(scored),
        scored_refused=known_mean([float(_refuses(result)) for result in scored]),
    )


def by_style(results: Sequence[ClipResult]) -> dict[str, list[ClipResult]]:
    """Results by style, the largest first; then all but the largest, and the others."""
    styles: dict[str, list[ClipResult]] = defaultdict(list)
    for result in results:
        styles[result.style].append(result)
    if len(styles) < 2:
        return {}
    ordered = sorted(styles.items(), key=lambda item: (-len(item[1]), item[0]))
    largest = ordered[0][0]
    table = {ordered[0][0]: ordered[0][1]}
    table[f"all but {largest}"] = [result for result in results if result.style != largest]
    single = [result for _, own in ordered[1:] if len(own) == 1 for result in own]
    pooled = len(single) > MAX_ONE_CLIP_STYLES
    table |= {style: own for style, own in ordered[1:] if len(own) > 1 or not pooled}
    if pooled and len(single) < len(table[f"all but {largest}"]):
        table[ONE_CLIP_STYLES] = single
    return table


def on_clips(results: Iterable[ClipResult], names: Iterable[str]) -> list[ClipResult]:
    """The results on some clips."""
    wanted = set(names)
    return [result for result in results if result.clip in wanted]


def track_beatless(tracker: Callable[[Waveform, float], Estimate]) -> list[BeatlessSound]:
    """How sure a tracker is of synthesised sounds without a beat, kind by kind."""
    by_kind: dict[str, list[Estimate]] = defaultdict(list)
    for kind, sound in beatless_sounds():
        by_kind[kind].append(tracker(sound, sound.duration_s))
    return [
        BeatlessSound(
            kind=kind,
            sounds=len(estimates),
            sure=sum(estimate.sure for estimate in estimates),
            highest_certainty=max(estimate.certainty for estimate in estimates),
        )
        for kind, estimates in by_kind.items()
    ]


def _refuses(result: ClipResult) -> bool:
    return result.beats == 0 or result.certainty < FAIR


def _score(
    clip: RhythmClip, estimate: Estimate, reference: Float[np.ndarray, " beats"]
) -> RhythmScores:
    return score_rhythm(
        reference,
        estimate.beat_times,
        bpm=clip.bpm if len(clip.references) > 1 else None,
        bar_times=clip.bar_times,
        bar_places=clip.bar_places,
        estimated_places=estimate.beat_places,
    )


def _at_best_offset(
    clips: Sequence[RhythmClip], tables: Sequence[Sequence[RhythmScores]]
) -> list[RhythmScores]:
    """One score per clip; with free offsets, F at the offset that suits the clips of its style."""
    if not tables or len(tables[0]) == 1:
        return [table[0] for table in tables]
    nan = float("nan")
    unknown = {"f": nan, "f_any_level": nan, "offset_ms": nan, "offset_abs_ms": nan, "bars": nan}
    scores = [replace(table[0], **unknown) for table in tables]
    phased = [k for k, clip in enumerate(clips) if clip.beat_times.size]
    styles = [clips[k].style for k in phased]
    for metric in ("f", "f_any_level") if phased else ():
        values = np.array([[getattr(each, metric) for each in tables[k]] for k in phased])
        for k, value in zip(phased, best_offset_by_genre(values, styles), strict=True):
            scores[k] = replace(scores[k], **{metric: float(value)})
    return scores


def _length_rows(
    cuts: Mapping[str, Mapping[float, Sequence[Estimated]]],
    results: Mapping[str, Sequence[ClipResult]],
    scored: Sequence[RhythmClip],
    baselines: Sequence[str],
) -> dict[str, dict[float | None, RowSummary]]:
    """Means by length of stretch for the windowed rows, and for baselines on the same stretches."""
    if not cuts:
        return {}
    table: dict[str, dict[float | None, RowSummary]] = {}
    for row, lengths in cuts.items():
        table[row] = {length: summarise_row(score_row(row, own)) for length, own in lengths.items()}
    windows = {
        length: [w for c in scored for w in c.windows(length)] for length in WINDOW_LENGTHS_S
    }
    for row in baselines:
        table[row] = {
            length: summarise_row(score_baseline(row, own, scored))
            for length, own in windows.items()
        }
    for row, cells in table.items():
        cells[None] = summarise_row(results[row])
    return table


def _seconds_per_minute(pairs: Sequence[Estimated]) -> float:
    minutes = sum(clip.duration_s for clip, _ in pairs) / 60.0
    return sum(estimate.compute_s for _, estimate in pairs) / minutes
