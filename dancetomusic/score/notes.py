"""The score: notes of several tracks, in beats of a clock that follows the dance."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from jaxtyping import Float64, Int64, Real

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import extrapolate_beats
from dancetomusic.types import RhythmTrack

LATE_START_S = 0.02
"""A drum stroke this little before 0 s is played at 0 s; an earlier one is not played."""

_KEY = re.compile(r"[A-G](#|b)? (major|minor)")
_INSTANT_S = 1e-6  # times closer than this are one

Number = float | int | np.integer | np.floating


@dataclass(frozen=True)
class Notes:
    """One track's notes, sorted by start, then pitch.

    Attributes:
        start: In beats from the score's beat 0; a groove may shift them off the beat.
        length: In beats, above 0.
        pitch: MIDI number in 0-127 (60 is middle C); of drums, the General MIDI percussion key.
        velocity: Strength in 1-127.

    Raises:
        InputError: If lengths disagree, a value is out of its range, or notes are not sorted.
    """

    start: Float64[np.ndarray, " notes"]
    length: Float64[np.ndarray, " notes"]
    pitch: Int64[np.ndarray, " notes"]
    velocity: Int64[np.ndarray, " notes"]

    def __post_init__(self) -> None:
        if not (self.start.shape == self.length.shape == self.pitch.shape == self.velocity.shape):
            raise InputError("the notes' parts differ in length", "Give one value per note.")
        if not len(self):
            return
        if not (np.isfinite(self.start).all() and np.isfinite(self.length).all()):
            raise InputError("a note's start or length is not finite", "Remove NaN and inf.")
        if self.length.min() <= 0:
            raise InputError(
                f"a note lasts {self.length.min():g} beats", "Give lengths above 0 beats."
            )
        _check_range("pitch", self.pitch, 0, 127)
        _check_range("velocity", self.velocity, 1, 127)
        if (np.lexsort((self.pitch, self.start)) != np.arange(len(self))).any():
            raise InputError("notes are not sorted by start and pitch", "Build them by Notes.of.")

    def __len__(self) -> int:
        return int(self.start.size)

    @classmethod
    def of(cls, rows: Iterable[tuple[Number, Number, Number, Number]]) -> Notes:
        """Notes from rows of (start, length, pitch, velocity), in any order.

        Raises:
            InputError: As the class does.
        """
        table = np.array([[float(value) for value in row] for row in rows]).reshape(-1, 4)
        if not np.isfinite(table).all():
            raise InputError("a note has a value that is not finite", "Remove NaN and inf.")
        table = table[np.lexsort((table[:, 2], table[:, 0]))]
        whole = np.round(table[:, 2:]).astype(np.int64)
        return cls(table[:, 0].copy(), table[:, 1].copy(), whole[:, 0].copy(), whole[:, 1].copy())

    @classmethod
    def empty(cls) -> Notes:
        """No notes."""
        return cls.of([])

    @property
    def end(self) -> Float64[np.ndarray, " notes"]:
        """Where each note ends, in beats."""
        return self.start + self.length


@dataclass(frozen=True)
class Track:
    """The notes that one instrument plays.

    Attributes:
        name: Such as ``"drums"``, ``"bass"``, ``"chords"`` or ``"lead"``.
        program: General MIDI program in 0-127; of drums, the kit's (0 standard, 8 room,
            24 electronic, 25 TR-808).
        is_drum: Pitches name percussion instruments.
        notes: What it plays.

    Raises:
        InputError: If the name is empty or the program out of range.
    """

    name: str
    program: int
    is_drum: bool
    notes: Notes

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a track has no name", "Name it, for example 'bass'.")
        if not 0 <= self.program <= 127:
            raise InputError(f"track {self.name} has program {self.program}", "Give 0 to 127.")


@dataclass(frozen=True)
class Section:
    """A stretch of bars with one role in the piece.

    Attributes:
        name: ``"intro"``, ``"groove"``, ``"lift"``, ``"break"`` or ``"ending"``; a file that
            was not made here may have others.
        first_bar: Index of its first bar, from 0.
        n_bars: Its length in bars, 1 or more.

    Raises:
        InputError: If the name is empty or a number out of range.
    """

    name: str
    first_bar: int
    n_bars: int

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a section has no name", "Name it, for example 'groove'.")
        if self.first_bar < 0 or self.n_bars < 1:
            raise InputError(
                f"section {self.name} has {self.n_bars} bars from bar {self.first_bar}",
                "Give 1 bar or more, from bar 0 on.",
            )


@dataclass(frozen=True)
class BeatClock:
    """Which beat is when, and which bar it belongs to.

    Beat ``k`` is at ``beat_times[k]``; between beats time runs evenly, and beyond both ends
    the neighbouring interval continues.

    Attributes:
        beat_times: Strictly increasing, in seconds; two beats or more. The first may lie
            before 0 s, so that the music starts within a beat.
        beat_numbers: Position of each beat in its bar; 1 is the downbeat.
        duration_s: Length of the music, in seconds; by default the last beat lasts as long as
            the one before.

    Raises:
        InputError: If there are fewer than two beats, times do not increase, a number is below
            1, or the music ends before its second beat begins.
    """

    beat_times: Float64[np.ndarray, " beats"]
    beat_numbers: Int64[np.ndarray, " beats"]
    duration_s: float = 0.0

    def __post_init__(self) -> None:
        times = self.beat_times
        if times.shape != self.beat_numbers.shape:
            raise InputError("beat times and numbers differ in length", "Give one per beat.")
        if times.size < 2:
            raise InputError(f"a clock has {times.size} beats", "Give two or more.")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise InputError("beat times do not increase", "Sort them and remove duplicates.")
        if self.beat_numbers.min() < 1:
            raise InputError(
                f"a beat has number {self.beat_numbers.min()}", "Number beats of a bar from 1."
            )
        if self.duration_s == 0.0:
            object.__setattr__(self, "duration_s", float(2 * times[-1] - times[-2]))
        if not np.isfinite(self.duration_s) or self.duration_s <= max(0.0, times[0]):
            raise InputError(
                f"the music lasts {self.duration_s:g} s and its first beat is at {times[0]:g} s",
                "Give a duration that ends after 0 s and after the first beat.",
            )

    @classmethod
    def from_rhythm(cls, rhythm: RhythmTrack, duration_s: float | None = None) -> BeatClock:
        """The rhythm's beats, extended over the whole of [0, ``duration_s``].

        Beat 0 is the last at or before 0 s, unless the rhythm itself starts earlier.

        ``duration_s`` is by default the rhythm's.

        Raises:
            InputError: If there is no beat, or the duration is not positive.
        """
        if duration_s is None:
            duration_s = rhythm.duration_s
        times, numbers = extrapolate_beats(
            rhythm.beat_times.astype(np.float64),
            rhythm.beat_numbers.astype(np.int64),
            end_s=duration_s,
        )
        times[np.abs(times) < _INSTANT_S] = 0.0
        return cls(times, numbers.astype(np.int64), float(duration_s))

    @overload
    def seconds(self, beats: Number) -> float: ...
    @overload
    def seconds(self, beats: Real[np.ndarray, "*points"]) -> Float64[np.ndarray, "*points"]: ...
    def seconds(
        self, beats: Number | Real[np.ndarray, "*points"]
    ) -> float | Float64[np.ndarray, "*points"]:
        """When the beats (fractions allowed) are, in seconds."""
        places = np.arange(self.beat_times.size, dtype=np.float64)
        found = _line(np.asarray(beats, np.float64), places, self.beat_times)
        return found if isinstance(beats, np.ndarray) else float(found)

    @overload
    def beats(self, seconds: Number) -> float: ...
    @overload
    def beats(self, seconds: Real[np.ndarray, "*points"]) -> Float64[np.ndarray, "*points"]: ...
    def beats(
        self, seconds: Number | Real[np.ndarray, "*points"]
    ) -> float | Float64[np.ndarray, "*points"]:
        """Which beat, with its fraction, it is at each time: the inverse of ``seconds``."""
        places = np.arange(self.beat_times.size, dtype=np.float64)
        found = _line(np.asarray(seconds, np.float64), self.beat_times, places)
        return found if isinstance(seconds, np.ndarray) else float(found)

    @cached_property
    def n_beats(self) -> int:
        """Beats that begin before the music ends."""
        return int((self.beat_times < self.duration_s - _INSTANT_S).sum())

    @cached_property
    def bar_starts(self) -> Int64[np.ndarray, " bars"]:
        """First beat of each bar that begins before the music ends.

        Bar 0 starts at beat 0, whether that is a downbeat or within a bar (a pick-up bar).
        """
        downbeats = np.flatnonzero(self.beat_numbers[: self.n_beats] == 1)
        return np.union1d([0], downbeats).astype(np.int64)

    @property
    def n_bars(self) -> int:
        """Bars that begin before the music ends; the pick-up bar counts."""
        return int(self.bar_starts.size)

    @property
    def beats_per_bar(self) -> int:
        """The most frequent length of a whole bar, in beats."""
        lengths = np.diff(self.bar_starts)
        if lengths.size > 1 and self.beat_numbers[0] != 1:
            lengths = lengths[1:]
        return int(np.bincount(lengths).argmax()) if lengths.size else int(self.beat_numbers.max())

    @overload
    def bar_of(self, beat: Number) -> int: ...
    @overload
    def bar_of(self, beat: Real[np.ndarray, "*points"]) -> Int64[np.ndarray, "*points"]: ...
    def bar_of(
        self, beat: Number | Real[np.ndarray, "*points"]
    ) -> int | Int64[np.ndarray, "*points"]:
        """Index of the bar in which a beat (fractions allowed) lies."""
        found = np.searchsorted(self.bar_starts, np.asarray(beat, np.float64), side="right") - 1
        bars = np.clip(found, 0, self.n_bars - 1).astype(np.int64)
        return bars if isinstance(beat, np.ndarray) else int(bars)

    def bar_length(self, bar: int) -> int:
        """Beats in a bar; of the last, those that begin before the music ends.

        Raises:
            InputError: If there is no such bar.
        """
        if not 0 <= bar < self.n_bars:
            raise InputError(f"there is no bar {bar}", f"Give 0 to {self.n_bars - 1}.")
        ends = np.append(self.bar_starts[1:], self.n_beats)
        return int(ends[bar] - self.bar_starts[bar])


@dataclass(frozen=True)
class Score:
    """A piece: tracks on a clock, its sections and key.

    Attributes:
        clock: When the beats are.
        tracks: Each with a name of its own.
        sections: In order, without overlap.
        key: Such as ``"A minor"``; empty where unknown.
        style: Name of the style it is written in; empty where unknown.

    Raises:
        InputError: If two tracks share a name, sections overlap or exceed the bars, or the key
            has another form.
    """

    clock: BeatClock
    tracks: tuple[Track, ...]
    sections: tuple[Section, ...] = ()
    key: str = ""
    style: str = ""

    def __post_init__(self) -> None:
        names = [track.name for track in self.tracks]
        if len(set(names)) < len(names):
            raise InputError(f"tracks share a name: {', '.join(names)}", "Name each differently.")
        end = 0
        for section in self.sections:
            if section.first_bar < end:
                raise InputError(
                    f"section {section.name} begins in bar {section.first_bar}, before bar {end}",
                    "Order sections, without overlap.",
                )
            end = section.first_bar + section.n_bars
        if end > self.clock.n_bars:
            raise InputError(
                f"sections take {end} bars of {self.clock.n_bars}", "Shorten the last sections."
            )
        if self.key and not _KEY.fullmatch(self.key):
            raise InputError(f"key is '{self.key}'", "Write it like 'A minor' or 'Bb major'.")

    @property
    def duration_s(self) -> float:
        """Length of the music, in seconds."""
        return self.clock.duration_s

    def track(self, name: str) -> Track:
        """The track of a name.

        Raises:
            InputError: If there is none.
        """
        for track in self.tracks:
            if track.name == name:
                return track
        known = ", ".join(track.name for track in self.tracks) or "none"
        raise InputError(f"there is no track {name}", f"Name one of: {known}.")

    def seconds(
        self, track: Track
    ) -> tuple[Float64[np.ndarray, " notes"], Float64[np.ndarray, " notes"]]:
        """When each note of a track starts and ends, in seconds."""
        return self.clock.seconds(track.notes.start), self.clock.seconds(track.notes.end)

    def audible(self, track: Track) -> Notes:
        """A track's notes that sound between 0 s and the end of the music.

        A note that is on at 0 s starts there; a drum stroke before 0 s is left out, unless by
        less than ``LATE_START_S``. Notes that ring past the end keep their length.
        """
        notes = track.notes
        start_s, end_s = self.seconds(track)
        kept = (start_s < self.duration_s - _INSTANT_S) & (end_s > _INSTANT_S)
        if track.is_drum:
            kept &= start_s >= -LATE_START_S
        start = np.maximum(notes.start, self.clock.beats(0.0))
        rows = zip(start, notes.end - start, notes.pitch, notes.velocity, strict=True)
        return Notes.of(row for row, keep in zip(rows, kept, strict=True) if keep)


def _check_range(name: str, values: np.ndarray, lowest: int, highest: int) -> None:
    if values.min() < lowest or values.max() > highest:
        wrong = values.min() if values.min() < lowest else values.max()
        raise InputError(f"a note has {name} {wrong}", f"Give {lowest} to {highest}.")


def _line(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Linear interpolation of ``y`` over increasing ``x``, extrapolated at both ends."""
    left = np.clip(np.searchsorted(x, at, side="right") - 1, 0, x.size - 2)
    return np.asarray(y[left] + (at - x[left]) / (x[left + 1] - x[left]) * (y[left + 1] - y[left]))
