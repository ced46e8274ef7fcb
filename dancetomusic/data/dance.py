"""A dance with exact beats, and what every dataset of dances offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dancetomusic.errors import InputError
from dancetomusic.io.audio import read_audio
from dancetomusic.types import PoseSequence, Waveform

T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class DanceDataset(Protocol[T_co]):
    """A folder of recorded dances, and where they come from."""

    name: ClassVar[str]
    citation: ClassVar[str]
    licence: ClassVar[str]

    def dances(self, split: str | None = None) -> Sequence[T_co]:
        """The dances of a split, in the order of the index; all of them for ``None``.

        Raises:
            InputError: If the folder has another layout, a file is unreadable, or no dance fits.
        """
        ...


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
        genre: ``cha-cha``, ``rumba``, ``tango`` or ``waltz``.
        split: ``train`` or ``val``; by dance.
        sync_quality: How well movement and music agree: ``A``, ``B``, or ``C`` (train only).
        beat_times: In seconds from the first pose.
        beats_per_bar: 3 for the waltz, else 4.
        downbeat_known: Whether beat 0 is certainly the first of its bar.
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

    @property
    def beat_numbers(self) -> Int[np.ndarray, " beats"]:
        """Position of each beat in its bar, from 1, where beat 0 is a downbeat."""
        return np.arange(self.beat_times.size) % self.beats_per_bar + 1

    def showing(self, present: Bool[np.ndarray, " frames"]) -> Dance:
        """The dance with a dancer in some frames alone; positions elsewhere are 0."""
        world = np.where(present[:, None, None], self.poses.world, np.float32(0.0))
        return replace(self, poses=replace(self.poses, world=world, present=present))

    def music(self, sample_rate: int = 24_000) -> Waveform:
        """The music, as one channel at ``sample_rate`` in Hz.

        Raises:
            InputError: If it is missing, unreadable, or has no sound.
        """
        music = read_audio(self.audio_path, sample_rate)
        if music is None:
            raise InputError(
                f"{self.audio_path} has no sound", "Restore it, or leave the dance out."
            )
        return music


def require_beats(dance: Dance) -> None:
    """Refuse a dance whose beats define no tempo.

    Raises:
        InputError: If its beats are fewer than two, or do not increase.
    """
    if dance.beat_times.size < 2 or not np.all(np.diff(dance.beat_times) > 0):
        raise InputError(
            f"the beats of {dance.dance_id} do not increase, or are fewer than two",
            "Correct them, or leave the dance out.",
        )


def fully_visible(
    world: Float32[np.ndarray, "frames 33 3"],
    fps: float,
    present: Bool[np.ndarray, " frames"] | None = None,
) -> PoseSequence:
    """Poses whose landmarks all have visibility 1.

    Landmarks are in metres; all frames have a dancer by default.
    """
    if present is None:
        present = np.ones(len(world), bool)
    return PoseSequence(world, present, np.ones(world.shape[:2], np.float32), fps)


def require_no_split(dataset: str, split: str | None) -> None:
    """Refuse a split of a dataset that has none.

    Raises:
        InputError: If one is named.
    """
    if split is not None:
        raise InputError(f"{dataset} has no split {split!r}", "Name no split.")
