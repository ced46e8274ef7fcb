"""The bass: written lines, lines on the bass drum's strokes, and walking ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dancetomusic.score.frame import Bar, Frame, Row, loudness, played_bars, played_steps
from dancetomusic.score.harmony import SCALES, Chord
from dancetomusic.score.style import DRUM_KEYS, Line

BEAT_VELOCITY, OFFBEAT_VELOCITY, DEAD_VELOCITY = 100, 88, 48
"""Of a note on a bar's first beat, of others, and of a dead note."""

LONGEST_KICK_NOTE = 1.25
"""Most beats that a note on the bass drum is held."""

_KICKS = (DRUM_KEYS["kick"], DRUM_KEYS["kick2"])
_GRID = 12


@dataclass(frozen=True)
class _Tone:
    """A note of a bar before its register is known: symbol, place, length, chord, next chord."""

    beat: float
    length: float
    symbol: str
    chord: Chord
    following: Chord


def play_bass(frame: Frame, drums: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """Play all bars that begin before the last hit.

    The bass drum of ``drums`` is played with.
    """
    part = frame.style.bass
    order = rng.permutation(len(part.lines)).tolist()
    habits = rng.random(4 * _GRID * 2)
    kicks = np.array([row[0] for row in drums if row[2] in _KICKS])
    rows: list[Row] = []
    before = part.low + 6
    for bar, line in played_bars(frame, "bass", part.lines, order):
        if line.kind == "kick":
            tones = _with_kick(bar, kicks - bar.start, habits)
        elif line.kind == "walk":
            tones = _walk(bar, rng)
        else:
            tones = _written(line, bar)
        for tone in tones:
            root = _near(tone.chord.root, before, part.low)
            pitch = _pitch(tone, root, frame, part.low, part.high, rng)
            before = root
            base = DEAD_VELOCITY if tone.symbol == "x" else OFFBEAT_VELOCITY
            base = BEAT_VELOCITY if tone.beat < 0.05 else base
            start = frame.swung(tone.beat)
            length = frame.swung(tone.beat + tone.length) - start
            length *= 0.3 if tone.symbol == "x" else part.legato
            velocity = loudness(base + rng.normal(0.0, 3.0), bar.intensity)
            rows.append((bar.start + start, max(length, 0.1), pitch, velocity))
    return one_voice(rows)


def one_voice(rows: Sequence[Row]) -> list[Row]:
    """Notes in order, each ending where the next begins."""
    ordered = sorted(rows)
    kept: list[Row] = []
    for number, row in enumerate(ordered):
        room = ordered[number + 1][0] - row[0] if number + 1 < len(ordered) else np.inf
        if room > 0.02:
            kept.append((row[0], min(row[1], float(room)), row[2], row[3]))
    return kept


def _written(line: Line, bar: Bar) -> list[_Tone]:
    tones = []
    for _, step, at in played_steps(line, bar):
        length = min(step.length, bar.length - at + 1.0)
        tones.append(_Tone(at, length, step.symbol, bar.chord_at(at), bar.chord_after(at)))
    return _with_chord_changes(tones, bar)


def _with_chord_changes(tones: list[_Tone], bar: Bar) -> list[_Tone]:
    """A root where a chord enters inside the bar and no note is struck."""
    share = bar.length / len(bar.chords)
    for number in range(1, len(bar.chords)):
        at = number * share
        if bar.chords[number] == bar.chords[number - 1]:
            continue
        if not any(abs(tone.beat - at) < 0.3 for tone in tones):
            tones.append(_Tone(at, share, "R", bar.chords[number], bar.chord_after(at)))
    return sorted(tones, key=lambda tone: tone.beat)


def _with_kick(bar: Bar, kicks: np.ndarray, habits: np.ndarray) -> list[_Tone]:
    """A note on each stroke of the bass drum, on the grid of sixteenths; roots above all.

    ``habits`` says once for the piece what each place of two bars is good for, so that the line
    comes again.
    """
    inside = kicks[(kicks > -0.1) & (kicks < bar.length - 0.1)]
    places = sorted({max(0.0, round(float(kick) * 4) / 4) for kick in inside} | {0.0})
    ends = [*places[1:], float(bar.length)]
    tones = []
    for place, end in zip(places, ends, strict=True):
        taste = float(habits[int(place * 4 + bar.place % 2 * 48) % habits.size])
        symbol = "R"
        if place >= bar.length / 2 or taste > 0.8:
            symbol = "R" if taste < 0.55 else "5" if taste < 0.75 else "8" if taste < 0.92 else "7"
        if place < 0.25:
            symbol = "R"
        if place >= bar.length - 1 and taste > 0.6 and bar.place % 4 == 3:
            symbol = "a"
        length = min(end - place, LONGEST_KICK_NOTE)
        tones.append(_Tone(place, length, symbol, bar.chord_at(place), bar.chord_after(place)))
    return _with_chord_changes(tones, bar)


def _walk(bar: Bar, rng: np.random.Generator) -> list[_Tone]:
    """Root, chord tones on the way, and a step into the next chord, one note a beat."""
    middles = [["3", "5"], ["5", "3"], ["5", "8"], ["8", "5"], ["6", "5"], ["3", "6"]]
    middle = middles[rng.integers(len(middles))]
    tones = []
    for beat in range(bar.length):
        chord, before = bar.chord_at(beat), bar.chord_at(beat - 0.5)
        symbol = middle[(beat - 1) % 2]
        if beat == 0 or chord != before:
            symbol = "R"
        elif beat == bar.length - 1 or bar.chord_at(beat + 1) != chord:
            symbol = "a"
        tones.append(_Tone(float(beat), 1.0, symbol, chord, bar.chord_after(beat)))
        if beat == 1 and rng.random() < 0.2 * bar.intensity:
            tones.append(_Tone(beat + 0.5, 0.5, "x", chord, bar.following))
    return tones


def _near(pitch_class: int, before: int, low: int) -> int:
    """The pitch of a class in the octave from ``low`` on."""
    pitch = low + (pitch_class - low) % 12
    # A fourth below the top of the octave either side is as good: take the nearer to the last.
    other = pitch + 12 if pitch - low < 4 else pitch
    return other if abs(other - before) < abs(pitch - before) - 4 else pitch


def _pitch(
    tone: _Tone, root: int, frame: Frame, low: int, high: int, rng: np.random.Generator
) -> int:
    chord, symbol = tone.chord, tone.symbol
    if symbol in "Rx":
        return root
    if symbol == "8":
        pitch = root + 12
    elif symbol == "6":
        pitch = root + 9
    elif symbol in "357":
        pitch = root + chord.degree(int(symbol))
    elif symbol == "L":
        pitch = root + chord.degree(5) - 12
        pitch = pitch if pitch >= low - 3 else pitch + 12
    else:
        target = _near(tone.following.root, root, low)
        if symbol == "N":
            return target
        pitch = target + _approach(target, root, frame, rng)
    return pitch if pitch <= high else pitch - 12


def _approach(target: int, root: int, frame: Frame, rng: np.random.Generator) -> int:
    """A step above or below a root: of the scale, or a semitone from where the line is."""
    side = -1 if root < target or (root == target and rng.random() < 0.5) else 1
    scale = {(frame.key.tonic + step) % 12 for step in SCALES[frame.key.mode]}
    if rng.random() < 0.4:
        return side
    return side * (1 if (target + side) % 12 in scale else 2)
