"""Fragments of street and pop dance with known tempi, read from a folder.

Layout: ``NAME.npz`` with ``mp33_24`` landmarks in metres at 24 frames a second and ``bpm``;
where they are known also ``genre``, ``beats`` in seconds, ``seams`` (frames, at ``fps``, at
which pieces were joined) and ``z_valid``. Nothing of the recordings is in this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from dancetomusic.data.dance import fully_visible, require_no_split
from dancetomusic.errors import InputError
from dancetomusic.types import POSE_FPS, PoseSequence

UNKNOWN = "unknown"


@dataclass(frozen=True)
class StreetClip:
    """One fragment.

    Attributes:
        genre: Two letters, such as ``BR`` for break; ``unknown`` where none is named.
        poses: The dancer; absent in the two frames at every seam.
        beat_times: The nominal grid in seconds, which may be early or late by a constant part
            of a beat; empty where no phase is known.
        flat: Whether depth was not measured.
    """

    name: str
    genre: str
    bpm: float
    poses: PoseSequence
    beat_times: Float[np.ndarray, " beats"]
    flat: bool


@dataclass(frozen=True)
class Street:
    """The fragments in a folder; a ``DanceDataset`` of ``StreetClip``."""

    root: Path
    name: ClassVar[str] = "street"
    citation: ClassVar[str] = (
        'Li et al., "AI Choreographer: Music Conditioned 3D Dance Generation with AIST++",'
        " ICCV 2021, and others in the same form"
    )
    licence: ClassVar[str] = "none stated for some"

    def dances(self, split: str | None = None) -> list[StreetClip]:
        """All fragments, in the order of their names.

        Raises:
            InputError: If the folder has none, a file is unreadable, or a split is named.
        """
        require_no_split(self.name, split)
        files = sorted(self.root.glob("*.npz"))
        if not files:
            raise InputError(f"{self.root} has no NAME.npz", "Name a folder of dance fragments.")
        return [_read_clip(file) for file in files]


def load_street(root: Path | str) -> list[StreetClip]:
    """Every fragment of the folder ``root``; see ``Street``."""
    return Street(Path(root)).dances()


def _read_clip(file: Path) -> StreetClip:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            given = {
                name: arrays[name]
                for name in ("mp33_24", "bpm", "genre", "beats", "seams", "fps", "z_valid")
                if name in arrays
            }
        world = given["mp33_24"].astype(np.float32)
        bpm = float(given["bpm"])
        present = np.ones(world.shape[0], bool)
        if "seams" in given:
            for seam in np.rint(given["seams"] * (POSE_FPS / float(given["fps"]))).astype(int):
                present[max(0, seam - 1) : seam + 1] = False
        poses = fully_visible(world, POSE_FPS, present)
    except (OSError, KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"cannot read {file} ({error})", "Give mp33_24 and bpm as in the other files."
        ) from error
    if not bpm > 0:
        raise InputError(f"{file} has tempo {bpm}", "Give beats a minute.")
    beats = given.get("beats", np.zeros(0)).astype(np.float64)
    return StreetClip(
        name=file.stem,
        genre=str(given.get("genre", UNKNOWN)),
        bpm=bpm,
        poses=poses,
        beat_times=beats[beats < poses.duration_s],
        flat=not given.get("z_valid", True),
    )
