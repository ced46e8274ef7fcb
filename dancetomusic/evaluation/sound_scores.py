"""What is measured of any sound on given beats: its beats, its form, and how it sounds.

One dictionary of columns for generated music, real music and baselines alike; nothing in it was a
training loss of any model here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int

from dancetomusic.evaluation.musicnn import embed_music
from dancetomusic.evaluation.pieces import SAMPLE_RATE
from dancetomusic.evaluation.report import Cell
from dancetomusic.io.audio import resample
from dancetomusic.io.loudness import integrated_loudness, true_peak
from dancetomusic.metrics.bar_similarity import bar_patterns, lag_similarity, pairwise_similarity
from dancetomusic.metrics.beats import Times, track_beats
from dancetomusic.metrics.bootstrap import bootstrap_score, known_mean
from dancetomusic.metrics.frechet import at_common_level, frechet_distance_unbiased
from dancetomusic.metrics.onsets import beats_with_onset, detect_onsets
from dancetomusic.metrics.rhythm_scores import f_measure, metrical_levels
from dancetomusic.metrics.sound_character import attack_ms, frame_lines_db, kit_change_db
from dancetomusic.metrics.sound_harmony import bass_roots, pitch_classes, repeated_form
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.rhythm.onset_pattern import onset_bands
from dancetomusic.types import Waveform

LAGS = (1, 2, 4, 8)
"""Bars apart."""

FRECHET_RESAMPLES = 40

BEAT_COLUMNS = {
    "own_f": "beat F, own tracker",
    "own_any": "at any level",
    "librosa_f": "beat F, librosa",
    "librosa_any": "at any level, librosa",
    "on_beats": "beats with an onset",
    "off_beats": "as many random times with one",
}
FORM_COLUMNS = {
    **{f"rhythm_{lag}": f"rhythm alike, {lag} bars apart" for lag in LAGS},
    "rhythm_seeds": "rhythm of two seeds alike",
    **{f"chroma_{lag}": f"pitch classes alike, {lag} bars apart" for lag in LAGS},
    "chroma_seeds": "pitch classes of two seeds alike",
    "root": "bass root the same after 4 bars",
    "root_shorter": "after 1 to 3 bars",
}
CHARACTER_COLUMNS = {
    "lufs": "LUFS",
    "true_peak": "dBTP",
    "attack_ms": "attack, ms",
    "lines_db": "lines at 75 Hz, dB",
    "kit_db": "kit changes, dB",
}
COLUMNS = {**BEAT_COLUMNS, **FORM_COLUMNS, **CHARACTER_COLUMNS}
NOTE = """\
Beats are found in the sound by the package's own network and by librosa's tracker, which has
nothing in common with it, and scored against the beats that were played on (±70 ms; any level:
also against twice, and either half of, those beats); an onset counts within ±50 ms of a beat.
Bars are compared by the correlation of onsets in four bands and sixteenths (rhythm) and of pitch
classes beat by beat; roots are the bass's pitch by YIN in the first half of a bar, which misses
some under a loud kick. Loudness and true peak are BS.1770's, of the file as delivered; songs are
read as one channel. Attack: 10 to 90 % of a stroke's amplitude above 1 kHz in windows of 5 ms,
which cannot show less than 4 ms. Lines: height of those at multiples of 75 Hz, the codec's frame
rate, above those half-way between. Kit: how much more the strokes' spectra differ between first
and last third than from stroke to stroke. The Fréchet distance is that of musicnn's last layer
before the tags (Pons and Serra, 2019; not trained here), windows of 3 s, to the songs."""


@dataclass(frozen=True)
class Grid:
    """The beats that a sound was asked to play on."""

    beat_times: Times
    beat_numbers: Int[np.ndarray, " _numbers"]


@dataclass(frozen=True)
class Measured:
    """What was measured of one sound.

    Attributes:
        rhythm: Onsets of its bars, to compare with those of another seed.
        embedding: By musicnn; no row without its wheel.
    """

    scores: dict[str, float]
    rhythm: Float[np.ndarray, "bars steps"]
    chroma: Float[np.ndarray, "bars classes"]
    embedding: Float32[np.ndarray, "windows channels"]


def measure_sound(
    sound: Waveform, grid: Grid, *, beats: Times | None = None, musicnn: Path | None = None
) -> Measured:
    """Every column that one sound has.

    ``grid`` is what it plays on, or should; ``beats`` are those of ``track_beats``, where they are
    known already. With ``musicnn``, its wheel, the sound is embedded, its gain left out.
    """
    times, numbers = grid.beat_times, grid.beat_numbers
    mono = resample(sound.to_mono(), SAMPLE_RATE)
    librosa_beats = track_beats(mono) if beats is None else beats
    own_beats = track_audio_beats(mono).beat_times.astype(np.float64)
    rhythm = bar_patterns(onset_bands(mono).astype(np.float64), times, numbers)
    chroma = bar_patterns(pitch_classes(mono), times, numbers, steps_per_beat=1, early=0.0)
    root, root_shorter = repeated_form(bass_roots(mono, times, numbers))
    on_beats, off_beats = beats_with_onset(times, detect_onsets(mono), mono.duration_s)
    scores = {
        **_beat_scores("own", times, own_beats),
        **_beat_scores("librosa", times, librosa_beats),
        "on_beats": on_beats,
        "off_beats": off_beats,
        **{f"rhythm_{lag}": lag_similarity(rhythm, lag) for lag in LAGS},
        **{f"chroma_{lag}": lag_similarity(chroma, lag) for lag in LAGS},
        "root": root,
        "root_shorter": root_shorter,
        "lufs": _finite(integrated_loudness(sound)),
        "true_peak": _finite(true_peak(sound)),
        "attack_ms": attack_ms(mono),
        "lines_db": frame_lines_db(mono),
        "kit_db": kit_change_db(mono),
    }
    nan = float("nan")
    embedding = np.zeros((0, 0), np.float32)
    if musicnn is not None:
        embedding = embed_music(at_common_level(mono), musicnn)
    return Measured({name: scores.get(name, nan) for name in COLUMNS}, rhythm, chroma, embedding)


def frechet_cells(
    embeddings: Mapping[str, Sequence[np.ndarray]], reference: str
) -> dict[str, Cell]:
    """Fréchet distance of every row to one of them, with its interval over dances.

    Without the row ``reference`` nothing is measured.
    """
    if reference not in embeddings:
        return {}
    distance = partial(frechet_distance_unbiased, np.concatenate(embeddings[reference]))
    return {
        row: Cell(*bootstrap_score(distance, dances, FRECHET_RESAMPLES), len(dances))
        for row, dances in embeddings.items()
    }


def seeds_alike(pieces: Sequence[Measured]) -> dict[str, float]:
    """How alike pieces for one dance are: the mean over pairs of the same bars' similarity."""
    pairs = list(combinations(pieces, 2))
    return {
        f"{name}_seeds": known_mean(
            [pairwise_similarity(getattr(a, name), getattr(b, name)) for a, b in pairs]
        )
        for name in ("rhythm", "chroma")
    }


def _beat_scores(tracker: str, reference: Times, beats: Times) -> dict[str, float]:
    levels = metrical_levels(reference)
    return {
        f"{tracker}_f": f_measure(reference, beats),
        f"{tracker}_any": max(f_measure(level, beats) for level in levels),
    }


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float("nan")
