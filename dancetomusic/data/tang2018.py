"""Ballroom dances with exact beats, read from a folder.

Layout: ``index.csv`` (one row per dance), ``motion/ID.npz`` (``mp33`` landmarks in metres at
``mp_fps``, ``beat_times`` in seconds, ``cau*`` the figure danced at each moment) and
``audio/ID.opus``. Nothing of the recordings is in this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dancetomusic.data.dance import Dance, Figure, fully_visible
from dancetomusic.data.index import read_index
from dancetomusic.errors import InputError

_REMEDY = "Name a folder with index.csv and motion/ID.npz."
_COLUMNS = {"id", "genre", "split", "sync_quality", "bpm", "snap"}


@dataclass(frozen=True)
class Tang2018:
    """The dataset in a folder; a ``DanceDataset`` of ``Dance``."""

    root: Path
    qualities: Sequence[str] = ("A", "B", "C")
    name: ClassVar[str] = "tang2018"
    citation: ClassVar[str] = 'Tang, Jia and Mao, "Dance with Melody", ACM Multimedia 2018'
    licence: ClassVar[str] = "none stated"

    def dances(self, split: str | None = None) -> list[Dance]:
        """The dances of a split, in the order of the index.

        Raises:
            InputError: If the folder has another layout, a file is unreadable, or no dance fits.
        """
        dances = [
            _read_dance(self.root, row)
            for row in read_index(self.root, _COLUMNS, _REMEDY)
            if (split is None or row["split"] == split) and row["sync_quality"] in self.qualities
        ]
        if not dances:
            raise InputError(f"{self.root} has no dance of split {split!r}", "Name another split.")
        return dances


def load_dances(
    root: Path | str, *, split: str | None = None, qualities: Sequence[str] = ("A", "B", "C")
) -> list[Dance]:
    """The dances of a split of the folder ``root``; see ``Tang2018``."""
    return Tang2018(Path(root), qualities).dances(split)


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
    try:
        poses = fully_visible(world, fps)
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
        beats_per_bar=3 if row["genre"] == "waltz" else 4,
        downbeat_known=row["snap"] == "downbeat",
        figures=figures,
        audio_path=folder / "audio" / f"{row['id']}.opus",
    )
