"""What human drumming measures: held-out performances, each with a bass, rendered."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.evaluation.sound_scores import Grid
from dancetomusic.evaluation.tasks.music.scores import Scores
from dancetomusic.metrics.bar_similarity import bar_patterns, self_similarity
from dancetomusic.metrics.drum_balance import drum_balance
from dancetomusic.rhythm.onset_pattern import onset_bands
from dancetomusic.score.notes import BeatClock, Notes, Score, Track
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
    groove, grid, rng = _choose(grooves, number)
    notes = arrange(groove, compose_bass(groove, rng), grid.beat_times, grid.beat_numbers)
    sound = render(notes, random_sound(rng, held_out=True), float(grid.beat_times[-1]))
    return sound, grid


def performance_score(grooves: Path | str, number: int) -> Score:
    """The drums of the performance of a number, as they were played.

    Raises:
        InputError: If the folder holds no such performance.
    """
    groove, grid, _ = _choose(grooves, number)
    clock = BeatClock(grid.beat_times, grid.beat_numbers, float(grid.beat_times[-1]))
    notes = Notes.of(
        (max(note.time, 0.0), max(note.length, 0.01), note.pitch, note.velocity)
        for note in groove.notes
        if note.time < clock.n_beats
    )
    return Score(clock, (Track("drums", 0, True, notes),))


def _choose(grooves: Path | str, number: int) -> tuple[Groove, Grid, np.random.Generator]:
    """A performance, its beats at its tempo, and the generator for what is added to it."""
    pool = _performances(str(grooves))
    rng = np.random.default_rng([number, 17])
    groove = pool[int(rng.integers(len(pool)))]
    n_beats = min(groove.n_beats // groove.beats_per_bar, MAX_BARS) * groove.beats_per_bar
    beat_times = 0.2 + np.arange(n_beats + 1) * 60.0 / float(np.clip(groove.bpm, 60.0, 190.0))
    beat_numbers = np.arange(n_beats + 1) % groove.beats_per_bar + 1
    return groove, Grid(beat_times, beat_numbers), rng


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
