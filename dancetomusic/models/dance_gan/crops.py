"""What the dance generator learns from: poses and crops of dances with their music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from dancetomusic.config import check_ranges
from dancetomusic.data.augment import log_uniform, retime
from dancetomusic.data.dance import Dance, require_beats
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import ConfigError
from dancetomusic.models.dance_gan.audio_windows import OVERSAMPLING
from dancetomusic.models.dance_gan.mel import SOUND_RATE, mel_levels
from dancetomusic.models.dance_gan.network import BEATS_PER_KNOT, DanceGanConfig, clock, knot_shares
from dancetomusic.pose.landmarks import mirror, resample_poses
from dancetomusic.pose.skeleton import directions_of, face_camera, heading_of
from dancetomusic.rhythm.features import beat_position
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.prepared import hash_arrays
from dancetomusic.types import POSE_FPS

CLOCK_OFFSETS = 12
"""Beats after which every clock repeats."""

POSE_CONTEXT = 9
"""Frames around a still pose, from which its heading is read."""


@dataclass(frozen=True)
class DanceGanTrainingConfig(LoopConfig):
    """How the dance generator is trained: ``max_steps`` are those of the last stage."""

    model: DanceGanConfig = field(default_factory=DanceGanConfig)
    data: str = ""
    """Folder of the dances (``data/tang2018.py``), with their music."""
    qualities: tuple[str, ...] = ("A", "B", "C")
    pose_steps: int = 2000
    """Of the first stage."""
    pose_batch: int = 256
    sequence_steps: int = 1000
    """Of the second stage."""
    critic_steps: int = 3
    """Steps of the critic for each at which the generator learns from it. In the two later stages
    the generator is trained at every step nonetheless, to reconstruct real movement."""
    critic_rate: float = 3e-4
    """Peak learning rate of the critics."""
    penalty_weight: float = 10.0
    """Of the critics' gradient penalty."""
    adversarial_weight: float = 0.01
    """Of the critic's score, beside the reconstruction of real movement."""
    noise_weight: float = 0.002
    """Of the KL divergence of the inferred noise from the prior, in nats a knot."""
    energy_weight: float = 0.1
    """Of the log-ratio of each joint's energy to the true one."""
    crop_frames: int = 120
    min_speed: float = 0.75
    """Dances and their music are played this much slower at most."""
    max_speed: float = 1.35
    mirror_share: float = 0.5
    heard_dropout: float = 0.2
    """Dropout of the music features that noise is chosen by: the songs are few."""
    validation_crops: int = 32
    max_steps: int = 1500
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    ema_decay: float = 0.995
    keep_best: bool = False
    """The last weights are kept: choosing them on ``val`` would flatter scores on ``val``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise ConfigError("no data is named", "Give data: a folder of dances.")
        check_ranges(
            self,
            counts="pose_steps pose_batch sequence_steps critic_steps validation_crops",
            positive="min_speed critic_rate",
            weights="penalty_weight adversarial_weight noise_weight energy_weight",
            shares="mirror_share",
        )
        if self.crop_frames < 2**4:
            raise ConfigError(f"crop_frames is {self.crop_frames}", "Give at least 16.")
        if self.min_speed > self.max_speed:
            raise ConfigError("min_speed is above max_speed", "Give min ≤ max.")
        if not 0 <= self.heard_dropout < 1:
            raise ConfigError(f"heard_dropout is {self.heard_dropout}", "Give a share in [0, 1).")


@dataclass(frozen=True)
class DancedSong:
    """Movement, its beats, and the music beside it."""

    world: Float32[np.ndarray, "frames 33 3"]
    beat_times: Float[np.ndarray, " beats"]
    bands: Float32[np.ndarray, "sound_frames bands"]


@dataclass(frozen=True)
class PoseBatch:
    """Still poses of bodies that face the camera."""

    directions: Tensor


@dataclass(frozen=True)
class DanceBatch:
    """Crops of dances: poses that face the camera, turning, beats, and music.

    Attributes:
        directions: Of the bones.
        turning: In radians a second.
        beats: Elapsed at each frame, in [0, 1) at the first.
        offset: Beats to add for the clock, so that it does not depend on bars.
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
        """The weight of each knot's noise at each frame."""
        return knot_shares(self.beats, int(self.beats.max()) // BEATS_PER_KNOT + 2)


def read_songs(data: str, split: str, qualities: Sequence[str]) -> list[DancedSong]:
    """Dances of a split, with their music.

    Raises:
        InputError: If a dance has no music, or its beats are fewer than two.
    """
    return [_read_song(dance) for dance in load_dances(data, split=split, qualities=qualities)]


def _read_song(dance: Dance) -> DancedSong:
    require_beats(dance)
    poses = dance.poses
    if poses.fps != POSE_FPS:
        poses = resample_poses(poses, POSE_FPS)
    return DancedSong(poses.world, dance.beat_times.astype(np.float64), mel_levels(dance.music()))


class SongSamples(TrainingSet):
    """What samples of dances with their music share."""

    def __init__(self, songs: Sequence[DancedSong], config: DanceGanTrainingConfig) -> None:
        self.songs, self.config, self.seed = songs, config, config.seed
        lengths = np.array([len(song.world) for song in songs], float)
        self.shares = lengths / lengths.sum()
        self.content_hash = hash_arrays(
            array for song in songs for array in (song.world, song.beat_times, song.bands)
        )
        self.epoch_size = max(1, int(lengths.sum()) // config.crop_frames)

    def song(self, rng: np.random.Generator) -> DancedSong:
        """A random song; longer ones are likelier."""
        return self.songs[int(rng.choice(len(self.songs), p=self.shares))]


class PoseSamples(SongSamples):
    """Poses at random moments of random dances, every second one mirrored on the mean."""

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A pose and its heading, from the frames around it."""
        world = self.song(rng).world
        first = int(rng.integers(max(1, len(world) - POSE_CONTEXT)))
        near = world[first : first + POSE_CONTEXT]
        near = mirror(near) if rng.random() < 0.5 else near
        middle = len(near) // 2
        return near[middle], np.array(heading_of(near, POSE_FPS)[middle], np.float32)

    def collate(self, samples: Sequence[Sample]) -> PoseBatch:
        """The directions of the bones of bodies that face the camera."""
        poses, headings = (torch.from_numpy(np.stack(a)) for a in zip(*samples, strict=True))
        return PoseBatch(directions_of(face_camera(poses, headings)))


class SongCrops(SongSamples):
    """Random crops of dances with their music, at another speed, some of them mirrored."""

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """Landmarks, elapsed beats, the clock's offset and the bands of a crop."""
        config, n_frames = self.config, self.config.crop_frames
        song = self.song(rng)
        speed = log_uniform(rng, config.min_speed, config.max_speed)
        spare = len(song.world) / POSE_FPS - n_frames * speed / POSE_FPS
        start_s = float(rng.uniform(0, max(spare, 0.01)))
        world = retime(song.world, POSE_FPS, start_s=start_s, speed=speed, n_frames=n_frames)
        world = mirror(world) if rng.random() < config.mirror_share else world
        # Beats elapsed at each frame, from the last multiple of a bar's knot before the crop on.
        elapsed = beat_position(song.beat_times, start_s + np.arange(n_frames) * speed / POSE_FPS)
        beats = elapsed - np.floor(elapsed[0]) + rng.integers(BEATS_PER_KNOT)
        offset = np.array(rng.integers(CLOCK_OFFSETS))
        # The nearest frames of sound, OVERSAMPLING for each pose.
        at = (start_s * SOUND_RATE + np.arange(n_frames * OVERSAMPLING) * speed).round()
        return world, beats, offset, song.bands[at.clip(0, len(song.bands) - 1).astype(int)]

    def collate(self, samples: Sequence[Sample]) -> DanceBatch:
        """Movement relative to the dancer's heading, and the speed of turning."""
        worlds, beats, offsets, bands = (np.stack(arrays) for arrays in zip(*samples, strict=True))
        heading = heading_of(worlds, POSE_FPS)
        facing = face_camera(torch.from_numpy(worlds), torch.from_numpy(heading).float())
        turning = np.diff(heading, axis=1, prepend=2 * heading[:, :1] - heading[:, 1:2]) * POSE_FPS
        return DanceBatch(
            directions=directions_of(facing),
            turning=torch.from_numpy(turning).float(),
            beats=torch.from_numpy(beats).float(),
            offset=torch.from_numpy(offsets).float(),
            bands=torch.from_numpy(bands),
        )
