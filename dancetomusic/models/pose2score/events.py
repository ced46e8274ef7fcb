"""A score as a sequence of compound events on a grid of twelve ticks a beat.

There is an event at every beat and at every other tick at which something is struck. It has one
value for each of ``FIELDS``: which tracks strike, how each drum is struck, the chord of the beat,
what chords, bass and lead play, and the tick of the next event. So a bar takes as many steps as
it has ticks with strokes, and a beat without any takes one.

References:
    Hsiao et al., "Compound Word Transformer", 2021 (one step for all that happens at a time);
    Gillick et al., "Learning to Groove with Inverse Sequence Transformations", 2019 (velocity and
    timing offset of each stroke beside the grid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from dancetomusic.score.arrange import ARRANGED, Arrangement
from dancetomusic.score.comping import strum_beats, voice_piece
from dancetomusic.score.drums import STROKE_BEATS
from dancetomusic.score.frame import Frame, Row
from dancetomusic.score.harmony import QUALITIES, Chord
from dancetomusic.score.style import Style

TICKS_PER_BEAT = 12
"""Divides a beat into sixteenths and into eighth-note triplets alike."""

KIT = (
    ("kick", (36, 35)), ("snare", (38, 40)), ("rim", (37,)), ("clap", (39,)), ("hat", (42,)),
    ("pedal", (44,)), ("ohat", (46,)), ("ride", (51, 59)), ("bell", (53,)),
    ("crash", (49, 57, 55, 52)), ("high tom", (48, 50)), ("mid tom", (45, 47)),
    ("floor tom", (43, 41)),
)  # fmt: skip
"""Drums that every style has, each with the keys that stand for it, its own first."""

PERCUSSION = 10
"""Further drums of a style, in the order of their keys."""

N_DRUMS = len(KIT) + PERCUSSION

OFFSETS = 5
"""Steps of a stroke's deviation from its tick: -½ to ½ tick."""

VELOCITY_EDGES = np.array([30, 46, 60, 73, 85, 98, 116])
"""Lowest velocity of each step above the first; the last is an accent."""

VELOCITIES = VELOCITY_EDGES.size + 1
LENGTHS = np.array([1, 2, 3, 4, 6, 8, 9, 12, 15, 18, 24, 30, 36, 48, 60, 72, 96, 144])
"""Lengths of notes, in ticks."""

SHAPES = ("all", "upper", "outer", "next", *(f"voice {k}" for k in range(1, 11)))
"""What of a voicing is struck: all voices, all but the lowest, lowest and its octave, the next
chord's early, or one voice; from the sixth on an octave higher."""

TOGETHER_BEATS = 0.1
"""Notes of a chord this near are struck together."""

BASS_REACH, LEAD_REACH = (-14, 26), (-14, 30)
"""Semitones from the chord's root in the lowest octave of the bass, and from the tonic in the
lowest octave of the lead, that can be written."""

FIELDS: dict[str, int] = {
    "tracks": 16,
    **{f"drum {k}": 1 + VELOCITIES * OFFSETS for k in range(N_DRUMS)},
    "root": 12,
    "quality": len(QUALITIES),
    "shape": 1 + len(SHAPES),
    "chord length": 1 + LENGTHS.size,
    "chord velocity": 1 + VELOCITIES,
    "bass": 1 + BASS_REACH[1] - BASS_REACH[0],
    "bass length": 1 + LENGTHS.size,
    "bass velocity": 1 + VELOCITIES,
    "lead": 1 + LEAD_REACH[1] - LEAD_REACH[0],
    "lead length": 1 + LENGTHS.size,
    "lead velocity": 1 + VELOCITIES,
    "second voice": 13,
    "offset": OFFSETS,
    "next": TICKS_PER_BEAT,
}
"""Classes of each field; 0 is nothing, but of ``root``, ``quality`` and ``offset``. ``tracks`` has
a bit for each of ``ARRANGED``; ``next`` is the tick in the beat of the next event, 0 where it is
the next beat."""

