"""Estimated beats against the beats of a dance's music: right, at another level, early or late.

Beat times are increasing, in seconds from the start of the clip. No beat is dropped at the start
of a clip: ``mir_eval.beat.evaluate`` would drop the first five seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from dancetomusic.metrics.beats import BEAT_TOLERANCE_S, OCTAVES, Times, beat_f, tempo_matches

RIGHT_F = 0.9
"""F-measure from which the beats of a clip count as right."""

RIGHT_BARS = 0.8
"""Share of matched beats that must agree in their position in the bar."""


@dataclass(frozen=True)
class RhythmScores:
    """How the beats of one clip were estimated; NaN where something cannot be measured.

    Attributes:
        f: F-measure at ±70 ms; 0 below two beats on a side.
        f_any_level: The highest F-measure against the reference, its double, and either half.
        tempo: 1 if the tempo is within 4 %, else 0; a mean is a share.
        tempo_octave: The same, half and double allowed.
        offset_ms: Median of estimated minus annotated time over matched beats; positive is late.
        offset_abs_ms: Median distance over matched beats.
        bars: 1 if four in five of the matched beats have the annotated position in the bar, else 0.
    """

    f: float
    f_any_level: float
    tempo: float
    tempo_octave: float
    offset_ms: float
    offset_abs_ms: float
    bars: float

    @property
    def right(self) -> float:
        """1 if the F-measure is at least 0.9, else 0."""
        return float(self.f >= RIGHT_F)


METRICS = tuple(RhythmScores.__dataclass_fields__)


def f_measure(reference: Times, estimated: Times) -> float:
    """F-measure at ±70 ms; 0 where a side has fewer than two beats.

    References:
        Davies et al., "Evaluation methods for musical audio beat tracking", 2009.
    """
    if reference.size < 2 or estimated.size < 2:
        return 0.0
    return beat_f(reference, estimated)


def metrical_levels(beats: Times) -> list[Times]:
    """The beats, twice as many, and either half of them.

    Example:
        >>> [level.tolist() for level in metrical_levels(np.array([0.0, 1.0, 2.0]))]
        [[0.0, 1.0, 2.0], [0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 2.0], [1.0]]
    """
    between = (beats[1:] + beats[:-1]) / 2.0
    return [beats, np.sort(np.concatenate([beats, between])), beats[::2], beats[1::2]]


def interval_bpm(beats: Times) -> float:
    """Tempo from the median beat interval, in beats a minute; NaN below two beats."""
    return float(60.0 / np.median(np.diff(beats))) if beats.size > 1 else float("nan")


def matched_beats(reference: Times, estimated: Times) -> Int[np.ndarray, "matches 2"]:
    """Indices of annotated and estimated beats that match one to one within ±70 ms.

    The matching is the one behind the F-measure: as many pairs as possible.
    """
    import mir_eval

    if reference.size == 0 or estimated.size == 0:
        return np.zeros((0, 2), np.int64)
    pairs = mir_eval.util.match_events(reference, estimated, BEAT_TOLERANCE_S)
    return np.array(pairs, np.int64).reshape(-1, 2)


def bar_share(
    bar_times: Times,
    bar_places: Int[np.ndarray, " _placed"],
    estimated: Times,
    estimated_places: Int[np.ndarray, " _estimated"],
) -> float:
    """Share of matched beats whose position in the bar agrees; NaN where none is annotated.

    0 where no beat matches: a position at a wrong time is wrong.
    """
    if bar_times.size == 0:
        return float("nan")
    pairs = matched_beats(bar_times, estimated)
    if not len(pairs):
        return 0.0
    return float(np.mean(bar_places[pairs[:, 0]] == estimated_places[pairs[:, 1]]))


def score_rhythm(
    reference: Times,
    estimated: Times,
    *,
    bpm: float | None = None,
    bar_times: Times | None = None,
    bar_places: Int[np.ndarray, " _placed"] | None = None,
    estimated_places: Int[np.ndarray, " _estimated"] | None = None,
) -> RhythmScores:
    """All scores of one clip.

    Without ``reference`` beats only the tempo is scored, which is theirs by default. Estimated
    beats outside the clip are taken out before.
    """
    nan = float("nan")
    reference_bpm = interval_bpm(reference) if bpm is None else bpm
    # Below three beats there is one interval, and no median to speak of.
    ratio = interval_bpm(estimated) / reference_bpm if estimated.size > 2 else 0.0
    tempo, tempo_octave = float(tempo_matches(ratio)), float(tempo_matches(ratio, OCTAVES))
    if reference.size == 0:
        return RhythmScores(nan, nan, tempo, tempo_octave, nan, nan, nan)
    pairs = matched_beats(reference, estimated)
    errors_ms = 1000.0 * (estimated[pairs[:, 1]] - reference[pairs[:, 0]])
    bars = nan
    if bar_times is not None and bar_places is not None and estimated_places is not None:
        share = bar_share(bar_times, bar_places, estimated, estimated_places)
        bars = share if np.isnan(share) else float(share >= RIGHT_BARS)
    return RhythmScores(
        f=f_measure(reference, estimated),
        f_any_level=max(f_measure(level, estimated) for level in metrical_levels(reference)),
        tempo=tempo,
        tempo_octave=tempo_octave,
        offset_ms=float(np.median(errors_ms)) if errors_ms.size else nan,
        offset_abs_ms=float(np.median(np.abs(errors_ms))) if errors_ms.size else nan,
        bars=bars,
    )
