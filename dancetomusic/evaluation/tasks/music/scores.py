"""Every score of one sound for one dance, and what each column of the report is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Int

from dancetomusic.metrics.bar_similarity import bar_patterns, self_similarity
from dancetomusic.metrics.beat_evidence import beat_evidence
from dancetomusic.metrics.beats import (
    WINDOW_LENGTHS_S,
    Times,
    beat_f,
    score_windows,
    tempo_ratio,
    track_beats,
)
from dancetomusic.metrics.downbeat_accent import BASS_LIMIT_HZ, downbeat_accent_db
from dancetomusic.metrics.drum_balance import drum_balance, stroke_times
from dancetomusic.metrics.energy_fit import (
    energy_correlation,
    loudness_db,
    quantity_of_motion,
)
from dancetomusic.metrics.legacy import (
    beat_alignment,
    coverage_scores,
    motion_beat_coverage,
    struck_seconds,
)
from dancetomusic.metrics.onsets import detect_onsets, onset_f1
from dancetomusic.metrics.sound_faults import find_faults
from dancetomusic.rhythm.onset_pattern import onset_bands
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
    "grid_f": "beat F against its grid",
    "grid_tempo": "tempo within 2 % of it",
    "density": "strokes/s",
    "low": "low",
    "mid": "mid",
    "high": "high",
    "self_similarity": "bars alike",
    "seed_similarity": "seeds alike",
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
COLUMNS = {**TIME_COLUMNS, **GROOVE_COLUMNS, **LEGACY_COLUMNS}


@dataclass(frozen=True)
class Occasion:
    """What a sound is scored against.

    Attributes:
        beat_times: Annotated, in seconds.
        beat_numbers: Place of each in its bar.
        downbeat_known: Whether those are certain.
        duration_s: Length of the dance.
        speeds: Mean joint speed from pose to pose, in metres a second; NaN where nobody is.
        fps: Poses a second.
        motion_beats: Moments at which the dancer moves slowest, for legacy scores.
        true_onsets: Of the music that was danced to.
        true_seconds: Its seconds with anything struck, for legacy scores.
        phase: Beat phase seen in the movement; without rows if nobody looked.
        phase_rate: Values of ``phase`` a second.
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


@dataclass(frozen=True)
class Grid:
    """The beats that a sound was asked to play on."""

    beat_times: Times
    beat_numbers: Int[np.ndarray, " _numbers"]


@dataclass(frozen=True)
class Heard:
    """One sound's scores and its bars, to compare with those of another seed."""

    scores: Scores
    bars: Float[np.ndarray, "bars steps"]
    beats: Times


def score_sound(sound: Waveform, occasion: Occasion, grid: Grid | None = None) -> Heard:
    """Score a sound in every column that one sound has.

    Args:
        sound: As long as the dance.
        occasion: What it is scored against.
        grid: What it was asked to play on; bars and accents then count on it. By default the
            annotated beats, and no score against a grid.
    """
    beats = track_beats(sound)
    onsets = detect_onsets(sound)
    duration_s = occasion.duration_s
    whole = score_windows(occasion.beat_times, beats, duration_s)
    own = grid or Grid(occasion.beat_times, occasion.beat_numbers)
    bars = bar_patterns(onset_bands(sound), own.beat_times, own.beat_numbers)
    balance = drum_balance(sound)
    faults = find_faults(sound, stroke_times(sound))
    scores = {
        f"f_{length:.0f}s": score_windows(occasion.beat_times, beats, duration_s, length).f
        for length in WINDOW_LENGTHS_S
    }
    scores |= {
        "f": whole.f,
        "cmlt": whole.cmlt,
        "tempo": whole.tempo,
        "tempo_octave": whole.tempo_octave,
        "tempo_error": whole.tempo_error,
        "onset_f1": onset_f1(occasion.true_onsets, onsets),
        "evidence": beat_evidence(occasion.phase, occasion.phase_rate, beats),
        "grid_f": float("nan"),
        "grid_tempo": float("nan"),
        "density": balance.density,
        "low": balance.low,
        "mid": balance.mid,
        "high": balance.high,
        "self_similarity": self_similarity(bars),
        "seed_similarity": float("nan"),
        "energy": energy_correlation(
            quantity_of_motion(occasion.speeds, occasion.fps), loudness_db(sound)
        ),
        "waltz_accent": float("nan"),
        "waltz_accent_low": float("nan"),
        "waltz_own_accent_low": float("nan"),
        "bar_length": float("nan"),
        "silence_s": faults.longest_silence_s,
        "clipped": faults.clipped_share,
        "drone_s": faults.longest_drone_s,
        **_legacy_scores(sound, occasion, beats),
    }
    if grid is not None:
        scores["grid_f"] = beat_f(grid.beat_times, beats)
        scores["grid_tempo"] = tempo_kept(grid.beat_times, beats)
        own_bar, true_bar = (part.beat_numbers.max(initial=0) for part in (grid, occasion))
        scores["bar_length"] = float(own_bar == true_bar)
        if own_bar == true_bar == 3:
            scores["waltz_own_accent_low"] = downbeat_accent_db(
                sound, grid.beat_times, grid.beat_numbers, below_hz=BASS_LIMIT_HZ
            )
    if occasion.downbeat_known and occasion.beat_numbers.max(initial=0) == 3:
        numbers = occasion.beat_numbers
        scores["waltz_accent"] = downbeat_accent_db(sound, occasion.beat_times, numbers)
        scores["waltz_accent_low"] = downbeat_accent_db(
            sound, occasion.beat_times, numbers, below_hz=BASS_LIMIT_HZ
        )
    return Heard(scores, bars, beats)


def tempo_kept(grid: Times, heard: Times, tolerance: float = NEAR_TEMPO) -> float:
    """1 if the tempo heard is within ``tolerance`` of the grid's, else 0; NaN without a grid.

    Half and double tempo count as wrong.
    """
    if grid.size < 2:
        return float("nan")
    return float(abs(tempo_ratio(grid, heard) - 1.0) <= tolerance)


def _legacy_scores(sound: Waveform, occasion: Occasion, beats: Times) -> Scores:
    seconds = coverage_scores(occasion.true_seconds, struck_seconds(sound))
    return {
        **vars(seconds),
        "alignment": beat_alignment(occasion.motion_beats, beats),
        "coverage": motion_beat_coverage(occasion.motion_beats, beats),
    }
