"""Drum and bass played for a dance: on its beats, as strong as it moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import extrapolate_beats
from dancetomusic.synthesis.corpus import random_sound
from dancetomusic.synthesis.groove import Groove, arrange, compose_bass, render, to_waltz
from dancetomusic.types import RhythmTrack, Waveform

NEAR_TEMPO = (0.7, 1.4)
"""How much faster or slower than it was recorded a groove is played, where there is a choice."""


def play_for_dance(
    track: RhythmTrack,
    grooves: Sequence[Groove],
    rng: np.random.Generator,
    *,
    sample_rate: int = 24_000,
    held_out: bool = False,
) -> Waveform:
    """Play a groove and a bass line on the beats of a dance, over its whole length.

    Args:
        track: At least one beat; its energy sets how loud and how densely is played.
        grooves: To choose from; those recorded near the tempo are preferred.
        rng: Chooses the groove, the bass line, the instruments and the level.
        sample_rate: In Hz.
        held_out: Use the instruments that never sound in training material.

    Raises:
        InputError: If there is no groove.
        DependencyError: If FluidSynth or its sound font is missing.
    """
    if not grooves:
        raise InputError("there is no groove to play", "Name the Groove MIDI directory.")
    slowest, fastest = NEAR_TEMPO
    near = [groove for groove in grooves if slowest < track.bpm / groove.bpm < fastest]
    pool = near or list(grooves)
    groove = pool[rng.integers(len(pool))]
    if track.beats_per_bar == 3:
        groove = to_waltz(groove)
    times, numbers = extrapolate_beats(track.beat_times, track.beat_numbers, end_s=track.duration_s)
    level = np.interp(times, np.arange(track.energy.size) / track.energy_rate, track.energy)
    notes = arrange(groove, compose_bass(groove, rng), times, numbers, dynamics=level, rng=rng)
    sound = random_sound(rng, held_out=held_out)
    samples = render(notes, sound, track.duration_s, sample_rate=sample_rate).samples
    peak = np.abs(samples).max() + 1e-6
    return Waveform(samples * np.float32(rng.uniform(0.5, 0.95) / peak), sample_rate)
