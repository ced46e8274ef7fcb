"""Scores in and out of standard MIDI files.

A file's time 0 is the dance's, so that it lies right under the video. If that is within a beat,
the first bar is shorter by a whole number of sixty-fourths, and the tempo up to the first beat
makes up for what is left.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np
from jaxtyping import Float64, Int64
from mido.midifiles.meta import KeySignatureError

from dancetomusic.errors import InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.rhythm.beats import extrapolate_beats, track_from_beats
from dancetomusic.rhythm.files import LEEWAY_S
from dancetomusic.score.notes import LATE_START_S, BeatClock, Notes, Score, Section, Track
from dancetomusic.types import RhythmTrack

TICKS_PER_BEAT = 480
DRUM_CHANNEL = 9
SUSTAIN_PEDAL = 64
MAX_BYTES = 10_000_000
MAX_TRACKS = 200
MAX_BEATS = 50_000

_LEAD_TICKS = 30  # a sixty-fourth: what a first bar that begins within a beat is rounded to
_TEMPO_SLACK_S = 5e-5  # how far the file may be off before its tempo is corrected
_MAX_TEMPO = 0xFFFFFF  # µs a beat that fit in the format
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    KeySignatureError,
)  # what the parser raises on bytes that are no MIDI


@dataclass(frozen=True)
class MidiMusic:
    """What a MIDI file holds, in beats of its own.

    A beat is a quarter note; in 6/8, 9/8 and 12/8 a dotted one, and over 2 a half note. A first
    bar that does not last whole beats is counted from its end.

    Attributes:
        clock: The file's own tempo map and bars.
        tracks: One for each track and channel with notes.
        markers: Their beats and texts, in order.
        key: Such as ``"A minor"``; empty where the file does not say.
    """

    clock: BeatClock
    tracks: tuple[Track, ...]
    markers: tuple[tuple[float, str], ...] = ()
    key: str = ""


def write_midi(score: Score, path: Path | str, *, credit: str = "") -> None:
    """Write a score as a standard MIDI file, type 1.

    The first track holds tempo, bars, key and the sections as markers; the others follow with
    their names and programs, drums on channel 10. What is not audible (``Score.audible``) is left
    out. Times are those of the score's clock within 0.1 ms.

    ``credit`` is the file's copyright notice.

    Raises:
        InputError: If a beat lasts longer than the format can say (16 s), or a bar has over
            255 beats.
        OutputError: If the file cannot be written.
    """
    grid = _Grid(score.clock)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(_conductor(score, grid, credit))
    channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    n_pitched = 0
    for track in score.tracks:
        channel = DRUM_CHANNEL if track.is_drum else channels[n_pitched % len(channels)]
        n_pitched += not track.is_drum
        file.tracks.append(_part(score, track, grid, channel))
    with atomic_output(path) as temporary:
        file.save(str(temporary))


def read_midi(path: Path | str) -> MidiMusic:
    """Read a MIDI file with its own tempo.

    Raises:
        InputError: If the file is missing, above 10 MB, no MIDI file, damaged, of type 2, timed
            by video frames, has over 200 tracks, no notes, a tempo of 0, or more beats than
            anyone dances.
    """
    file = _parse(path)
    events = _events(file)
    if not any(event.message.type == "note_on" and event.message.velocity for event in events):
        raise InputError(f"MIDI file {path} has no notes", "Give one with notes.")
    last_tick = max(event.tick for event in events)
    if last_tick > MAX_BEATS * file.ticks_per_beat:
        raise InputError(
            f"MIDI file {path} has over {MAX_BEATS} beats", "Cut it to the length of the dance."
        )
    beat_ticks, numbers = _beat_grid(events, file.ticks_per_beat, last_tick)
    clock = BeatClock(_tick_seconds(events, file.ticks_per_beat, beat_ticks, path), numbers)
    ticks = BeatClock(beat_ticks, numbers)  # a clock whose "seconds" are ticks
    markers = sorted(
        (float(ticks.beats(event.tick)), _clean(event.message.text))
        for event in events
        if event.message.type == "marker" and _clean(event.message.text)
    )
    keys = (event.message.key for event in events if event.message.type == "key_signature")
    return MidiMusic(
        clock, tuple(_tracks(file, events, ticks)), tuple(markers), _key(next(keys, ""))
    )


def load_midi_beats(path: Path | str, duration_s: float) -> RhythmTrack:
    """The beats and bars of a MIDI file's own tempo map, with notes or without.

    Raises:
        InputError: As ``read_midi``, but for the notes; or if the tempo lies outside 20-400 BPM.
    """
    file = _parse(path)
    events = _events(file)
    last_tick = max((event.tick for event in events), default=0)
    last_s, next_s = _tick_seconds(
        events, file.ticks_per_beat, np.array([last_tick, last_tick + 1.0]), path
    )
    last_tick += math.ceil(max(0.0, duration_s - last_s) / (next_s - last_s))
    if last_tick > MAX_BEATS * file.ticks_per_beat:
        raise InputError(f"MIDI file {path} has over {MAX_BEATS} beats", "Cut it.")
    ticks, numbers = _beat_grid(events, file.ticks_per_beat, last_tick)
    times = _tick_seconds(events, file.ticks_per_beat, ticks, path)
    near = times < duration_s + LEEWAY_S
    near[:2] = True
    return track_from_beats(times[near], numbers[near], duration_s)


def score_from_midi(path: Path | str, clock: BeatClock) -> Score:
    """Lay the music of a MIDI file on a dance: its beats on the clock's beats.

    Bars are aligned with bars as far as they agree: a file that starts with a whole bar starts with
    the dance's first whole bar, and a file that was written for this clock keeps its place. The
    file's own tempo is not used. Markers become sections.

    Raises:
        InputError: As ``read_midi``.
    """
    music = read_midi(path)
    shift = _shift(music.clock, clock)
    tracks = []
    for track in music.tracks:
        notes = track.notes
        moved = Notes(notes.start + shift, notes.length, notes.pitch, notes.velocity)
        tracks.append(Track(track.name, track.program, track.is_drum, moved))
    return Score(clock, tuple(tracks), _sections(music.markers, shift, clock), music.key)


class _Grid:
    """Ticks of a score's beats, from 0 s on."""

    def __init__(self, clock: BeatClock) -> None:
        times, numbers = extrapolate_beats(
            clock.beat_times, clock.beat_numbers, end_s=clock.duration_s
        )
        first = int(np.searchsorted(times, 1e-6, side="right")) - 1  # the beat that 0 s is in
        share = float((times[first + 1]) / (times[first + 1] - times[first]))
        steps = np.clip(
            round(share * TICKS_PER_BEAT / _LEAD_TICKS), 1, TICKS_PER_BEAT // _LEAD_TICKS
        )
        self.lead = int(steps) * _LEAD_TICKS
        self.times = np.concatenate([[0.0], times[first + 1 :]])
        self.numbers = numbers[first:].astype(np.int64)
        self._clock = BeatClock(self.times, self.numbers)

    def tick(self, seconds: Float64[np.ndarray, " times"]) -> Int64[np.ndarray, " times"]:
        """The nearest tick; 0 for what is earlier than 0 s."""
        beats = self._clock.beats(seconds)
        ticks = np.where(beats < 1, beats * self.lead, self.lead + (beats - 1) * TICKS_PER_BEAT)
        return np.maximum(np.round(ticks), 0).astype(np.int64)

    def tempi(self) -> Iterator[tuple[int, int]]:
        """Ticks and µs a beat of each change of tempo."""
        reached_s, tempo = 0.0, 0
        ticks = self.tick(self.times)
        for place in range(self.times.size - 1):
            beats = float(ticks[place + 1] - ticks[place]) / TICKS_PER_BEAT
            wanted = (self.times[place + 1] - reached_s) / beats * 1e6
            if not 1 <= round(wanted) <= _MAX_TEMPO:
                raise InputError(
                    f"a beat lasts {wanted / 1e6:g} s", "Give beats that MIDI can hold, up to 16 s."
                )
            if abs(tempo - wanted) * beats > _TEMPO_SLACK_S * 1e6:
                tempo = round(wanted)
                yield int(ticks[place]), tempo
            reached_s += tempo * beats / 1e6

    def metres(self) -> Iterator[tuple[int, int, int]]:
        """Tick, numerator and denominator of each change of bar length."""
        ticks = self.tick(self.times)
        starts = np.union1d([0], np.flatnonzero(self.numbers == 1))
        known = 0
        for start, end in pairwise(starts):
            length = int(ticks[end] - ticks[start])
            if length != known:
                yield int(ticks[start]), *_metre(length)
                known = length
        if not known:  # no whole bar
            yield 0, int(self.numbers.max()), 4


