"""The beats that the dataset builder finds in drums and bass, scored against annotated ones.

Run ``python -m dancetomusic.evaluation.tasks.rhythm.stem_beats --data DIR`` for a Markdown
table. Windows are
cut from the sound before it is heard.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import (
    WINDOW_LENGTHS_S,
    beat_f,
    slice_beats,
    tempo_ratio,
    track_beats,
)
from dancetomusic.metrics.bootstrap import bootstrap_interval
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.types import Waveform

TEMPO_TOLERANCE = 0.04
Beats = Float[np.ndarray, " _"]
Tracker = Callable[[Waveform, np.random.Generator], Beats]

TRACKERS: Mapping[str, Tracker] = {
    "the builder's": lambda stem, rng: track_audio_beats(stem).beat_times,
    "librosa": lambda stem, rng: track_beats(stem),
    "120 BPM, random phase": (
        lambda stem, rng: metronome_times(120.0, stem.duration_s, float(rng.random()))
    ),
}


def score_tracker(
    tracker: Tracker, songs: Sequence[tuple[Waveform, Beats]], length_s: float
) -> tuple[Beats, Beats]:
    """Per song, over windows side by side: mean beat F, and share of tempi within 4 %."""
    rng = np.random.default_rng(0)
    f_means, tempo_means = [], []
    for stem, beats in songs:
        n_samples = round(length_s * stem.sample_rate)
        scores, tempi = [], []
        for first in range(0, stem.samples.shape[1] - n_samples + 1, n_samples):
            start_s = first / stem.sample_rate
            truth = slice_beats(beats, start_s, start_s + length_s)
            window = Waveform(stem.samples[:, first : first + n_samples], stem.sample_rate)
            found = tracker(window, rng)
            scores.append(beat_f(truth, found))
            tempi.append(abs(tempo_ratio(truth, found) - 1) <= TEMPO_TOLERANCE)
        f_means.append(float(np.mean(scores)))
        tempo_means.append(float(np.mean(tempi)))
    return np.array(f_means), np.array(tempo_means)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Score the beats found in drums and bass.")
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv and audio")
    parser.add_argument("--split", default="val", help="split of the index to score")
    options = parser.parse_args(arguments)
    separator = HpssSeparator()
    songs = []
    for dance in load_dances(options.data, split=options.split, qualities=("A", "B")):
        mix = read_audio(dance.audio_path)
        if mix is not None:
            (stem,) = separator.drum_and_bass([Mix("song", mix)])
            songs.append((stem, dance.beat_times))
    print(f"{len(songs)} songs, drums and bass by hpss\n")
    print("| beat F · tempo | " + " | ".join(f"{s:g} s" for s in WINDOW_LENGTHS_S) + " |")
    print("|---|" + "---|" * len(WINDOW_LENGTHS_S))
    for name, tracker in TRACKERS.items():
        cells = []
        for length_s in WINDOW_LENGTHS_S:
            f, tempo = score_tracker(tracker, songs, length_s)
            low, high = bootstrap_interval(f)
            cells.append(f"{f.mean():.2f} [{low:.2f}, {high:.2f}] · {tempo.mean():.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