NEEDS = {
    **{f"drum {k}": 1 for k in range(N_DRUMS)},
    **dict.fromkeys(("bass", "bass length", "bass velocity"), 2),
    **dict.fromkeys(("shape", "chord length", "chord velocity"), 4),
    **dict.fromkeys(("lead", "lead length", "lead velocity", "second voice"), 8),
}
"""Bit of ``tracks`` without which a field is 0."""

HARMONY = ("root", "quality")
"""Fields of the chord, which changes on beats alone."""

FIELD = {name: index for index, name in enumerate(FIELDS)}
_QUALITY_LIST = tuple(QUALITIES.values())


@dataclass(frozen=True)
class Events:
    """A piece as events."""

    ticks: Int64[np.ndarray, " events"]
    values: Int64[np.ndarray, "events fields"]


def drum_keys(style: Style) -> tuple[tuple[int, ...], ...]:
    """The keys that stand for each drum of a style, the one that is played first."""
    known = {key for _, keys in KIT for key in keys}
    strokes = (s for pattern in (*style.patterns, *style.fills) for s in pattern.strokes)
    others = sorted({stroke.key for stroke in strokes} - known)[:PERCUSSION]
    return (*(keys for _, keys in KIT), *((key,) for key in others))


def encode(
    frame: Frame, voicings: Sequence[Sequence[tuple[int, ...]]], parts: dict[str, list[Row]]
) -> Events:
    """The events of an arrangement up to its last hit.

    On one tick the bass has one note, chords and lead one stroke.
    """
    end = frame.plan.final_beat * TICKS_PER_BEAT
    slots: dict[int, dict[str, int]] = {tick: {} for tick in range(0, end, TICKS_PER_BEAT)}

    def at(beat: float) -> dict[str, int] | None:
        tick = round(beat * TICKS_PER_BEAT)
        return slots.setdefault(tick, {}) if 0 <= tick < end else None

    key_drum = {k: n for n, keys in enumerate(drum_keys(frame.style)) for k in keys}
    for start, _, key, velocity in parts["drums"]:
        slot, drum = at(start), key_drum.get(key)
        if slot is None or drum is None:
            continue
        stroke = 1 + velocity_step(velocity) * OFFSETS + offset_step(start)
        slot[f"drum {drum}"] = max(slot.get(f"drum {drum}", 0), stroke)
    chords = [bar.chord_at(beat) for bar in frame.bars for beat in range(bar.length)]
    voiced = _by_beat(frame, voicings)
    for start, rows in _strikes(parts["chords"]):
        slot = at(start)
        if slot is not None:
            beat = min(max(round(start * TICKS_PER_BEAT) // TICKS_PER_BEAT, 0), len(chords) - 1)
            after = voiced[_next_chord(chords, beat)]
            shape = _shape([row[2] for row in rows], voiced[beat], after)
            slot |= {
                "shape": 1 + shape,
                "chord length": 1 + length_step(max(row[1] for row in rows)),
                "chord velocity": 1 + velocity_step(max(row[3] for row in rows)),
                "offset": offset_step(start),
            }
    for start, length, pitch, velocity in sorted(parts["bass"]):
        slot = at(start)
        if slot is not None:
            chord = chords[
                min(max(round(start * TICKS_PER_BEAT) // TICKS_PER_BEAT, 0), len(chords) - 1)
            ]
            slot |= _note(
                "bass", pitch - _bass_root(frame.style, chord.root), length, velocity, BASS_REACH
            )
            slot["offset"] = offset_step(start)
    tonic = _lead_tonic(frame)
    for start, rows in _strikes(parts["lead"]):
        slot = at(start)
        if slot is not None:
            top = max(rows, key=lambda row: row[2])
            below = top[2] - min(row[2] for row in rows)
            slot |= _note("lead", top[2] - tonic, top[1], top[3], LEAD_REACH)
            slot |= {"second voice": min(below, 12), "offset": offset_step(start)}
    ticks = np.array(sorted(slots), np.int64)
    values = np.zeros((ticks.size, len(FIELDS)), np.int64)
    for row, tick in zip(values, ticks.tolist(), strict=True):
        slot, chord = slots[tick], chords[min(tick // TICKS_PER_BEAT, len(chords) - 1)]
        slot["root"] = (chord.root - frame.key.tonic) % 12
        slot["quality"] = _QUALITY_LIST.index(chord.intervals)
        slot.setdefault("offset", OFFSETS // 2)
        slot["tracks"] = sum(
            bit
            for bit, playing in (
                (1, any(name.startswith("drum ") for name in slot)),
                (2, "bass" in slot),
                (4, "shape" in slot),
                (8, "lead" in slot),
            )
            if playing
        )
        for name, value in slot.items():
            row[FIELD[name]] = value
    inside = ticks[1:] % TICKS_PER_BEAT
    values[:-1, FIELD["next"]] = inside
    return Events(ticks, values)


def velocity_step(velocity: int) -> int:
    """Step of a velocity."""
    return int(np.searchsorted(VELOCITY_EDGES, velocity, side="right"))


def velocity_of(step: int, rng: np.random.Generator) -> int:
    """A velocity of a step."""
    edges = (16, *VELOCITY_EDGES.tolist(), 126)
    low, high = edges[step], edges[step + 1]
    centre, spread = (low + high - 1) / 2, (high - low) / 4
    return int(np.clip(round(centre + spread * rng.uniform(-1, 1)), low, high - 1))


def offset_step(beat: float) -> int:
    """Step of how much later than its tick a time is."""
    late = beat * TICKS_PER_BEAT
    return round((late - round(late)) * (OFFSETS - 1)) + OFFSETS // 2


def offset_of(step: int) -> float:
    """Beats that a step of deviation stands for, less than half a tick."""
    return 0.9 * (step - OFFSETS // 2) / (OFFSETS - 1) / TICKS_PER_BEAT


def length_step(beats: float) -> int:
    """Step of the nearest of ``LENGTHS`` in proportion."""
    return int(np.abs(np.log(LENGTHS / max(beats * TICKS_PER_BEAT, 0.5))).argmin())


def _note(
    name: str, interval: int, length: float, velocity: int, reach: tuple[int, int]
) -> dict[str, int]:
    low, high = reach
    while interval < low:
        interval += 12
    while interval >= high:
        interval -= 12
    return {
        name: 1 + interval - low,
        f"{name} length": 1 + length_step(length),
        f"{name} velocity": 1 + velocity_step(velocity),
    }


def _strikes(rows: Sequence[Row]) -> list[tuple[float, list[Row]]]:
    """Notes struck together, with the time of the first."""
    strikes: list[tuple[float, list[Row]]] = []
    for row in sorted(rows):
        if strikes and row[0] - strikes[-1][0] <= TOGETHER_BEATS:
            strikes[-1][1].append(row)
        else:
            strikes.append((row[0], [row]))
    return strikes


def _shape(pitches: Sequence[int], voicing: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Which of ``SHAPES`` the pitches are of a voicing, or of the next."""
    struck = set(pitches)
    if struck == set(voicing):
        return SHAPES.index("all")
    if len(struck) == 1:
        pitch = pitches[0]
        voices = [voicing[k % len(voicing)] + 12 * (k // len(voicing)) for k in range(10)]
        return SHAPES.index("voice 1") + int(np.abs(np.array(voices) - pitch).argmin())
    if struck == set(voicing[1:]):
        return SHAPES.index("upper")
    if struck == {voicing[0], voicing[0] + 12}:
        return SHAPES.index("outer")
    return SHAPES.index("next") if struck == set(after) else SHAPES.index("all")


def _by_beat(frame: Frame, voicings: Sequence[Sequence[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """The voicing at each beat."""
    found = []
    for bar, voiced in zip(frame.bars, voicings, strict=True):
        shares = (int((beat + 1e-6) / bar.length * len(voiced)) for beat in range(bar.length))
        found += [voiced[min(share, len(voiced) - 1)] for share in shares]
    return found


def _fewest(beats: Sequence[Chord]) -> tuple[Chord, ...]:
    """Chords that share a bar evenly, from the chord of each beat."""
    for count in range(1, len(beats)):
        share = len(beats) // count
        if count * share == len(beats) and all(
            chord == beats[k // share * share] for k, chord in enumerate(beats)
        ):
            return tuple(beats[::share])
    return tuple(beats)


def _next_chord(chords: Sequence[Chord], beat: int) -> int:
    """The first beat after one at which the chord is another, or the last beat."""
    later = range(beat + 1, len(chords))
    return next((k for k in later if chords[k] != chords[beat]), len(chords) - 1)


def _bass_root(style: Style, root: int) -> int:
    low = style.bass.low
    return low + (root - low) % 12


def _lead_tonic(frame: Frame) -> int:
    low = frame.style.lead.low
    return low + (frame.key.tonic - low) % 12


def decode(
    events: Events, frame: Frame, programs: dict[str, int], rng: np.random.Generator
) -> Arrangement:
    """The arrangement that events stand for.

    There is an event at every beat up to the last hit; up to there the chords of ``frame`` are
    those of the events instead. ``rng`` draws each velocity within its step.
    """
    rows = [dict(zip(FIELDS, row, strict=True)) for row in events.values.tolist()]
    chords = [bar.chord_at(beat) for bar in frame.bars for beat in range(bar.length)]
    for tick, row in zip(events.ticks.tolist(), rows, strict=True):
        if tick % TICKS_PER_BEAT == 0:
            intervals = _QUALITY_LIST[row["quality"]]
            root = (row["root"] + frame.key.tonic) % 12
            chords[tick // TICKS_PER_BEAT] = Chord(root, intervals, "")
    bars = tuple(
        replace(
            bar,
            chords=_fewest(chords[bar.start : bar.start + bar.length]),
            following=chords[min(bar.start + bar.length, len(chords) - 1)],
        )
        for bar in frame.bars
    )
    frame = replace(frame, bars=bars)
    voicings = voice_piece(frame)
    voiced = _by_beat(frame, voicings)
    keys = drum_keys(frame.style)
    strum = strum_beats(frame, programs["chords"])
    parts: dict[str, list[Row]] = {name: [] for name in ARRANGED}
    for tick, row in zip(events.ticks.tolist(), rows, strict=True):
        beat, at = tick // TICKS_PER_BEAT, tick / TICKS_PER_BEAT
        for drum, drum_key in enumerate(keys):
            stroke = row[f"drum {drum}"] - 1
            if stroke >= 0:
                velocity, offset = divmod(stroke, OFFSETS)
                parts["drums"].append(
                    (at + offset_of(offset), STROKE_BEATS, drum_key[0], velocity_of(velocity, rng))
                )
        at += offset_of(row["offset"])
        if row["shape"]:
            after = voiced[_next_chord(chords, beat)]
            pitches = _pitches(row["shape"] - 1, voiced[beat], after)
            velocity = velocity_of(row["chord velocity"] - 1, rng)
            length = LENGTHS[row["chord length"] - 1] / TICKS_PER_BEAT
            parts["chords"] += [
                (at + number * strum, float(length), pitch, velocity)
                for number, pitch in enumerate(pitches)
            ]
        for name, base in (
            ("bass", _bass_root(frame.style, chords[beat].root)),
            ("lead", _lead_tonic(frame)),
        ):
            if row[name]:
                reach = BASS_REACH if name == "bass" else LEAD_REACH
                pitch = base + row[name] - 1 + reach[0]
                velocity = velocity_of(row[f"{name} velocity"] - 1, rng)
                length = float(LENGTHS[row[f"{name} length"] - 1] / TICKS_PER_BEAT)
                parts[name].append((at, length, pitch, velocity))
                if name == "lead" and row["second voice"]:
                    below = pitch - row["second voice"]
                    parts[name].append((at, length, below, max(velocity - 12, 20)))
    return Arrangement(frame, voicings, parts, programs)


def _pitches(shape: int, voicing: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    """The pitches of a shape of a voicing; see ``SHAPES``."""
    name = SHAPES[shape]
    if name == "upper":
        return voicing[1:] or voicing
    if name == "outer":
        return (voicing[0], voicing[0] + 12)
    if name == "next":
        return after
    if name == "all":
        return voicing
    number = shape - SHAPES.index("voice 1")
    return (voicing[number % len(voicing)] + 12 * (number // len(voicing)),)