def _metre(ticks: int) -> tuple[int, int]:
    """A bar's time signature, in the longest notes in which its length is whole."""
    unit, denominator = TICKS_PER_BEAT, 4
    # Quarters while they are: 4 1/2 of them are 18/16, since 9/8 would mean three beats.
    while ticks % unit or (denominator == 8 and ticks // unit == 9):
        unit, denominator = unit // 2, denominator * 2
    if ticks // unit > 255:
        raise InputError(f"a bar lasts {ticks / TICKS_PER_BEAT:g} beats", "Renumber its beats.")
    return ticks // unit, denominator


def _conductor(score: Score, grid: _Grid, credit: str) -> mido.MidiTrack:
    """The track with all that belongs to the whole piece."""
    rows: list[tuple[int, mido.MetaMessage]] = [
        (0, mido.MetaMessage("track_name", name=_clean(score.style) or "dancetomusic")),
        (0, mido.MetaMessage("text", text="Made with dancetomusic")),
    ]
    if credit:
        rows.append((0, mido.MetaMessage("copyright", text=_clean(credit, 1000))))
    if score.key:
        rows.append((0, mido.MetaMessage("key_signature", key=_midi_key(score.key))))
    for tick, numerator, denominator in grid.metres():
        rows.append(
            (
                tick,
                mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator),
            )
        )
    rows += [(tick, mido.MetaMessage("set_tempo", tempo=tempo)) for tick, tempo in grid.tempi()]
    for section in score.sections:
        start = score.clock.seconds(score.clock.bar_starts[[section.first_bar]])
        rows.append(
            (int(grid.tick(start)[0]), mido.MetaMessage("marker", text=_clean(section.name)))
        )
    return _track(rows)


