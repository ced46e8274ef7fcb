"""The lead: a motif of two bars that returns, is varied, and follows the chords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dancetomusic.score.bassline import one_voice
from dancetomusic.score.frame import Frame, Row, loudness, played_bars, played_steps
from dancetomusic.score.harmony import SCALES, Chord
from dancetomusic.score.style import Line

NOTE_VELOCITY, ACCENT_VELOCITY = 88, 102

STEPS = (-2, -1, -1, -1, 0, 0, 1, 1, 1, 2)
"""Steps of the scale from note to note of a motif, small ones more often."""

LEAP_SHARE = 0.12
"""Share of notes that are reached by a leap."""

REACH = 4
"""Most steps of the scale that a motif goes from where it begins."""

CLEARANCE = 6
"""Semitones of a motif's centre above the usual top of the chords, where the range allows."""

HARMONY_INTENSITY = 0.85
"""Intensity of a lift from which a second voice joins below."""


@dataclass(frozen=True)
class Motif:
    """A contour: for each note of a line, steps of the scale from the centre; two endings."""

    line: Line
    contour: tuple[int, ...]
    answer: tuple[int, ...]


def compose_motif(line: Line, rng: np.random.Generator) -> Motif:
    """Draw a contour for a rhythm; the answer differs in its last third and ends at rest."""
    contour: list[int] = []
    at = int(rng.choice([0, 2, 4]))
    for _ in line.steps:
        contour.append(at)
        step = int(rng.choice(STEPS)) if rng.random() > LEAP_SHARE else int(rng.choice((-4, 3, 4)))
        at = at + step if abs(at + step) <= REACH else at - step
    answer = list(contour)
    tail = max(1, len(answer) // 3)
    for index in range(len(answer) - tail, len(answer)):
        answer[index] = int(np.clip(answer[index] + rng.choice([-2, -1, 1, 2]), -REACH, REACH))
    answer[-1] = 0
    return Motif(line, tuple(contour), tuple(answer))


def play_lead(
    frame: Frame, voicings: Sequence[Sequence[tuple[int, ...]]], rng: np.random.Generator
) -> list[Row]:
    """Play all bars that begin before the last hit, above the chords.

    In a phrase of two motifs the second is the answer; in a lift the motif is higher, and with a
    second voice where it is strong. Where a section ends the lead leaves room for the fill.
    """
    part = frame.style.lead
    order = rng.permutation(len(part.lines)).tolist()
    motifs = {id(line): compose_motif(line, rng) for line in part.lines}
    centre = (part.low + part.high) // 2 - 2 + int(rng.integers(-2, 3))
    top = int(np.median([voicing[-1] for bar in voicings for voicing in bar]))
    centre = max(centre, min(top + CLEARANCE, part.high - CLEARANCE))
    pitches = scale_pitches(frame, part.low, part.high)
    rows: list[Row] = []
    for bar, line in played_bars(frame, "lead", part.lines, order):
        motif = motifs[id(line)]
        answers = bar.place // motif.line.bars % 2 == 1
        contour = motif.answer if answers else motif.contour
        anchor = centre + (3 if bar.section == "lift" else 0)
        for number, step, at in played_steps(line, bar):
            if bar.left == 0 and at >= bar.length / 2 and bar.length > 2:
                continue
            length = min(step.length, bar.length - at)
            strong = _is_strong(at, length)
            pitch = fit_pitch(pitches, anchor, contour[number], bar.chord_at(at), strong)
            base = ACCENT_VELOCITY if step.symbol == "X" else NOTE_VELOCITY
            velocity = loudness(base + rng.normal(0.0, 4.0), bar.intensity)
            start = frame.swung(at)
            sounding = max(0.1, (frame.swung(at + length) - start) * part.legato)
            rows.append((bar.start + start, sounding, pitch, velocity))
    return _with_second_voice(frame, one_voice(rows), pitches)


def scale_pitches(frame: Frame, low: int, high: int) -> list[int]:
    """Pitches of the style's melodic scale between two, or of the key's own scale."""
    scale = SCALES[frame.style.scale or frame.key.mode]
    if frame.style.scale == "minor-pentatonic" and frame.key.mode == "major":
        scale = SCALES["major-pentatonic"]
    if frame.style.scale in ("minor", "dorian", "phrygian") and frame.key.mode == "major":
        scale = SCALES["major"]
    classes = {(frame.key.tonic + step) % 12 for step in scale}
    return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]


def fit_pitch(scale: Sequence[int], anchor: int, steps: int, chord: Chord, strong: bool) -> int:
    """The pitch so many steps of the scale from an anchor, on a chord tone where it is strong.

    Weak notes stay on the scale, unless they lie a semitone from a chord tone. No note lies a
    semitone above a chord tone: even the root gives way where the chord has its major seventh.
    """
    nearest = min(range(len(scale)), key=lambda k: abs(scale[k] - anchor))
    pitch = scale[min(max(nearest + steps, 0), len(scale) - 1)]
    classes = chord.classes
    passing = (pitch + 1) % 12 not in classes and (pitch - 1) % 12 not in classes
    if pitch % 12 in chord.clear or (not strong and passing):
        return pitch
    tones = [p for p in range(scale[0], scale[-1] + 1) if p % 12 in chord.clear]
    return min(tones, key=lambda p: (abs(p - pitch), p)) if tones else pitch


def _is_strong(at: float, length: float) -> bool:
    return abs(at - round(at)) < 0.01 or length >= 1.0


def _with_second_voice(frame: Frame, rows: list[Row], scale: Sequence[int]) -> list[Row]:
    """A third or fourth below in strong lifts, of the chord that sounds."""
    more: list[Row] = []
    for start, length, pitch, velocity in rows:
        bar = frame.bars[frame.clock.bar_of(start + 0.05)]
        if bar.section != "lift" or bar.group < HARMONY_INTENSITY:
            continue
        classes = bar.chord_at(start - bar.start).classes
        below = [p for p in range(pitch - 7, pitch - 2) if p % 12 in classes]
        if below:
            more.append((start, length, below[-1], max(1, velocity - 14)))
    return sorted([*rows, *more])
