"""What human drumming measures: held-out performances, each with a bass, rendered."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.music.scores import Grid, Scores
from dancetomusic.metrics.bar_similarity import bar_patterns, self_similarity
from dancetomusic.metrics.drum_balance import drum_balance
from dancetomusic.rhythm.onset_pattern import onset_bands
from dancetomusic.synthesis.corpus import random_sound
from dancetomusic.synthesis.groove import (
    Groove,
    arrange,
    compose_bass,
    load_grooves,
    render,
    select_grooves,
)
from dancetomusic.types import Waveform

N_PERFORMANCES = 24
MIN_BARS, MAX_BARS = 8, 16


def render_performance(grooves: Path | str, number: int) -> tuple[Waveform, Grid]:
    """One performance of 8 to 16 bars as it was played, no bar of it repeated by us.

    By drummers, on a kit and a bass that no model was trained on. The same number gives the
    same performance.

    Raises:
        InputError: If the folder holds no such performance.
        DependencyError: If fluidsynth or its sound font is not installed.
    """
    pool = _performances(str(grooves))
    rng = np.random.default_rng([number, 17])
    groove = pool[int(rng.integers(len(pool)))]
    n_beats = min(groove.n_beats // groove.beats_per_bar, MAX_BARS) * groove.beats_per_bar
    beat_times = 0.2 + np.arange(n_beats + 1) * 60.0 / float(np.clip(groove.bpm, 60.0, 190.0))
    beat_numbers = np.arange(n_beats + 1) % groove.beats_per_bar + 1
    notes = arrange(groove, compose_bass(groove, rng), beat_times, beat_numbers)
    sound = render(notes, random_sound(rng, held_out=True), float(beat_times[-1]))
    return sound, Grid(beat_times, beat_numbers)


def score_performance(sound: Waveform, grid: Grid) -> Scores:
    """The columns that a sound without a dance has."""
    balance = drum_balance(sound)
    bars = bar_patterns(onset_bands(sound), grid.beat_times, grid.beat_numbers)
    return {**vars(balance), "self_similarity": self_similarity(bars)}


@lru_cache(maxsize=1)
def _performances(grooves: str) -> tuple[Groove, ...]:
    pool = select_grooves(load_grooves(grooves, min_bars=MIN_BARS), held_out=True)
    if not pool:
        raise InputError(f"{grooves} has no long groove", "Name the Groove MIDI directory.")
    return tuple(pool)