def _part(score: Score, track: Track, grid: _Grid, channel: int) -> mido.MidiTrack:
    notes = score.audible(track)
    starts = grid.tick(score.clock.seconds(notes.start))
    ends = np.maximum(grid.tick(score.clock.seconds(notes.end)), starts + 1)
    rows: list[tuple[int, Any]] = [
        (0, mido.MetaMessage("track_name", name=_clean(track.name))),
        (0, mido.Message("program_change", channel=channel, program=track.program)),
    ]
    strokes = []
    for start, end, pitch, velocity in zip(
        starts.tolist(), ends.tolist(), notes.pitch.tolist(), notes.velocity.tolist(), strict=True
    ):
        on = mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
        off = mido.Message("note_off", channel=channel, note=pitch)
        strokes += [(start, 1, on), (end, 0, off)]
    strokes.sort(key=lambda stroke: stroke[:2])  # a note that ends here ends before the next
    return _track(rows + [(tick, message) for tick, _, message in strokes])


def _track(rows: list[tuple[int, Any]]) -> mido.MidiTrack:
    """Messages at ticks as a track of messages after waits."""
    track, reached = mido.MidiTrack(), 0
    for tick, message in sorted(rows, key=lambda row: row[0]):
        track.append(message.copy(time=tick - reached))
        reached = tick
    return track


def _clean(text: str, longest: int = 80) -> str:
    """Printable ASCII, since files do not say how their text is encoded, cut to a length."""
    plain = text.encode("ascii", "replace").decode("ascii")
    return "".join(letter for letter in plain if letter.isprintable()).strip()[:longest]


_SAME_KEY = {"D#": "Eb", "G#": "Ab", "A#": "Bb", "E#": "F", "B#": "C", "Fb": "E"}
_SAME_MINOR_KEY = {"Db": "C#", "Gb": "F#", "Cb": "B", "E#": "F", "B#": "C", "Fb": "E"}


def _midi_key(key: str) -> str:
    """A key under the name that has a signature of at most seven accidentals."""
    tonic, mode = key.split()
    if mode == "minor":
        return _SAME_MINOR_KEY.get(tonic, tonic) + "m"
    return _SAME_KEY.get(tonic, tonic)


