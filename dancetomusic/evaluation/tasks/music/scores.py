"""Every score of one sound for one dance, and what each column of the report is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Int

from dancetomusic.evaluation import sound_scores
from dancetomusic.evaluation.pieces import SAMPLE_RATE
from dancetomusic.evaluation.sound_scores import Grid, Measured, measure_sound
from dancetomusic.io.audio import resample
from dancetomusic.metrics.bar_similarity import self_similarity
from dancetomusic.metrics.beat_evidence import beat_evidence
from dancetomusic.metrics.beats import (
    WINDOW_LENGTHS_S,
    Times,
    score_windows,
    tempo_ratio,
    track_beats,
)
from dancetomusic.metrics.downbeat_accent import BASS_LIMIT_HZ, downbeat_accent_db
from dancetomusic.metrics.drum_balance import drum_balance, register_onset_times
from dancetomusic.metrics.energy_fit import energy_correlation, loudness_db, quantity_of_motion
from dancetomusic.metrics.legacy import (
    beat_alignment,
    coverage_scores,
    motion_beat_coverage,
    onset_seconds,
)
from dancetomusic.metrics.onsets import detect_onsets, onset_f1
from dancetomusic.metrics.sound_faults import find_faults
from dancetomusic.types import Waveform

Scores: TypeAlias = dict[str, float]
"""Column to value; NaN where it could not be measured."""

NEAR_TEMPO = 0.02
"""How near to its grid a sound's tempo must be."""

TIME_COLUMNS = {
    **{f"f_{length:.0f}s": f"beat F {length:.0f} s" for length in WINDOW_LENGTHS_S},
    "f": "beat F whole",
    "cmlt": "CMLt whole",
    "tempo": "tempo 4 %",
    "tempo_octave": "tempo, octaves",
    "tempo_error": "tempo error",
    "onset_f1": "onset F1",
    "evidence": "beat evidence",
}
GROOVE_COLUMNS = {
    "grid_tempo": "tempo within 2 % of its grid's",
    "density": "onsets/s",
    "low": "low",
    "mid": "mid",
    "high": "high",
    "self_similarity": "bars alike",
    "energy": "energy ρ − shuffled",
    "waltz_accent": "waltz accent dB",
    "waltz_accent_low": "below 150 Hz",
    "waltz_own_accent_low": "on its own downbeats",
    "bar_length": "bar length right",
    "silence_s": "silence s",
    "clipped": "clipped",
    "drone_s": "drone s",
}
LEGACY_COLUMNS = {
    "bcs_d2m": "BCS (D2M-GAN, CDCD)",
    "bhs_d2m": "BHS",
    "bcs_loris": "BCS (LORIS)",
    "bhs_loris": "BHS (LORIS)",
    "csd": "CSD",
    "hsd": "HSD",
    "alignment": "beat alignment",
    "coverage": "motion-beat coverage",
}
COLUMNS = {**sound_scores.COLUMNS, **TIME_COLUMNS, **GROOVE_COLUMNS, **LEGACY_COLUMNS}


@dataclass(frozen=True)
class Reference:
    """What a sound is scored against.

    Attributes:
        speeds: Mean joint speed from pose to pose, in metres a second; NaN where nobody is.
        motion_beats: Moments at which the dancer moves slowest, for legacy scores.
        true_seconds: Its seconds with an onset (1) or without (0), for legacy scores.
        phase: Beat phase estimated from the movement; without rows where it was not.
    """

    beat_times: Times
    beat_numbers: Int[np.ndarray, " beats"]
    downbeat_known: bool
    duration_s: float
    speeds: Float[np.ndarray, " steps"]
    fps: float
    motion_beats: Times
    true_onsets: Times
    true_seconds: Float[np.ndarray, " seconds"]
    phase: Float32[np.ndarray, "frames 2"]
    phase_rate: float


def score_sound(
    sound: Waveform,
    reference: Reference,
    grid: Grid | None = None,
    musicnn: Path | None = None,
) -> tuple[Scores, Measured]:
    """Score a sound in every column that one sound has.

    The sound is as long as the dance. ``grid`` is what it was asked to play on: bars and accents
    then count on it, by default on the annotated beats. ``musicnn``, its wheel, embeds the sound.

    Returns:
        The scores, and what was measured to compare with another seed.
    """
    own = grid or Grid(reference.beat_times, reference.beat_numbers)
    delivered, sound = sound, resample(sound.to_mono(), SAMPLE_RATE)
    beats = track_beats(sound)
    measured = measure_sound(delivered, own, beats=beats, musicnn=musicnn)
    onsets = detect_onsets(sound)
    duration_s = reference.duration_s
    whole = score_windows(reference.beat_times, beats, duration_s)
    faults = find_faults(sound, register_onset_times(sound))
    scores = dict.fromkeys(COLUMNS, float("nan"))
    for length in WINDOW_LENGTHS_S:
        window = score_windows(reference.beat_times, beats, duration_s, length)
        scores[f"f_{length:.0f}s"] = window.f
    scores |= {
        **measured.scores,
        **vars(whole),
        "onset_f1": onset_f1(reference.true_onsets, onsets),
        "evidence": beat_evidence(reference.phase, reference.phase_rate, beats),
        **vars(drum_balance(sound)),
        "self_similarity": self_similarity(measured.rhythm),
        "energy": energy_correlation(
            quantity_of_motion(reference.speeds, reference.fps), loudness_db(sound)
        ),
        "silence_s": faults.longest_silence_s,
        "clipped": faults.clipped_share,
        "drone_s": faults.longest_drone_s,
        **vars(coverage_scores(reference.true_seconds, onset_seconds(sound))),
        "alignment": beat_alignment(reference.motion_beats, beats),
        "coverage": motion_beat_coverage(reference.motion_beats, beats),
    }
    if grid is not None:
        scores["grid_tempo"] = tempo_kept(grid.beat_times, beats)
        own_bar, true_bar = (part.beat_numbers.max(initial=0) for part in (grid, reference))
        scores["bar_length"] = float(own_bar == true_bar)
        if own_bar == true_bar == 3:
            scores["waltz_own_accent_low"] = downbeat_accent_db(
                sound, grid.beat_times, grid.beat_numbers, below_hz=BASS_LIMIT_HZ
            )
    if reference.downbeat_known and reference.beat_numbers.max(initial=0) == 3:
        numbers = reference.beat_numbers
        scores["waltz_accent"] = downbeat_accent_db(sound, reference.beat_times, numbers)
        scores["waltz_accent_low"] = downbeat_accent_db(
            sound, reference.beat_times, numbers, below_hz=BASS_LIMIT_HZ
        )
    return scores, measured


def tempo_kept(grid: Times, tracked: Times) -> float:
    """1 if the tracked tempo is within ``NEAR_TEMPO`` of the grid's, else 0; NaN without a grid.

    Half and double tempo count as wrong.
    """
    if grid.size < 2:
        return float("nan")
    return float(abs(tempo_ratio(grid, tracked) - 1.0) <= NEAR_TEMPO)
