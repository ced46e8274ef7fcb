"""What is evaluated: stretches of dances with their beats and music, from either kind of set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from dancetomusic.data.clip import (
    ACCEPTED,
    MIX_FILE,
    STEM_FILE,
    ClipRecord,
    clip_directory,
    load_clip,
)
from dancetomusic.data.dance import Dance
from dancetomusic.data.figures import FIGURES, figure_block, stretches_of
from dancetomusic.data.index import INDEX
from dancetomusic.data.manifest import MANIFEST_FILE, open_manifest
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.io.audio import fit_length, read_audio
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.types import PoseSequence, Waveform

T = TypeVar("T")

QUALITIES = ("A", "B")
"""Of the ballroom set; its quality C is for training only."""

MIN_BEATS = 4
MAX_SONGS = 200
"""Songs of a set of clips that random rows choose among."""

SAMPLE_RATE = 24_000


@dataclass(frozen=True)
class Song:
    """Music that was made for some dance."""

    dance: str
    genre: str
    bpm: float
    path: Path


@dataclass(frozen=True)
class Piece:
    """A stretch of one dance with annotated beats.

    Attributes:
        name: Its own name; sounds made elsewhere are found by it.
        dance: What it was cut from; intervals are taken over these.
        beat_times: In seconds from the first pose.
        stem: File with its drums and bass; ``None`` if they must be separated.
        start_s: Where the piece starts in these files.
    """

    name: str
    dance: str
    genre: str
    bpm: float
    poses: PoseSequence
    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " beats"]
    downbeat_known: bool
    sound: Path
    stem: Path | None = None
    start_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.poses.duration_s

    @property
    def beats_per_bar(self) -> int:
        """The largest position in a bar."""
        return int(self.beat_numbers.max()) if self.beat_numbers.size else 4

    def music(self) -> Waveform:
        """The music as it was danced to, at 24 kHz, as long as the piece.

        Raises:
            InputError: If the file is missing or has no sound.
        """
        return _read_stretch(self.sound, self.start_s, self.duration_s)

    def drum_and_bass(self) -> Waveform:
        """Its drums and bass: the stem that came with it, or separated by HPSS.

        Raises:
            InputError: If a file is missing or has no sound.
        """
        if self.stem is not None:
            return _read_stretch(self.stem, self.start_s, self.duration_s)
        return HpssSeparator().drum_and_bass([Mix("piece", self.music())])[0]


def load_pieces(data: Path | str, split: str, *, limit: int | None = None) -> list[Piece]:
    """Read the pieces of a split of a ballroom folder or of a set of clips.

    Args:
        data: A folder with ``index.csv``, or a set built by ``dancetomusic build``.
        split: ``train``, ``val`` or ``test``; for the ballroom folder also ``figures`` or
            ``figures-N``: all stretches in which nothing but the figures of block N (0) is
            danced.
        limit: Pieces at most, evenly from all; ``None`` for no limit.

    Raises:
        InputError: If the folder is of neither kind, or has no such split.
    """
    folder = Path(data)
    if (folder / INDEX).is_file():
        if split.split("-")[0] == FIGURES:
            return spread_evenly(figure_stretches(load_dances(folder), split), limit)
        dances = load_dances(folder, split=split, qualities=QUALITIES)
        return [piece_of_dance(dance) for dance in spread_evenly(dances, limit)]
    if not (folder / MANIFEST_FILE).is_file():
        raise InputError(
            f"{folder} has neither {INDEX} nor {MANIFEST_FILE}",
            "Name a folder of dances, or a set made by `dancetomusic build`.",
        )
    records = list(open_manifest(folder).records(split=split, status=ACCEPTED))
    pieces = [_piece_of_clip(folder, record) for record in spread_evenly(records, limit)]
    pieces = [piece for piece in pieces if piece.beat_times.size >= MIN_BEATS]
    if not pieces:
        raise InputError(
            f"{folder} has no clip with beats in split {split!r}", "Name another split."
        )
    return pieces


def load_songs(data: Path | str) -> list[Song]:
    """The music of every dance or accepted clip of all splits, for random other songs.

    Raises:
        InputError: As ``load_pieces`` does.
    """
    folder = Path(data)
    if (folder / INDEX).is_file():
        return [Song(d.dance_id, d.genre, d.bpm, d.audio_path) for d in load_dances(folder)]
    records = [
        record
        for record in open_manifest(folder).records(status=ACCEPTED)
        if np.isfinite(record.bpm)
    ]
    return [
        Song(record.source_id, "", record.bpm, clip_directory(folder, record.key) / MIX_FILE)
        for record in spread_evenly(records, MAX_SONGS)
    ]


def piece_of_dance(dance: Dance) -> Piece:
    """A whole dance; bars are counted from its first beat."""
    return Piece(
        name=dance.dance_id,
        dance=dance.dance_id,
        genre=dance.genre,
        bpm=dance.bpm,
        poses=dance.poses,
        beat_times=dance.beat_times,
        beat_numbers=np.arange(dance.beat_times.size) % dance.beats_per_bar + 1,
        downbeat_known=dance.downbeat_known,
        sound=dance.audio_path,
    )


def cut_piece(piece: Piece, start_s: float, end_s: float) -> Piece:
    """A stretch of a piece, at whole pose frames, named after its first second."""
    fps = piece.poses.fps
    frames = slice(round(start_s * fps), round(end_s * fps))
    begin, end = frames.start / fps, frames.stop / fps
    inside = (piece.beat_times >= begin) & (piece.beat_times < end)
    return replace(
        piece,
        name=f"{piece.name}_{begin + piece.start_s:.1f}",
        poses=cut_poses(piece.poses, frames),
        beat_times=piece.beat_times[inside] - begin,
        beat_numbers=piece.beat_numbers[inside],
        start_s=piece.start_s + begin,
    )


def read_sound(path: Path, sample_rate: int = SAMPLE_RATE) -> Waveform:
    """The sound of a file that must have one.

    Raises:
        InputError: If the file is missing or has no sound.
    """
    sound = read_audio(path, sample_rate)
    if sound is None:
        raise InputError(f"{path} has no sound", "Replace the file.")
    return sound


def spread_evenly(items: list[T], limit: int | None) -> list[T]:
    """At most ``limit`` items, spread over all; all of them for ``None``."""
    if limit is None or len(items) <= limit:
        return items
    return [items[k] for k in np.linspace(0, len(items) - 1, limit).astype(int)]


def _piece_of_clip(root: Path, record: ClipRecord) -> Piece:
    directory = clip_directory(root, record.key)
    clip = load_clip(directory)
    return Piece(
        name=record.key,
        dance=record.source_id,
        genre="",
        bpm=record.bpm,
        poses=clip.poses,
        beat_times=clip.rhythm.beat_times.astype(np.float64),
        beat_numbers=clip.rhythm.beat_numbers.astype(np.int64),
        downbeat_known=record.beats_from == "annotated",
        sound=directory / MIX_FILE,
        stem=directory / STEM_FILE,
    )


def _read_stretch(path: Path, start_s: float, duration_s: float) -> Waveform:
    sound = read_sound(path)
    start = round(start_s * SAMPLE_RATE)
    cut = Waveform(sound.samples[:, start:], SAMPLE_RATE)
    return fit_length(cut, round(duration_s * SAMPLE_RATE))


def figure_stretches(dances: Sequence[Dance], split: str, min_s: float = 5.0) -> list[Piece]:
    """Stretches of ``min_s`` or more in which only one block's figures are danced.

    Only a checkpoint that was trained without that block has not seen their movement.

    Raises:
        InputError: If ``split`` names no block, or it has no such stretch.
    """
    block = figure_block(dances, split)
    pieces = [
        cut_piece(piece_of_dance(dance), start, end)
        for dance in dances
        if dance.sync_quality in QUALITIES
        for start, end in stretches_of(dance, block)
        if end - start >= min_s
    ]
    pieces = [piece for piece in pieces if piece.beat_times.size >= MIN_BEATS]
    if not pieces:
        raise InputError(f"no dance has a stretch of {split}", "Name another block.")
    return pieces