def _key(name: str) -> str:
    if not name:
        return ""
    return f"{name[:-1]} minor" if name.endswith("m") else f"{name} major"


def _parse(path: Path | str) -> mido.MidiFile:
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"MIDI file {path} has {size / 1e6:.0f} MB",
                f"Give at most {MAX_BYTES / 1e6:.0f} MB.",
            )
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read MIDI file {path} ({error.strerror or error})", "Check the path."
        ) from error
    if data[:4] != b"MThd":
        raise InputError(f"{path} is no MIDI file", "Give a standard MIDI file (.mid).")
    kind, n_tracks, division = (int.from_bytes(data[k : k + 2], "big") for k in (8, 10, 12))
    if kind > 1:
        raise InputError(f"MIDI file {path} is of type {kind}", "Save it as type 0 or 1.")
    if n_tracks > MAX_TRACKS:
        raise InputError(f"MIDI file {path} has {n_tracks} tracks", f"Give up to {MAX_TRACKS}.")
    if division & 0x8000 or not division:
        raise InputError(
            f"MIDI file {path} is timed by video frames, not by beats",
            "Save it with ticks per quarter note.",
        )
    try:
        return mido.MidiFile(file=io.BytesIO(data), clip=True)
    except _DAMAGE as error:
        raise InputError(
            f"MIDI file {path} is damaged ({error or type(error).__name__})", "Export it again."
        ) from error


@dataclass(frozen=True)
class _Event:
    tick: int
    track: int
    message: Any


def _events(file: mido.MidiFile) -> list[_Event]:
    """Every message, in order of time."""
    events = []
    for number, track in enumerate(file.tracks):
        tick = 0
        for message in track:
            tick += message.time
            events.append(_Event(tick, number, message))
    return sorted(events, key=lambda event: event.tick)


def _beat_grid(
    events: list[_Event], ticks_per_beat: int, last_tick: int
) -> tuple[Float64[np.ndarray, " beats"], Int64[np.ndarray, " beats"]]:
    """Ticks and positions in the bar of a file's beats, past its last event."""
    changes = {0: (4, 4)}
    for event in events:
        if event.message.type == "time_signature" and event.message.numerator:
            changes[event.tick] = (event.message.numerator, event.message.denominator)
    starts = sorted(changes)
    ticks: list[float] = []
    numbers: list[int] = []
    for start, end in zip(starts, [*starts[1:], last_tick + 1], strict=True):
        numerator, denominator = changes[start]
        beat = _beat_ticks(numerator, denominator, ticks_per_beat)
        bar = max(numerator * 4 * ticks_per_beat / denominator, 1.0)
        at = float(start)
        while at < end:
            length = min(bar, end - at) if end <= last_tick else bar
            count = max(1, int(np.ceil(length / beat - 1e-6)))
            first_part = at == 0 and length < count * beat - 1e-6
            # A first bar that is not whole is counted from its end.
            offset = length - count * beat if first_part else 0.0
            ticks += [at + offset + k * beat for k in range(count)]
            numbers += range(1, count + 1)
            at += length
            if len(ticks) > 4 * MAX_BEATS:
                raise InputError(
                    f"the MIDI file's bars have over {4 * MAX_BEATS} beats", "Give longer notes."
                )
    if len(ticks) < 2:
        ticks.append(ticks[-1] + ticks_per_beat)
        numbers.append(1)
    return np.array(ticks, np.float64), np.array(numbers, np.int64)


def _beat_ticks(numerator: int, denominator: int, ticks_per_beat: int) -> float:
    if denominator == 8 and numerator in (6, 9, 12):
        return 1.5 * ticks_per_beat
    return ticks_per_beat * (4.0 / denominator if denominator < 4 else 1.0)


def _tick_seconds(
    events: list[_Event], ticks_per_beat: int, ticks: np.ndarray, path: Path | str
) -> Float64[np.ndarray, " beats"]:
    """When ticks are, by the file's tempi."""
    tempi = {0: 500_000}
    for event in events:
        if event.message.type == "set_tempo":
            if event.message.tempo < 1:
                raise InputError(f"MIDI file {path} has a tempo of 0", "Give tempi above 0.")
            tempi[event.tick] = event.message.tempo
    places = np.array([*tempi], np.float64)
    rates = np.array([*tempi.values()], np.float64) / 1e6 / ticks_per_beat
    reached = np.concatenate([[0.0], np.cumsum(np.diff(places) * rates[:-1])])
    current = np.clip(np.searchsorted(places, ticks, side="right") - 1, 0, None)
    return np.asarray(reached[current] + (ticks - places[current]) * rates[current])


