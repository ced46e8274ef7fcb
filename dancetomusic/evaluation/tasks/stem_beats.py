"""The beats that the dataset builder finds in drums and bass, scored against annotated ones.

Windows are cut from the sound before beats are tracked in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import typer

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.pieces import QUALITIES, read_sound
from dancetomusic.evaluation.report import cell_text, mean_cell, table
from dancetomusic.metrics.beats import (
    WINDOW_LENGTHS_S,
    Times,
    beat_f,
    slice_beats,
    tempo_matches,
    tempo_ratio,
    track_beats,
)
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.types import Waveform

Tracker: TypeAlias = Callable[[Waveform, np.random.Generator], Times]

TRACKERS: Mapping[str, Tracker] = {
    "the builder's": lambda stem, rng: track_audio_beats(stem).beat_times,
    "librosa": lambda stem, rng: track_beats(stem),
    "120 BPM, random phase": (
        lambda stem, rng: metronome_times(120.0, stem.duration_s, float(rng.random()))
    ),
}


def score_tracker(
    tracker: Tracker, songs: Sequence[tuple[Waveform, Times]], length_s: float
) -> tuple[Times, Times]:
    """Per song, over windows side by side: mean beat F, and share of tempi within 4 %."""
    rng = np.random.default_rng(0)
    means = []
    for stem, beats in songs:
        n_samples = round(length_s * stem.sample_rate)
        scores = []
        for first in range(0, stem.samples.shape[1] - n_samples + 1, n_samples):
            start_s = first / stem.sample_rate
            truth = slice_beats(beats, start_s, start_s + length_s)
            window = Waveform(stem.samples[:, first : first + n_samples], stem.sample_rate)
            found = tracker(window, rng)
            scores.append((beat_f(truth, found), tempo_matches(tempo_ratio(truth, found))))
        means.append(np.mean(scores, axis=0))
    f, tempo = np.array(means, np.float64).T
    return f, tempo


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder with index.csv and audio.")],
    split: Annotated[str, typer.Option("--split", help="Split of the index.")] = "val",
) -> None:
    """Score the beats found in drums and bass."""
    separator = HpssSeparator()
    songs = [
        (separator.drum_and_bass([Mix("song", read_sound(dance.audio_path))])[0], dance.beat_times)
        for dance in load_dances(data, split=split, qualities=QUALITIES)
    ]
    rows = []
    for name, tracker in TRACKERS.items():
        scores = [score_tracker(tracker, songs, length_s) for length_s in WINDOW_LENGTHS_S]
        rows.append(
            [name, *(f"{cell_text(mean_cell(f))} · {tempo.mean():.2f}" for f, tempo in scores)]
        )
    print(f"{len(songs)} songs, drums and bass by hpss\n")
    titles = ["beat F · tempo", *(f"{length_s:g} s" for length_s in WINDOW_LENGTHS_S)]
    print("\n".join(table(titles, rows)))
