"""What the dance generator learns from: dances with their music, cut into poses and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from dancetomusic.data.augment import retime
from dancetomusic.data.tang2018 import Dance, load_dances, require_beats
from dancetomusic.errors import InputError
from dancetomusic.io.audio import read_audio
from dancetomusic.models.dance_gan.audio_windows import OVERSAMPLING
from dancetomusic.models.dance_gan.mel import SOUND_RATE, hear
from dancetomusic.models.dance_gan.network import BEATS_PER_KNOT, clock, knot_shares
from dancetomusic.pose.files import POSE_FPS
from dancetomusic.pose.landmarks import mirror, resample_poses
from dancetomusic.pose.skeleton import directions_of, face_camera, heading_of
from dancetomusic.rhythm.features import beat_position

CLOCK_OFFSETS = 12
"""Beats after which every clock is where it was."""

POSE_CONTEXT = 9
"""Frames around a still pose, from which its heading is read."""


@dataclass(frozen=True)
class DancedSong:
    """What crops are cut from: movement, its beats, and what is heard beside it."""

    world: Float32[np.ndarray, "frames 33 3"]
    beat_times: Float[np.ndarray, " beats"]
    bands: Float32[np.ndarray, "sound_frames bands"]


@dataclass(frozen=True)
class PoseBatch:
    """Still poses of bodies that face the camera."""

    directions: Tensor


@dataclass(frozen=True)
class DanceBatch:
    """Crops of dances: poses that face the camera, turning, beats, and what is heard.

    Attributes:
        directions: Of the bones.
        turning: In radians a second.
        beats: Elapsed at each frame, in [0, 1) at the first.
        offset: Beats to add for the clock, so that nothing is known of bars.
        bands: ``OVERSAMPLING`` frames for each pose.
    """

    directions: Tensor
    turning: Tensor
    beats: Tensor
    offset: Tensor
    bands: Tensor

    def count(self) -> Float[Tensor, "batch frames clock"]:
        """The clock at each frame."""
        return clock(self.beats + self.offset[:, None], POSE_FPS)

    def share(self) -> Float[Tensor, "batch knots frames"]:
        """How much each knot's noise counts at each frame."""
        return knot_shares(self.beats, int(self.beats.max()) // BEATS_PER_KNOT + 2)


class Songs(NamedTuple):
    """What is learned from, and what is held out."""

    known: list[DancedSong]
    held_out: list[DancedSong]


def read_songs(data: str, split: str, qualities: Sequence[str]) -> list[DancedSong]:
    """Dances of a split, with what is heard in their music.

    Raises:
        InputError: If a dance has no music, or its beats are fewer than two.
    """
    return [_read_song(dance) for dance in load_dances(data, split=split, qualities=qualities)]


def _read_song(dance: Dance) -> DancedSong:
    require_beats(dance)
    poses = dance.poses
    if poses.fps != POSE_FPS:
        poses = resample_poses(poses, POSE_FPS)
    music = read_audio(dance.audio_path)
    if music is None:
        raise InputError(f"{dance.audio_path} has no sound", "Give the music of every dance.")
    return DancedSong(poses.world, dance.beat_times.astype(np.float64), hear(music))


def cut_crops(
    songs: Sequence[DancedSong],
    rngs: Sequence[np.random.Generator],
    *,
    n_frames: int,
    speeds: tuple[float, float],
    mirror_share: float,
) -> DanceBatch:
    """A crop for each generator of numbers, from songs in proportion to their length.

    Args:
        songs: To cut from.
        rngs: One a crop.
        n_frames: Of a crop.
        speeds: Slowest and fastest at which movement and music are played.
        mirror_share: Of crops, seen in a mirror.
    """
    worlds, beats, offsets, bands = [], [], [], []
    for rng in rngs:
        song = _draw(songs, rng)
        speed = float(np.exp(rng.uniform(*np.log(speeds))))
        spare = len(song.world) / POSE_FPS - n_frames * speed / POSE_FPS
        start_s = float(rng.uniform(0, max(spare, 0.01)))
        world = retime(song.world, POSE_FPS, start_s=start_s, speed=speed, n_frames=n_frames)
        worlds.append(mirror(world) if rng.random() < mirror_share else world)
        place = beat_position(song.beat_times, start_s + np.arange(n_frames) * speed / POSE_FPS)
        beats.append(place - np.floor(place[0]) + rng.integers(BEATS_PER_KNOT))
        offsets.append(rng.integers(CLOCK_OFFSETS))
        at = (start_s * SOUND_RATE + np.arange(n_frames * OVERSAMPLING) * speed).round()
        bands.append(song.bands[at.clip(0, len(song.bands) - 1).astype(int)])
    world = np.stack(worlds)
    heading = heading_of(world, POSE_FPS)
    facing = face_camera(torch.from_numpy(world), torch.from_numpy(heading).float())
    turning = np.diff(heading, axis=1, prepend=2 * heading[:, :1] - heading[:, 1:2]) * POSE_FPS
    return DanceBatch(
        directions=directions_of(facing),
        turning=torch.from_numpy(turning).float(),
        beats=torch.from_numpy(np.stack(beats)).float(),
        offset=torch.from_numpy(np.array(offsets)).float(),
        bands=torch.from_numpy(np.stack(bands)),
    )


def cut_poses(songs: Sequence[DancedSong], rngs: Sequence[np.random.Generator]) -> PoseBatch:
    """A pose for each generator of numbers, every second one in a mirror on the mean."""
    poses = []
    for rng in rngs:
        world = _draw(songs, rng).world
        first = int(rng.integers(max(1, len(world) - POSE_CONTEXT)))
        near = world[first : first + POSE_CONTEXT]
        near = mirror(near) if rng.random() < 0.5 else near
        heading = heading_of(near, POSE_FPS)[len(near) // 2]
        pose = torch.from_numpy(near[len(near) // 2])
        poses.append(face_camera(pose, torch.tensor(float(heading))))
    return PoseBatch(directions_of(torch.stack(poses)))


def _draw(songs: Sequence[DancedSong], rng: np.random.Generator) -> DancedSong:
    lengths = np.array([len(song.world) for song in songs], float)
    return songs[int(rng.choice(len(songs), p=lengths / lengths.sum()))]