def _tracks(file: mido.MidiFile, events: list[_Event], ticks: BeatClock) -> Iterator[Track]:
    """A track for each track and channel that has notes, each with a name of its own."""
    names: set[str] = set()
    by_place: dict[tuple[int, int], list[_Event]] = {}
    for event in events:
        if not event.message.is_meta and hasattr(event.message, "channel"):
            by_place.setdefault((event.track, event.message.channel), []).append(event)
    for (number, channel), played in sorted(by_place.items()):
        rows = list(_note_rows(played))
        if not rows:
            continue
        table = np.array(rows, np.float64)
        start, end = ticks.beats(table[:, 0]), ticks.beats(table[:, 1])
        notes = Notes.of(zip(start, end - start, table[:, 2], table[:, 3], strict=True))
        program = next((e.message.program for e in played if e.message.type == "program_change"), 0)
        is_drum = channel == DRUM_CHANNEL
        name = _clean(file.tracks[number].name) or ("drums" if is_drum else f"track {number}")
        unique, count = name, 1
        while unique in names:
            count += 1
            unique = f"{name} {count}"
        names.add(unique)
        yield Track(unique, program, is_drum, notes)


def _note_rows(events: list[_Event]) -> Iterator[tuple[int, int, int, int]]:
    """Start, end, pitch and velocity; of equal pitches the one that began first ends first.

    A note let go under the sustain pedal ends with the pedal, or when it is struck again.
    """
    sounding: dict[int, list[tuple[int, int]]] = {}
    ringing: dict[int, list[tuple[int, int]]] = {}
    pedal = False
    for event in events:
        message, tick = event.message, event.tick
        if message.type == "note_on" and message.velocity:
            yield from _ended({message.note: ringing.pop(message.note, [])}, tick)
            sounding.setdefault(message.note, []).append((tick, message.velocity))
        elif message.type in ("note_on", "note_off") and sounding.get(message.note):
            ended = {message.note: [sounding[message.note].pop(0)]}
            if pedal:
                ringing.setdefault(message.note, []).extend(ended[message.note])
            else:
                yield from _ended(ended, tick)
        elif message.type == "control_change" and message.control == SUSTAIN_PEDAL:
            pedal = message.value >= 64
            if not pedal:
                yield from _ended(ringing, tick)
                ringing = {}
    yield from _ended(ringing, events[-1].tick)
    yield from _ended(sounding, events[-1].tick)


def _ended(
    notes: dict[int, list[tuple[int, int]]], tick: int
) -> Iterator[tuple[int, int, int, int]]:
    for pitch, struck in notes.items():
        for start, velocity in struck:
            yield start, max(tick, start + 1), pitch, velocity


def _shift(own: BeatClock, clock: BeatClock) -> int:
    """Beats by which a file's beats come later on the clock, so that most bars agree."""
    bars = np.flatnonzero(clock.beat_numbers == 1)
    bars = bars[clock.seconds(bars) >= -LATE_START_S]
    starts = np.flatnonzero(own.beat_numbers == 1)
    candidates = {int(bar - start) for bar in bars[:2] for start in starts[:2]}
    if not candidates:
        return 0

    def agreement(shift: int) -> tuple[int, int]:
        return int(np.isin(starts + shift, bars).sum()), -abs(shift)

    return max(candidates, key=agreement)


def _sections(
    markers: tuple[tuple[float, str], ...], shift: int, clock: BeatClock
) -> tuple[Section, ...]:
    """Markers as sections up to the next; the last of a bar counts."""
    names: dict[int, str] = {}
    for beat, name in markers:
        if beat + shift < clock.n_beats:
            names[clock.bar_of(beat + shift + 1e-3)] = name
    bars = sorted(names)
    ends = [*bars, clock.n_bars][1:]
    return tuple(Section(names[bar], bar, end - bar) for bar, end in zip(bars, ends, strict=True))
