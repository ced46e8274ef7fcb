"""Real dance clips with the beats of their own music, read from a folder.

What the package has to serve: short clips of many people and styles, each with the beats that
two trackers found in its sound, and the poses that MediaPipe found in its picture.

Layout: ``index.csv`` (one row per clip), ``ID.npz`` (``beats`` in seconds, ``bars`` = time and
position in the bar, ``beats_second`` by the second tracker; where there are poses also ``poses``
in metres, ``present`` and ``fps``) and ``ID.opus``, the clip's sound on the clock of its poses.
Nothing of the recordings is in this package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from dancetomusic.data.dance import fully_visible, require_no_split
from dancetomusic.data.index import read_index
from dancetomusic.errors import InputError
from dancetomusic.types import PoseSequence

ONE_COUPLE = "bachata"
"""Style whose clips are all of one couple: they are one group, whatever group they name."""

TRUSTED_AGREEMENT = 0.85
"""Agreement of the two trackers from which their beats are a reference."""

TRUSTED_PULSE = 0.15
"""Mean beat activation from which the music has a pulse at all."""

_REMEDY = "Name a folder with index.csv and ID.npz."
_COLUMNS = {"id", "group", "style", "seconds", "pulse", "agreement"}


@dataclass(frozen=True)
class WildClip:
    """One clip.

    Attributes:
        group: Clips of one group share a dancer or a song: hold them out together.
        bar_times: Beats whose position in the bar is known, in seconds.
        bar_places: Their positions in the bar; 1 is the downbeat.
        second_beat_times: Beats that the second tracker found, in seconds.
        pulse: Mean beat activation of the music in [0, 1].
        agreement: F-measure of the two trackers at the best metrical level, in [0, 1].
        sound_path: The sound; may be absent.
        poses: The most prominent dancer; ``None`` where no poses were kept.
    """

    id: str
    group: str
    style: str
    duration_s: float
    beat_times: Float[np.ndarray, " beats"]
    bar_times: Float[np.ndarray, " placed"]
    bar_places: Int[np.ndarray, " placed"]
    second_beat_times: Float[np.ndarray, " second"]
    pulse: float
    agreement: float
    sound_path: Path
    poses: PoseSequence | None

    @property
    def trusted(self) -> bool:
        """Whether the music has a pulse on which both trackers agree."""
        return self.agreement >= TRUSTED_AGREEMENT and self.pulse >= TRUSTED_PULSE

    @property
    def bpm(self) -> float:
        """Tempo from the median beat interval, in beats a minute; NaN below two beats."""
        if self.beat_times.size < 2:
            return float("nan")
        return float(60.0 / np.median(np.diff(self.beat_times)))


@dataclass(frozen=True)
class Wild:
    """The clips in a folder; a ``DanceDataset`` of ``WildClip``."""

    root: Path
    name: ClassVar[str] = "wild"
    citation: ClassVar[str] = "short videos of many people and styles, from public collections"
    licence: ClassVar[str] = "none stated for most"

    def dances(self, split: str | None = None) -> list[WildClip]:
        """All clips, in the order of the index.

        Raises:
            InputError: If the folder has another layout, holds no clip, a file is unreadable, or
                a split is named.
        """
        require_no_split(self.name, split)
        return [_read_clip(self.root, row) for row in read_index(self.root, _COLUMNS, _REMEDY)]


def load_wild(directory: Path | str) -> list[WildClip]:
    """All clips of a folder; see ``Wild``."""
    return Wild(Path(directory)).dances()


def trusted_clips(clips: Iterable[WildClip]) -> list[WildClip]:
    """Clips with poses and a reference to score them against."""
    return [clip for clip in clips if clip.poses is not None and clip.trusted]


def wild_folds(clips: Iterable[WildClip], n_folds: int) -> dict[str, int]:
    """The fold of each group; folds are of similar size, and the same on every machine."""
    groups = sorted(
        {clip.group for clip in clips}, key=lambda group: hashlib.sha256(group.encode()).digest()
    )
    return {group: number % n_folds for number, group in enumerate(groups)}


def _read_clip(folder: Path, row: dict[str, str]) -> WildClip:
    file = folder / f"{row['id']}.npz"
    style = row["style"]
    try:
        with np.load(file, allow_pickle=False) as arrays:
            bars = arrays["bars"].reshape(-1, 2)
            poses = None
            if "poses" in arrays:
                world = arrays["poses"].astype(np.float32)
                poses = fully_visible(world, float(arrays["fps"]), arrays["present"].astype(bool))
            return WildClip(
                id=row["id"],
                group=ONE_COUPLE if style == ONE_COUPLE else row["group"],
                style=style,
                duration_s=float(row["seconds"]),
                beat_times=_increasing(arrays["beats"]),
                bar_times=bars[:, 0].astype(np.float64),
                bar_places=bars[:, 1].astype(np.int64),
                second_beat_times=_increasing(arrays["beats_second"]),
                pulse=float(row["pulse"]),
                agreement=float(row["agreement"]),
                sound_path=folder / f"{row['id']}.opus",
                poses=poses,
            )
    except (OSError, KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(f"cannot read {file} ({error})", _REMEDY) from error


def _increasing(times: np.ndarray) -> np.ndarray:
    beats = times.astype(np.float64).reshape(-1)
    if not np.isfinite(beats).all() or (np.diff(beats) <= 0).any():
        raise ValueError("beats do not increase")
    return beats
