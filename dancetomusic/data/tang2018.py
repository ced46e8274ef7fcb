"""Ballroom dances with exact beats, read from a folder.

Tang, Jia and Mao, "Dance with Melody", ACM Multimedia 2018.

Layout: ``index.csv`` (one row per dance), ``motion/ID.npz`` (``mp33`` landmarks in metres at
``mp_fps``, ``beat_times`` in seconds, ``cau*`` the figure danced at each moment) and
``audio/ID.opus``. No licence is stated for the recordings: nothing of them is kept here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dancetomusic.data.index import read_index
from dancetomusic.errors import InputError
from dancetomusic.types import PoseSequence

_REMEDY = "Name a folder with index.csv and motion/ID.npz."
_COLUMNS = {"id", "genre", "split", "sync_quality", "bpm", "snap"}


@dataclass(frozen=True)
class Figure:
    """One movement figure: its name and the beats that it takes."""

    name: str
    first_beat: float
    n_beats: float


@dataclass(frozen=True)
class Dance:
    """One dance with its exact beats.

    Attributes:
        dance_id: Name of the recording.
        genre: ``cha-cha``, ``rumba``, ``tango`` or ``waltz``.
        split: ``train`` or ``val``; by dance.
        sync_quality: How well movement and music agree: ``A``, ``B``, or ``C`` (train only).
        bpm: Tempo in beats a minute.
        poses: The dancer.
        beat_times: In seconds from the first pose.
        beats_per_bar: 3 for the waltz, else 4.
        downbeat_known: Whether beat 0 is certainly the first of its bar.
        figures: In order of time.
        audio_path: The music, from the same start; may be absent.
    """

    dance_id: str
    genre: str
    split: str
    sync_quality: str
    bpm: float
    poses: PoseSequence
    beat_times: Float[np.ndarray, " beats"]
    beats_per_bar: int
    downbeat_known: bool
    figures: tuple[Figure, ...]
    audio_path: Path


def load_dances(
    root: Path | str, *, split: str | None = None, qualities: Sequence[str] = ("A", "B", "C")
) -> list[Dance]:
    """Read the dances of a split, in the order of the index.

    Raises:
        InputError: If the folder has another layout, a file is unreadable, or no dance fits.
    """
    folder = Path(root)
    dances = [
        _read_dance(folder, row)
        for row in read_index(folder, _COLUMNS, _REMEDY)
        if (split is None or row["split"] == split) and row["sync_quality"] in qualities
    ]
    if not dances:
        raise InputError(f"{folder} has no dance of split {split!r}", "Name another split.")
    return dances


def require_beats(dance: Dance) -> None:
    """Refuse a dance of which no tempo can be told.

    Raises:
        InputError: If its beats are fewer than two, or do not increase.
    """
    if dance.beat_times.size < 2 or not np.all(np.diff(dance.beat_times) > 0):
        raise InputError(
            f"the beats of {dance.dance_id} do not increase, or are fewer than two",
            "Correct them, or leave the dance out.",
        )


def _read_dance(folder: Path, row: dict[str, str]) -> Dance:
    file = folder / "motion" / f"{row['id']}.npz"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            world = arrays["mp33"].astype(np.float32)
            fps = float(arrays["mp_fps"])
            beat_times = arrays["beat_times"].astype(np.float64)
            names = [str(name) for name in arrays["cau"]]
            figures = tuple(
                Figure(name, float(first), float(length))
                for name, first, length in zip(
                    names, arrays["cau_beat"], arrays["cau_beats"], strict=True
                )
            )
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"cannot read {file} ({error})", _REMEDY) from error
    waltz = row["genre"] == "waltz"
    try:
        poses = PoseSequence(
            world=world,
            present=np.ones(world.shape[0], bool),
            visibility=np.ones(world.shape[:2], np.float32),
            fps=fps,
        )
    except InputError as error:
        raise InputError(f"{file}: {error.problem}", error.remedy) from error
    return Dance(
        dance_id=row["id"],
        genre=row["genre"],
        split=row["split"],
        sync_quality=row["sync_quality"],
        bpm=float(row["bpm"]),
        poses=poses,
        beat_times=beat_times,
        beats_per_bar=3 if waltz else 4,
        downbeat_known=row["snap"] == "downbeat",
        figures=figures,
        audio_path=folder / "audio" / f"{row['id']}.opus",
    )
