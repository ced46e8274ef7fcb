"""The arranger: a score for drums, bass, chords and lead from a plan, a style and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dancetomusic.score.accents import answer_hits, stop_with_rests
from dancetomusic.score.bassline import one_voice, play_bass
from dancetomusic.score.comping import play_chords, unstack, voice_piece
from dancetomusic.score.drums import play_drums
from dancetomusic.score.frame import LOUDEST, Frame, Row, build_frame
from dancetomusic.score.grooves import GrooveLibrary
from dancetomusic.score.harmony import Key, draw_key, parse_key
from dancetomusic.score.melody import play_lead
from dancetomusic.score.notes import LATE_START_S, BeatClock, Notes, Score, Track
from dancetomusic.score.plan import Plan
from dancetomusic.score.style import DRUM_KEYS, Style, load_style

TOGETHER_BEATS = 0.06
"""Two strokes on one drum this near are one."""

ARRANGED = ("drums", "bass", "chords", "lead")
"""Names of the tracks of every arrangement."""

SHORTEST_S = 0.03
"""Shortest note that is kept where the music ends."""


@dataclass(frozen=True)
class Arrangement:
    """A piece as it is written, up to its last hit.

    Attributes:
        voicings: Of the chords of each bar.
        programs: General MIDI program by track name; of drums, the kit's.
    """

    frame: Frame
    voicings: list[tuple[tuple[int, ...], ...]]
    parts: dict[str, list[Row]]
    programs: dict[str, int]

    def score(self) -> Score:
        """The piece with its last chord, silent where the dancers freeze, one note at a time."""
        frame = self.frame
        parts = stop_with_rests(frame, self.parts)
        parts = _with_final(frame, parts, self.voicings)
        single = {"drums": _loudest, "bass": one_voice, "chords": unstack, "lead": list}
        tracks = (
            Track(
                name,
                self.programs[name],
                name == "drums",
                _notes(frame, single[name](parts[name]), is_drum=name == "drums"),
            )
            for name in ARRANGED
        )
        return Score(
            frame.clock, tuple(tracks), frame.plan.sections, str(frame.key), frame.style.name
        )


def arrange(
    clock: BeatClock,
    plan: Plan,
    style: Style | str,
    key: Key | str | None = None,
    seed: int | np.random.Generator = 0,
    *,
    library: GrooveLibrary | None = None,
) -> Score:
    """Write a piece for a dance.

    Drums are human bars or written patterns; the bass plays roots with the bass drum; chords move
    little; the lead is a motif that returns. Tracks and density follow the plan's energy, fills
    lead from section to section, hits of the dance are answered by accents, all stop where the
    dancers freeze, and a cadence leads to a last chord that rings.

    Args:
        clock: When the beats are.
        plan: Sections, energy and hits, of the same clock.
        style: A style, or its name.
        key: Such as ``"A minor"``; drawn in a mode of the style by default. A mode that the style
            has no progressions for keeps its tonic only.
        seed: Of every choice: an integer, or the generator to draw from.
        library: Human drum performances; those that come with the package by default.

    Returns:
        Four tracks, without notes past the end of the music.

    Raises:
        InputError: If the style or the key is unknown.
    """
    return write_arrangement(clock, plan, style, key, seed, library=library).score()


def write_arrangement(
    clock: BeatClock,
    plan: Plan,
    style: Style | str,
    key: Key | str | None = None,
    seed: int | np.random.Generator = 0,
    *,
    library: GrooveLibrary | None = None,
) -> Arrangement:
    """As :func:`arrange`, with the bars and chords that the notes were written on."""
    if isinstance(style, str):
        style = load_style(style)
    rng = np.random.default_rng(seed)
    of_key, of_frame, of_drums, of_bass, of_chords, of_lead, of_sounds = rng.spawn(7)
    frame = build_frame(clock, plan, style, choose_key(style, key, of_key), of_frame)
    voicings = voice_piece(frame)
    programs = draw_programs(style, of_sounds)
    drums = play_drums(frame, of_drums, library)
    parts = {
        "drums": drums.rows,
        "bass": play_bass(frame, drums.rows, of_bass),
        "chords": play_chords(frame, voicings, programs["chords"], of_chords),
        "lead": play_lead(frame, voicings, of_lead),
    }
    parts = answer_hits(frame, parts, voicings, drums.accent_key)
    return Arrangement(frame, voicings, parts, {**programs, "drums": drums.kit})


def choose_key(style: Style, key: Key | str | None, rng: np.random.Generator) -> Key:
    """The key asked for, in a mode that the style has progressions for; else a random one.

    Raises:
        InputError: If the key has another form than ``"A minor"``.
    """
    drawn = draw_key(str(rng.choice(sorted(style.harmony))), rng)
    if key is None:
        return drawn
    wanted = parse_key(key) if isinstance(key, str) else key
    return wanted if wanted.mode in style.harmony else Key(wanted.tonic, drawn.mode)


def draw_programs(style: Style, rng: np.random.Generator) -> dict[str, int]:
    """A program of the style's for each pitched track."""
    parts = {"bass": style.bass, "chords": style.chords, "lead": style.lead}
    return {name: int(rng.choice(part.programs)) for name, part in parts.items()}


