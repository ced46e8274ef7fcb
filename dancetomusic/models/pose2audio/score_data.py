"""Rendered scores to learn from: pieces of the arranger, played by the sampler, as codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from dancetomusic.codec.base import Codec
from dancetomusic.models.pose2audio.score_condition import TimedNotes, timed_notes
from dancetomusic.rhythm.energy import ENERGY_RATE
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig, play_piece
from dancetomusic.training.prepared import load_or_make
from dancetomusic.types import RhythmTrack

SAMPLE_RATE = 24_000
PEAK = 0.7
PIECES_A_FILE = 16
ENERGY_CHANGE_S = 6.0


@dataclass(frozen=True)
class PlayedScore:
    """A piece as it is learned from."""

    codes: Int[np.ndarray, "codebooks frames"]
    track: RhythmTrack
    notes: TimedNotes


def load_or_play(
    config: ScoreCorpusConfig, codec: Codec, folder: Path, processes: int
) -> list[PlayedScore]:
    """The pieces of a corpus, from ``folder`` or rendered into it, a file for every 16 of them.

    Rendering that was interrupted goes on with the first file that is missing.

    More pieces of the same settings keep those that are there; ``folder`` is made if it is absent.

    Raises:
        InputError: If a SoundFont is unusable or lacks a preset.
        OutputError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**asdict(config), "n_pieces": None}
    pieces: list[PlayedScore] = []
    with ProcessPoolExecutor(processes) as executor:
        for first in range(0, config.n_pieces, PIECES_A_FILE):
            numbers = range(first, min(first + PIECES_A_FILE, config.n_pieces))
            source = [codec.identity, codec.n_codebooks, settings, list(numbers)]

            def render(numbers: Sequence[int] = numbers) -> Iterator[PlayedScore]:
                for sound, track, score in executor.map(partial(play_piece, config), numbers):
                    yield PlayedScore(codec.encode(sound).codes, track, timed_notes(score))

            file = folder / f"{first // PIECES_A_FILE:05d}.npz"
            pieces += load_or_make(file, source, render, _pack, _unpack)
    return pieces


def pack_notes(notes: TimedNotes) -> dict[str, np.ndarray]:
    """The arrays of notes by name."""
    return {f"notes_{field.name}": getattr(notes, field.name) for field in fields(notes)}


def unpack_notes(arrays: Mapping[str, np.ndarray]) -> TimedNotes:
    """What ``pack_notes`` was given."""
    return TimedNotes(*(arrays[f"notes_{field.name}"] for field in fields(TimedNotes)))


def _pack(piece: PlayedScore) -> dict[str, np.ndarray]:
    track = piece.track
    return {
        "codes": piece.codes.astype(np.int16),
        "beat_times": track.beat_times,
        "beat_numbers": track.beat_numbers.astype(np.uint8),
        "energy": track.energy.astype(np.float16),
        "duration_s": np.array(track.duration_s),
        **pack_notes(piece.notes),
    }


def _unpack(arrays: Mapping[str, np.ndarray]) -> PlayedScore:
    track = RhythmTrack(
        beat_times=arrays["beat_times"],
        beat_numbers=arrays["beat_numbers"].astype(np.int64),
        energy=arrays["energy"].astype(np.float32),
        energy_rate=ENERGY_RATE,
        duration_s=float(arrays["duration_s"]),
    )
    return PlayedScore(arrays["codes"], track, unpack_notes(arrays))
