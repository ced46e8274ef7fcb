"""The score as a condition of the token decoder: a piano roll at the codec's frame rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8
from torch import Tensor, nn

from dancetomusic.score.arrange import ARRANGED
from dancetomusic.score.notes import Score, Track

DRUM_PITCHES = range(27, 88)
"""General MIDI percussion keys, each an instrument class of its own."""

PITCHES = range(21, 109)
"""MIDI numbers of the pitched parts; others are moved into this range by octaves."""

N_DRUMS, N_PITCHES, N_PARTS = len(DRUM_PITCHES), len(PITCHES), len(ARRANGED)
_PART_COLUMNS = (2 * N_DRUMS, *(2 * N_PITCHES + 1 for _ in ARRANGED[1:]))
_FIRST_COLUMN = N_PARTS + np.cumsum((0, *_PART_COLUMNS))
N_COLUMNS = int(_FIRST_COLUMN[-1])
"""First whether each part is given. Then of the drums, by class, the velocity of an onset within
the frame, and that times its place in the frame; of each other part, by pitch, the velocity of an
onset, and the velocity while the note sounds; and the place of its onsets in the frame.
Velocities are in [0, 1], places in [-1, 1] from the start of the frame to its end."""

N_PROGRAMS = 128
UNKNOWN_PROGRAM = 0
_BASS_PROGRAMS = range(32, 40)
_ONE_PLACE = 1e-3  # frames nearer than this are one place: times are rounded to float32


@dataclass(frozen=True)
class TimedNotes:
    """The notes of a score in seconds.

    Attributes:
        start_s: Sorted.
        end_s: When each note ends.
        part: Index into ``score.arrange.ARRANGED``: drums, bass, chords or lead.
        pitch: MIDI number, of drums the percussion key.
        velocity: In 1-127.
        instruments: Of each part, its General MIDI program plus 1; 0 for unknown.
        given: Of each part, whether it is known what it plays, be it nothing.
    """

    start_s: Float32[np.ndarray, " notes"]
    end_s: Float32[np.ndarray, " notes"]
    part: UInt8[np.ndarray, " notes"]
    pitch: UInt8[np.ndarray, " notes"]
    velocity: UInt8[np.ndarray, " notes"]
    instruments: UInt8[np.ndarray, " parts"]
    given: Bool[np.ndarray, " parts"]

    @classmethod
    def none(cls) -> TimedNotes:
        """No score is given."""
        seconds, numbers = np.zeros(0, np.float32), np.zeros(0, np.uint8)
        parts = np.zeros(N_PARTS, np.uint8)
        return cls(seconds, seconds, numbers, numbers, numbers, parts, parts.astype(bool))

    def without(
        self, parts: Bool[np.ndarray, " parts"], instruments: Bool[np.ndarray, " parts"]
    ) -> TimedNotes:
        """The same with some parts, and the instruments of some, unknown."""
        kept = ~parts[self.part]
        return TimedNotes(
            self.start_s[kept],
            self.end_s[kept],
            self.part[kept],
            self.pitch[kept],
            self.velocity[kept],
            np.where(parts | instruments, UNKNOWN_PROGRAM, self.instruments),
            self.given & ~parts,
        )


class ScoreRoll(NamedTuple):
    """The score as ``ScoreCondition`` takes it; all zero where none is given.

    ``columns`` are those of ``N_COLUMNS``; ``instruments`` are programs plus 1, 0 for unknown.
    """

    columns: Float[Tensor, "batch frames columns"]
    instruments: Int[Tensor, "batch parts"]

    def window(self, frames: slice) -> ScoreRoll:
        """Some of its frames."""
        return self._replace(columns=self.columns[:, frames])

    def to(self, device: torch.device) -> ScoreRoll:
        """The same on a device."""
        return ScoreRoll(*(tensor.to(device) for tensor in self))

    def masked(self, hidden: Bool[Tensor, " batch"]) -> ScoreRoll:
        """None given in some items."""
        return ScoreRoll(
            self.columns.masked_fill(hidden[:, None, None], 0.0),
            self.instruments.masked_fill(hidden[:, None], UNKNOWN_PROGRAM),
        )


def timed_notes(score: Score, programs: Mapping[str, int] | None = None) -> TimedNotes:
    """The notes of a score, those of tracks with the same part together.

    Tracks are known by their names; of others, percussion is ``drums``, a bass program ``bass``,
    and everything else ``chords``.

    ``programs`` play in place of the own ones of the tracks that it names.
    """
    replaced = programs or {}
    instruments = np.full(N_PARTS, UNKNOWN_PROGRAM, np.uint8)
    columns: list[np.ndarray] = []
    for track in score.tracks:
        notes, part = score.audible(track), _part_of(track)
        seconds = score.clock.seconds(notes.start), score.clock.seconds(notes.end)
        columns.append(
            np.stack([*seconds, np.full(len(notes), part), notes.pitch, notes.velocity], axis=1)
        )
        instruments[part] = replaced.get(track.name, track.program) + 1
    rows = np.concatenate(columns) if columns else np.zeros((0, 5))
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    start, end = (rows[:, n].astype(np.float32) for n in (0, 1))
    parts, pitches, velocities = (rows[:, n].astype(np.uint8) for n in (2, 3, 4))
    given = np.ones(N_PARTS, bool)
    return TimedNotes(start, end, parts, pitches, velocities, instruments, given)


def piano_roll(
    notes: TimedNotes, frame_rate: float, n_frames: int, first_frame: int = 0
) -> Float32[np.ndarray, "frames columns"]:
    """The columns of ``N_COLUMNS`` for some frames; frame ``k`` begins at ``k / frame_rate`` s."""
    roll = np.zeros((n_frames, N_COLUMNS), np.float32)
    roll[:, :N_PARTS] = notes.given
    # Frame of each onset, and where in the frame it lies, from -1 (its start) to 1 (its end).
    at = notes.start_s.astype(np.float64) * frame_rate - first_frame
    frame = np.floor(at + _ONE_PLACE).astype(int)
    place = np.clip(2 * (at - frame) - 1, -1, 1).astype(np.float32)
    end = notes.end_s.astype(np.float64) * frame_rate - first_frame
    last = np.ceil(end - _ONE_PLACE).astype(int)
    velocity = notes.velocity.astype(np.float32) / 127
    begins = (frame >= 0) & (frame < n_frames)

    def write(column: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> None:
        """Values at the onset frames of the chosen notes; of several in a cell the last."""
        roll[frame[chosen], column[chosen]] = values[chosen]

    for part, first in enumerate(_FIRST_COLUMN[:-1]):
        mine = notes.part == part
        if part == 0:
            key = notes.pitch.astype(int) - DRUM_PITCHES[0]
            chosen = mine & begins & (key >= 0) & (key < N_DRUMS)
            write(first + key, chosen, velocity)
            write(first + N_DRUMS + key, chosen, velocity * place)
            continue
        # Pitched parts: held notes over all their frames, then onsets and their place.
        key = _within_range(notes.pitch) - PITCHES[0]
        for note in np.flatnonzero(mine & (frame < n_frames) & (last > 0)):
            span = slice(max(0, frame[note]), max(frame[note] + 1, last[note]))
            roll[span, first + N_PITCHES + key[note]] = velocity[note]
        write(first + key, mine & begins, velocity)
        write(np.full_like(key, first + 2 * N_PITCHES), mine & begins, place)
    return roll


def roll_of_notes(notes: TimedNotes, frame_rate: float, n_frames: int) -> ScoreRoll:
    """The roll of a piece from its start, as a batch of one."""
    return ScoreRoll(
        torch.from_numpy(piano_roll(notes, frame_rate, n_frames))[None],
        torch.from_numpy(notes.instruments.astype(np.int64))[None],
    )


class ScoreCondition(nn.Module):
    """What is added at each code frame for the score: its frame, and those around it.

    A part that is not given adds nothing, and neither does an instrument before it has been
    trained; the output is zero at first, so that a trained decoder can go on with a score.

    ``span``, which is odd, is how many frames are gathered, past and future together.
    """

    def __init__(self, width: int, span: int) -> None:
        super().__init__()
        self.frame = nn.Linear(N_COLUMNS, width, bias=False)
        self.instruments = nn.Embedding(N_PARTS * (N_PROGRAMS + 1), width)
        self.around = nn.Conv1d(width, width, span, padding=span // 2, groups=width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """Rows of a few notes get unit spread; instruments and output begin at zero."""
        nn.init.normal_(self.frame.weight, std=0.3)
        nn.init.normal_(self.around.weight, std=0.3)
        nn.init.zeros_(self.instruments.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, roll: ScoreRoll) -> Float[Tensor, "batch frames width"]:
        """The sum to be added to the embedding of the rhythm."""
        known = roll.instruments != UNKNOWN_PROGRAM
        rows = roll.instruments + torch.arange(N_PARTS, device=known.device) * (N_PROGRAMS + 1)
        sounds = (self.instruments(rows) * known[..., None]).sum(1)
        frames = self.frame(roll.columns) + sounds[:, None]
        around = self.around(frames.transpose(1, 2)).transpose(1, 2)
        hidden: Tensor = self.out(F.gelu(frames + around))
        return hidden


def _part_of(track: Track) -> int:
    if track.is_drum:
        return ARRANGED.index("drums")
    if track.name in ARRANGED[1:]:
        return ARRANGED.index(track.name)
    return ARRANGED.index("bass" if track.program in _BASS_PROGRAMS else "chords")


def _within_range(pitch: UInt8[np.ndarray, " notes"]) -> Int64[np.ndarray, " notes"]:
    """Pitches moved by octaves into ``PITCHES``."""
    low, high = PITCHES[0], PITCHES[-1]
    moved = pitch.astype(np.int64)
    moved = np.where(moved < low, low + (moved - low) % 12, moved)
    return np.where(moved > high, high - (high - moved) % 12, moved)
