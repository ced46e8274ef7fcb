"""The chords: voicings that move little, in the rhythm of the style."""

from __future__ import annotations

import numpy as np

from dancetomusic.score.frame import Bar, Frame, Row, loudness, played_bars, played_steps
from dancetomusic.score.harmony import voice_chords
from dancetomusic.score.style import Step

CHORD_VELOCITY, ACCENT_VELOCITY, SINGLE_VELOCITY = 80, 98, 84
"""Of a chord, of an accented one, and of a single voice."""

STRUM_S = 0.009
"""From string to string of a strummed chord."""

GUITARS = range(24, 32)
"""General MIDI programs that strum."""

Voicing = tuple[int, ...]


def voice_piece(frame: Frame) -> list[tuple[Voicing, ...]]:
    """Voicings of every chord of every bar, with the least motion from one to the next."""
    part = frame.style.chords
    chords = [chord for bar in frame.bars for chord in bar.chords]
    voiced = iter(voice_chords(chords, part.low, part.high, part.voices))
    return [tuple(next(voiced) for _ in bar.chords) for bar in frame.bars]


def play_chords(
    frame: Frame,
    voicings: list[tuple[Voicing, ...]],
    program: int,
    rng: np.random.Generator,
) -> list[Row]:
    """Play all bars that begin before the last hit.

    ``voicings`` are as :func:`voice_piece` gives; guitars, by their ``program``, strum.
    """
    part = frame.style.chords
    order = rng.permutation(len(part.lines)).tolist()
    strum = strum_beats(frame, program)
    rows: list[Row] = []
    for bar, line in played_bars(frame, "chords", part.lines, order):
        following = voicings[min(bar.index + 1, len(voicings) - 1)][0]
        for _, step, at in played_steps(line, bar):
            length = min(step.length, bar.length - at)
            for piece in _by_chord(bar, voicings[bar.index], at, length, step, following):
                rows.extend(_strike(frame, bar, step, *piece, strum, rng))
    return unstack(rows)


def strum_beats(frame: Frame, program: int) -> float:
    """Beats from string to string of a chord of this program; 0 but for guitars."""
    return STRUM_S / frame.beat_s if program in GUITARS else 0.0


def unstack(rows: list[Row]) -> list[Row]:
    """Notes in order, each ending where its own pitch is struck again."""
    ordered = sorted(rows)
    following: dict[int, float] = {}
    kept: list[Row] = []
    for start, length, pitch, velocity in reversed(ordered):
        room = following.get(pitch, np.inf) - start
        if room > 0.02:
            kept.append((start, min(length, float(room)), pitch, velocity))
            following[pitch] = start
    return kept[::-1]


def _by_chord(
    bar: Bar,
    voiced: tuple[Voicing, ...],
    at: float,
    length: float,
    step: Step,
    following: Voicing,
) -> list[tuple[float, float, Voicing]]:
    """A step cut where the chord changes, as start, length, and the voicing that sounds."""
    if step.symbol == "N":
        return [(at, length, following)]
    share = bar.length / len(voiced)
    pieces = []
    end = at + length
    while at < end - 1e-6:
        number = min(int((at + 1e-6) / share), len(voiced) - 1)
        following_chord = number + 1
        while following_chord < len(voiced) and voiced[following_chord] == voiced[number]:
            following_chord += 1
        stop = min(end, following_chord * share) if following_chord < len(voiced) else end
        pieces.append((at, stop - at, voiced[number]))
        at = stop
    return pieces


def _strike(
    frame: Frame,
    bar: Bar,
    step: Step,
    at: float,
    length: float,
    voicing: Voicing,
    strum: float,
    rng: np.random.Generator,
) -> list[Row]:
    symbol = step.symbol
    pitches: Voicing = voicing
    velocity = CHORD_VELOCITY
    if symbol == "X":
        velocity = ACCENT_VELOCITY
    elif symbol == "b":
        pitches = voicing[:1]
    elif symbol == "u":
        pitches = voicing[1:] or voicing
    elif symbol == "o":
        pitches = (voicing[0], voicing[0] + 12)
    elif symbol.isdigit():
        number = int(symbol) - 1
        octave, voice = divmod(number, len(voicing))
        pitches = (voicing[voice] + 12 * octave,)
        velocity = SINGLE_VELOCITY
    start = frame.swung(at)
    sounding = max(0.1, (frame.swung(at + length) - start) * frame.style.chords.legato)
    loud = velocity + float(rng.normal(0.0, 2.5))
    return [
        (
            bar.start + start + number * strum,
            sounding,
            min(pitch, 108),
            loudness(loud - 1.5 * number * (strum > 0), bar.intensity),
        )
        for number, pitch in enumerate(pitches)
    ]
