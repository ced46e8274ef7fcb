"""Beats found in a sound, scored against annotated beats.

Beat times are increasing, in seconds from the start of the piece. A piece is tracked whole
and then cut into windows, since a tracker needs context. No beat is dropped at the start
of a window: ``mir_eval.beat.evaluate`` would drop the first five seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from dancetomusic.metrics.bootstrap import mean_scores
from dancetomusic.types import Waveform

Times: TypeAlias = Float[np.ndarray, " _beats"]  # lengths may differ within one call

BEAT_TOLERANCE_S = 0.07
TEMPO_TOLERANCE = 0.04
TEMPO_SPAN_BEATS = 8
OCTAVES = (1.0, 2.0, 0.5)
"""Tempo ratios that count as right where half and double tempo are allowed."""

OCTAVES_AND_TRIPLES = (*OCTAVES, 3.0, 1.0 / 3.0)
WINDOW_LENGTHS_S = (5.0, 10.0, 20.0)


@dataclass(frozen=True)
class BeatScores:
    """Scores of one piece or window; shares in [0, 1].

    Attributes:
        f: F-measure at ±70 ms; 0 when either side has no beat.
        cmlt: Share of beats in continuous correct stretches at the annotated level.
        tempo: 1 if the tempo is within 4 %, else 0; a mean is a share.
        tempo_octave: The same, two or three times faster or slower allowed.
        tempo_error: Relative tempo error, ≥ 0; NaN below two beats.
    """

    f: float
    cmlt: float
    tempo: float
    tempo_octave: float
    tempo_error: float


def track_beats(waveform: Waveform) -> Times:
    """Beat times of a whole sound by dynamic programming over onset strength.

    Independent of everything the models learned from. Needs the extra ``evaluate``.

    References:
        Ellis, "Beat tracking by dynamic programming", 2007.
    """
    import librosa

    mono = waveform.to_mono().samples[0]
    if not mono.any():
        return np.zeros(0)
    _, times = librosa.beat.beat_track(y=mono, sr=waveform.sample_rate, units="time", trim=False)
    return np.asarray(times, dtype=np.float64)


def beat_f(reference: Times, estimated: Times) -> float:
    """F-measure of beats matched within ±70 ms, in [0, 1].

    References:
        Davies et al., "Evaluation methods for musical audio beat tracking", 2009.
    """
    import mir_eval

    if reference.size == 0 or estimated.size == 0:
        return 0.0
    score = mir_eval.beat.f_measure(reference, estimated, f_measure_threshold=BEAT_TOLERANCE_S)
    return float(score)


def cmlt(reference: Times, estimated: Times) -> float:
    """Continuity at the annotated metrical level, total, in [0, 1]; 0 below two beats.

    References:
        Hainsworth, "Techniques for the automated analysis of musical audio", 2004.
    """
    import mir_eval

    if reference.size < 2 or estimated.size < 2:
        return 0.0
    return float(mir_eval.beat.continuity(reference, estimated)[1])


def tempo_bpm(times: Times) -> float:
    """Tempo in beats a minute; NaN below two beats.

    From the median span of eight beats (of all, if there are fewer): a tracker's single
    intervals are multiples of its hop, which is 4 % at 120 BPM.
    """
    span = min(TEMPO_SPAN_BEATS, times.size - 1)
    if span < 1:
        return float("nan")
    return float(60.0 * span / np.median(times[span:] - times[:-span]))


def tempo_ratio(reference: Times, estimated: Times) -> float:
    """Estimated over reference tempo; 1 is right, NaN below two beats on a side."""
    return tempo_bpm(estimated) / tempo_bpm(reference)


def tempo_matches(ratio: float, multiples: Sequence[float] = (1.0,)) -> bool:
    """Whether a tempo ratio is within 4 % of one of ``multiples``; NaN never is."""
    return any(abs(ratio / multiple - 1.0) <= TEMPO_TOLERANCE for multiple in multiples)


def score_beats(reference: Times, estimated: Times) -> BeatScores:
    """All scores of one piece or window."""
    ratio = tempo_ratio(reference, estimated)
    return BeatScores(
        f=beat_f(reference, estimated),
        cmlt=cmlt(reference, estimated),
        tempo=float(tempo_matches(ratio)),
        tempo_octave=float(tempo_matches(ratio, OCTAVES_AND_TRIPLES)),
        tempo_error=abs(ratio - 1.0),
    )


def slice_beats(times: Times, start_s: float, end_s: float) -> Times:
    """Beats in [``start_s``, ``end_s``), counted from ``start_s``."""
    return times[(times >= start_s) & (times < end_s)] - start_s


def score_windows(
    reference: Times, estimated: Times, duration_s: float, length_s: float | None = None
) -> BeatScores:
    """Mean scores over the windows of one piece, side by side from its start.

    An incomplete last window is left out; where ``length_s`` is ``None``, or longer than the piece,
    the one window is the whole piece.
    """
    if length_s is None or length_s > duration_s:
        return score_beats(reference, estimated)
    starts = np.arange(int(duration_s / length_s)) * length_s
    scores = [
        score_beats(
            slice_beats(reference, start, start + length_s),
            slice_beats(estimated, start, start + length_s),
        )
        for start in starts
    ]
    return mean_scores(scores)