def _with_final(
    frame: Frame, parts: dict[str, list[Row]], voicings: list[tuple[tuple[int, ...], ...]]
) -> dict[str, list[Row]]:
    """The parts with their last hit: all strike the final chord and let it ring to the end."""
    bar = frame.final
    at = float(frame.plan.final_beat)
    rest = max(frame.end - at, 0.5)
    before = {
        name: [_cut(row, at) for row in rows if row[0] < at - 0.08] for name, rows in parts.items()
    }
    chord, voicing = bar.chords[-1], voicings[bar.index][-1]
    low = frame.style.bass.low
    before["drums"] += [
        (at, 0.5, DRUM_KEYS[name], velocity)
        for name, velocity in (("kick", LOUDEST), ("crash", LOUDEST - 2))
    ]
    before["bass"].append((at, rest, low + (chord.root - low) % 12, 104))
    before["chords"] += [(at, rest, pitch, 96) for pitch in voicing]
    if before["lead"]:
        last = before["lead"][-1][2]
        tonic = [frame.key.tonic] if frame.key.tonic in chord.clear else chord.clear
        tones = [p for p in range(last - 6, last + 7) if p % 12 in tonic]
        before["lead"].append((at, rest, min(tones, key=lambda p: abs(p - last)), 96))
    return before


def _loudest(drums: list[Row]) -> list[Row]:
    """Of strokes on one drum at nearly one time the loudest."""
    kept: dict[int, list[Row]] = {}
    for row in sorted(drums, key=lambda row: (row[0], row[3])):
        strokes = kept.setdefault(row[2], [])
        if strokes and row[0] - strokes[-1][0] < TOGETHER_BEATS:
            strokes[-1] = max(row, strokes[-1], key=lambda r: r[3])
        else:
            strokes.append(row)
    return [row for strokes in kept.values() for row in strokes]


def _cut(row: Row, end: float) -> Row:
    start, length, pitch, velocity = row
    return (start, min(length, max(end - start, 0.05)), pitch, velocity)


def _notes(frame: Frame, rows: list[Row], *, is_drum: bool) -> Notes:
    """Notes between the start and the end of the music."""
    first = frame.clock.beats(-LATE_START_S if is_drum else 0.0)
    last = frame.clock.beats(frame.clock.duration_s - SHORTEST_S)
    kept = []
    for start, length, pitch, velocity in rows:
        if is_drum and first <= start <= last:
            kept.append((start, length, pitch, velocity))
        elif not is_drum and start <= last and start + length > first + 0.05:
            begin = max(start, first)
            end = min(start + length, frame.end)
            if end - begin > 0.01:
                kept.append((begin, end - begin, pitch, velocity))
    return Notes.of(kept)
