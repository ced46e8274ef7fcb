"""The baselines: the truth, and music that knows nothing of the dance, or only its tempo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dancetomusic.evaluation.baselines import (
    fit_duration,
    metronome_times,
    render_clicks,
    shift_half_beat,
    white_noise,
)
from dancetomusic.evaluation.pieces import Piece, Song, read_sound
from dancetomusic.types import Waveform

TRUTH = "ground truth"
TRUTH_STEM = "ground truth, drums and bass"
TRUTH_LATE = "ground truth, half a beat late"
TRUTH_CODEC = "ground truth through the codec"
RANDOM_SONG = "random other song"
RANDOM_SAME_GENRE = "random song of the genre"
METRONOME_120 = "metronome 120 BPM"
METRONOME_GENRE = "metronome, genre's mean tempo, random phase"
NOISE = "white noise"
BASELINES = (RANDOM_SONG, RANDOM_SAME_GENRE, METRONOME_120, METRONOME_GENRE, NOISE)


def metronome_on(name: str) -> str:
    """The row of clicks on the beats that a model estimated."""
    return f"metronome on the beats read by {name}"


def baseline_sounds(
    piece: Piece, truth: Waveform, songs: Sequence[Song], draws: int
) -> Iterator[tuple[str, Waveform]]:
    """Row names and sounds that need no model; random ones come ``draws`` times.

    Other songs and genre tempi come from ``songs``, without its own.

    Raises:
        InputError: If a song has no sound.
    """
    duration_s = truth.duration_s
    others = [song for song in songs if song.dance != piece.dance]
    same_genre = [song for song in others if piece.genre and song.genre == piece.genre]
    rng = np.random.default_rng(list(piece.name.encode()))
    yield TRUTH, truth
    yield TRUTH_STEM, piece.drum_and_bass()
    yield TRUTH_LATE, shift_half_beat(truth, piece.bpm)
    yield METRONOME_120, render_clicks(metronome_times(120.0, duration_s), duration_s)
    for draw in range(draws):
        yield NOISE, white_noise(duration_s, draw)
        for name, choice in ((RANDOM_SONG, others), (RANDOM_SAME_GENRE, same_genre)):
            if choice:
                song = choice[int(rng.integers(len(choice)))]
                yield name, fit_duration(read_sound(song.path), duration_s)
        if same_genre:
            tempo = float(np.mean([song.bpm for song in same_genre]))
            times = metronome_times(tempo, duration_s, phase=rng.random())
            yield METRONOME_GENRE, render_clicks(times, duration_s)
