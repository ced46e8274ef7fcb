"""Dances with the sound beside them, cut at the same instants for models of raw sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, UInt8

from dancetomusic.codec.mulaw import SILENCE, encode_mulaw
from dancetomusic.data.clip import Clip
from dancetomusic.data.dance import Dance
from dancetomusic.errors import InputError
from dancetomusic.io.audio import read_audio, resample
from dancetomusic.io.folder import find_videos
from dancetomusic.io.video import read_frames
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.types import PoseSequence, Waveform

MIN_SOUND_S = 1.0
_SILENT = 1e-4


@dataclass(frozen=True)
class DanceSound:
    """A dance and a sound that begin at the same instant; 16 bits a sample.

    Attributes:
        fps: Frames of movement a second.
        poses: The dancer at ``fps``; ``None`` where there are only pictures, or nothing.
        pictures: Grey pictures at ``fps``; ``None`` without.
        beat_times: In seconds; empty if unknown.

    Raises:
        InputError: If the sound is shorter than a second, or silent.
    """

    name: str
    genre: str
    samples: Int16[np.ndarray, " samples"]
    sample_rate: int
    fps: float
    poses: PoseSequence | None
    pictures: UInt8[np.ndarray, "frames side side"] | None
    beat_times: Float[np.ndarray, " beats"]

    def __post_init__(self) -> None:
        if self.duration_s < MIN_SOUND_S:
            raise InputError(
                f"the sound of {self.name} lasts {self.duration_s:.2f} s",
                f"Give at least {MIN_SOUND_S:g} s.",
            )
        if np.abs(self.samples).max() < _SILENT * 32768:
            raise InputError(f"the sound of {self.name} is silent", "Leave it out.")

    @property
    def duration_s(self) -> float:
        """Length of the sound, in seconds."""
        return self.samples.size / self.sample_rate

    @property
    def n_frames(self) -> int:
        """Whole frames of movement that the sound lasts."""
        return int(self.duration_s * self.fps + 1e-6)


@dataclass(frozen=True)
class Crop:
    """A stretch of movement, and a shorter stretch of sound within it.

    Attributes:
        world: Landmarks of the stretch; no frames without poses.
        present: Frames of it with a dancer.
        pictures: Pictures of the stretch; no frames without.
        classes: µ-law classes: history, then what is to be predicted.
        phase: Cosine and sine of the beat phase at each condition frame of the stretch.
        phase_known: Frames at which it is known.
    """

    world: Float32[np.ndarray, "frames 33 3"]
    present: Bool[np.ndarray, " frames"]
    pictures: UInt8[np.ndarray, "pictured side side"]
    classes: UInt8[np.ndarray, " samples"]
    phase: Float32[np.ndarray, "condition_frames 2"]
    phase_known: Bool[np.ndarray, " condition_frames"]


def dance_sound(
    name: str,
    sound: Waveform,
    *,
    sample_rate: int,
    fps: float,
    genre: str = "",
    poses: PoseSequence | None = None,
    pictures: UInt8[np.ndarray, "frames side side"] | None = None,
    beat_times: Float[np.ndarray, " beats"] | None = None,
) -> DanceSound:
    """Bring a sound and the poses beside it to the rates wanted.

    Raises:
        InputError: If the sound is shorter than a second, or silent.
    """
    mono = resample(sound.to_mono(), sample_rate).samples[0]
    return DanceSound(
        name=name,
        genre=genre,
        samples=np.rint(np.clip(mono, -1, 1) * 32767).astype(np.int16),
        sample_rate=sample_rate,
        fps=fps,
        poses=None if poses is None else resample_poses(poses, fps),
        pictures=pictures,
        beat_times=np.zeros(0) if beat_times is None else beat_times,
    )


def songs_of_dances(
    dances: Iterable[Dance], *, sample_rate: int, fps: float
) -> Iterator[DanceSound]:
    """Recorded dances, each with the song it was danced to.

    Raises:
        InputError: If a song is missing, unreadable, silent or shorter than a second.
    """
    for dance in dances:
        yield dance_sound(
            dance.dance_id, dance.music(sample_rate), sample_rate=sample_rate, fps=fps,
            genre=dance.genre, poses=dance.poses, beat_times=dance.beat_times,
        )  # fmt: skip


def sound_of_clip(clip: Clip, *, sample_rate: int, fps: float) -> DanceSound:
    """A clip of the builder with its drums and bass.

    Raises:
        InputError: If its sound is missing, damaged, silent or shorter than a second.
    """
    return dance_sound(
        clip.record.key, clip.stem, sample_rate=sample_rate, fps=fps,
        poses=clip.poses, beat_times=clip.rhythm.beat_times,
    )  # fmt: skip


def sounds_of_videos(
    folder: Path | str, *, sample_rate: int, fps: float, side: int
) -> Iterator[DanceSound]:
    """The videos of a folder as pictures with their own sound.

    Raises:
        InputError: If there is no such folder or no video in it, or one has no sound.
        VideoError: If a video cannot be read.
    """
    videos = find_videos(Path(folder))
    if not videos:
        raise InputError(f"{folder} has no videos", "Put some there.")
    for video in sorted(videos):
        sound = read_audio(video, sample_rate)
        if sound is None:
            raise InputError(f"{video} has no sound", "Leave it out.")
        pictures = read_pictures(video, fps=fps, side=side)
        yield dance_sound(video.stem, sound, sample_rate=sample_rate, fps=fps, pictures=pictures)


def read_pictures(
    video: Path | str, *, fps: float, side: int
) -> UInt8[np.ndarray, "frames side side"]:
    """A video as grey squares: number ``k`` shows it at ``k / fps`` seconds, squeezed to fit.

    Raises:
        VideoError: If it cannot be read.
    """
    squares = [
        cv2.resize(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (side, side), None, 0, 0, cv2.INTER_AREA
        )
        for frame in read_frames(video, fps, max_side=4 * side)
    ]
    return np.stack(squares)


def cut(
    sound: DanceSound,
    *,
    first_frame: int,
    n_frames: int,
    crop_step: int,
    steps_per_frame: int,
    history: int,
    n_samples: int,
) -> Crop:
    """Cut movement and sound by one clock: frame ``k`` of movement is at ``k / fps`` seconds.

    Args:
        sound: To cut from; beyond its ends movement is absent and sound silent.
        first_frame: Frame of movement at which the stretch begins.
        n_frames: Frames of movement in it.
        crop_step: Where the sound to be predicted begins within the stretch, in
            ``1 / steps_per_frame`` frames.
        steps_per_frame: Frames of the condition for each of movement.
        history: Samples before that.
        n_samples: Samples to be predicted.
    """
    per_step = round(sound.sample_rate / (sound.fps * steps_per_frame))
    start = (first_frame * steps_per_frame + crop_step) * per_step
    classes = np.full(history + n_samples, SILENCE, np.uint8)
    first = start - history
    inside = sound.samples[max(0, first) : start + n_samples]
    at = max(0, -first)
    classes[at : at + inside.size] = encode_mulaw(inside / 32767)
    world, present = np.zeros((0, 33, 3), np.float32), np.zeros(0, bool)
    if sound.poses is not None:
        part = slice(first_frame, first_frame + n_frames)
        world = _filled(sound.poses.world[part], n_frames)
        seen = sound.poses.present[part]
        present = np.pad(seen, (0, n_frames - seen.size))
    pictures = np.zeros((0, 1, 1), np.uint8)
    if sound.pictures is not None:
        pictures = _filled(sound.pictures[first_frame : first_frame + n_frames], n_frames)
    seconds = first_frame / sound.fps + np.arange(n_frames * steps_per_frame) / (
        sound.fps * steps_per_frame
    )
    angle, known = _beat_phase(sound.beat_times, seconds)
    return Crop(
        world=world,
        present=present,
        pictures=pictures,
        classes=classes,
        phase=np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32),
        phase_known=known,
    )


def _filled(values: np.ndarray, n_frames: int) -> np.ndarray:
    """Up to ``n_frames``, the last frame being held."""
    missing = n_frames - len(values)
    if not missing:
        return values
    if not len(values):
        return np.zeros((n_frames, *values.shape[1:]), values.dtype)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])


def _beat_phase(beats: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle that is 0 at each beat, and where there are beats on both sides."""
    if beats.size < 2:
        return np.zeros(seconds.size), np.zeros(seconds.size, bool)
    known = (seconds >= beats[0]) & (seconds <= beats[-1])
    return 2 * np.pi * np.interp(seconds, beats, np.arange(beats.size)), known
