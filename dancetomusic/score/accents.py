"""Answers to the dance's hits: strokes and stabs louder than all else, where movement stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dancetomusic.score.frame import Bar, Frame, Row
from dancetomusic.score.style import DRUM_KEYS

ACCENT = 116
"""Least velocity of an answer; everything else stays at ``frame.LOUDEST`` or below."""

SNAP_S = 0.04
"""A hit this near to a sixteenth is answered there, another at its own time."""

CRASH_SHARE = 0.3
"""Share of hits, the strongest, that may get a crash, if none was within ``CRASH_APART_BEATS``."""

CRASH_APART_BEATS = 6.0

STAB_BEATS = 0.45
"""Length of a chord or bass note that answers."""

SHORTEST_BEATS = 0.08
"""What an answer leaves of a note that is shorter than this is not played."""

LEAST_STOP_BEATS = 0.75
"""Shortest silence with a dancer who freezes."""

CLEAR_BEATS = 0.13
"""Strokes of the same drum this near give way to the answer."""


@dataclass(frozen=True)
class Answer:
    """An answer: when, in beats; how strong the hit is; whether it gets a crash."""

    beat: float
    strength: float
    crash: bool


def place_answers(frame: Frame) -> list[Answer]:
    """When to answer: the nearest sixteenth (in triplet music, triplet), or the hit itself."""
    hits, clock = frame.plan.hits, frame.clock
    if not len(hits):
        return []
    in_triplets = frame.style.swing >= 0.6 and frame.style.swing_unit == 8
    grid = 3 if in_triplets else 4
    least = float(np.quantile(hits.strengths, 1.0 - CRASH_SHARE))
    end = clock.seconds(frame.plan.final_beat) - 0.25
    answers: list[Answer] = []
    crashed = -np.inf
    for time, strength in zip(hits.times.tolist(), hits.strengths.tolist(), strict=True):
        if not 0.05 <= time < end:
            continue
        own = clock.beats(time)
        near = round(own * grid) / grid
        beat = near if abs(clock.seconds(near) - time) <= SNAP_S else own
        crash = strength >= least and beat - crashed >= CRASH_APART_BEATS
        crashed = beat if crash else crashed
        answers.append(Answer(beat, strength, crash))
    return answers


def answer_hits(
    frame: Frame,
    parts: Mapping[str, list[Row]],
    voicings: list[tuple[tuple[int, ...], ...]],
    accent_key: int,
) -> dict[str, list[Row]]:
    """The parts with the answers in them.

    Drums strike bass drum and the style's accent drum, with a crash on the strongest. For the
    stronger half chords and bass strike too where they play, and what they held gives way.

    ``voicings`` are the chords' by bar, ``accent_key`` is the drum that accents.
    """
    drums, bass, chords = (list(parts[name]) for name in ("drums", "bass", "chords"))
    roots = _roots(bass)
    answers = place_answers(frame)
    usual = float(np.median([answer.strength for answer in answers])) if answers else 0.0
    for answer in answers:
        bar = frame.bars[frame.clock.bar_of(answer.beat + 0.02)]
        level = round(ACCENT + (127 - ACCENT) * answer.strength)
        keys = [DRUM_KEYS["kick"], DRUM_KEYS["crash"] if answer.crash else accent_key]
        drums = [
            row for row in drums if abs(row[0] - answer.beat) > CLEAR_BEATS or row[2] not in keys
        ]
        drums += [(answer.beat, 0.3, key, level) for key in keys]
        inside = answer.beat - bar.start
        if "chords" in bar.playing and answer.strength >= usual:
            voicing = voicings[bar.index][_chord_number(bar, inside)]
            chords = _give_way(chords, answer.beat)
            chords += [(answer.beat, STAB_BEATS, pitch, level) for pitch in voicing]
        if "bass" in bar.playing and roots and answer.strength >= usual:
            chord = bar.chord_at(inside)
            bass = _give_way(bass, answer.beat)
            pitch = roots.get(chord.root, 36 + (chord.root - 36) % 12)
            bass.append((answer.beat, STAB_BEATS, pitch, min(level, 120)))
    return {**parts, "drums": drums, "bass": bass, "chords": chords}


def stop_with_rests(frame: Frame, parts: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """The parts silent where the dancers freeze, with a stroke where they stop and resume.

    Rests that a break covers, shorter than ``LEAST_STOP_BEATS``, or outside the piece are left.
    """
    found = {name: list(rows) for name, rows in parts.items()}
    for begin, end in _stops(frame):
        for name, rows in found.items():
            kept = [row for row in rows if not begin - 0.02 <= row[0] < end - CLEAR_BEATS]
            found[name] = [
                (start, min(length, begin + STAB_BEATS - start) if start < begin else length, p, v)
                for start, length, p, v in kept
            ]
        for at, cymbal in ((begin, DRUM_KEYS["crash"]), (end, DRUM_KEYS["crash2"])):
            found["drums"] += [(at, 0.3, key, ACCENT + 4) for key in (DRUM_KEYS["kick"], cymbal)]
    return found


def _stops(frame: Frame) -> list[tuple[float, float]]:
    """Rests in beats on the grid of sixteenths, in order, none touching another."""
    clock = frame.clock
    stops: list[tuple[float, float]] = []
    for start_s, end_s in frame.plan.rests.tolist():
        begin, end = (round(clock.beats(time) * 4) / 4 for time in (start_s, end_s))
        section = frame.bars[clock.bar_of(begin)].section
        inside = frame.bars[0].start + 2 <= begin and end <= frame.plan.final_beat - 1
        apart = not stops or begin > stops[-1][1] + 0.5
        if section != "break" and inside and apart and end - begin >= LEAST_STOP_BEATS:
            stops.append((begin, end))
    return stops


def _chord_number(bar: Bar, inside: float) -> int:
    return min(int(max(inside, 0.0) / max(bar.length, 1) * len(bar.chords)), len(bar.chords) - 1)


def _roots(bass: list[Row]) -> dict[int, int]:
    """The lowest pitch of each class that the bass plays."""
    lowest: dict[int, int] = {}
    for row in bass:
        lowest[row[2] % 12] = min(lowest.get(row[2] % 12, 127), row[2])
    return lowest


def _give_way(rows: list[Row], beat: float) -> list[Row]:
    """Without notes that start at an answer; those held into it end there, and do not resume."""
    kept = []
    for start, length, pitch, velocity in rows:
        if abs(start - beat) <= CLEAR_BEATS or beat < start < beat + STAB_BEATS / 2:
            continue
        if start < beat < start + length:
            length = beat - start
        if length < SHORTEST_BEATS:
            continue
        kept.append((start, length, pitch, velocity))
    return kept
