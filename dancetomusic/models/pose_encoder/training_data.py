"""What the pose encoder learns from: crops of dances with exact beats, real and procedural."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from dancetomusic.config import check_ranges
from dancetomusic.data.augment import (
    PoseAugmentConfig,
    log_uniform,
    retime,
    retime_beats,
    vary_pose,
)
from dancetomusic.data.captures import CAPTURES, capture_disjoint
from dancetomusic.data.clip import Clip
from dancetomusic.data.dance import Dance, fully_visible, require_beats
from dancetomusic.data.figures import hold_out
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.pose_encoder.network import PoseEncoderConfig
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.rhythm.features import beat_position
from dancetomusic.synthesis.choreography import MAX_BPM, MIN_BPM, STYLES, choreograph
from dancetomusic.training.clips import EndlessClips
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.prepared import hash_arrays
from dancetomusic.types import POSE_FPS, PoseSequence

STYLE_CYCLE = (*STYLES, "waltz", "waltz")
TEMPO_WINDOWS = 2
TEMPO_WINDOW_S = (4.0, 16.0)


@dataclass(frozen=True)
class PoseEncoderTrainingConfig(LoopConfig):
    """How the pose encoder is trained."""

    model: PoseEncoderConfig = field(default_factory=PoseEncoderConfig)
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    """How real dances are varied; procedural ones are varied likewise."""
    data: str | None = None
    """Folder of the dances (``data/tang2018.py``); none for procedural ones and clips."""
    clips: str | None = None
    """Set of clips whose ``train`` split takes the dances' place."""
    qualities: tuple[str, ...] = ("A", "B", "C")
    """Synchronisation qualities to learn from."""
    hold_out: str | None = None
    """What of the dances is not learned from: a genre, ``figures-N`` for block N of
    ``data.figures.figure_blocks``, or ``captures`` for every take of motion capture that also
    occurs in a dance of ``val``."""
    start_from: str | None = None
    """Checkpoint with an encoder of the same shape to start from: of ``pose_encoder``, or of
    ``pose2audio``."""
    procedural_share: float = 0.35
    """Share of crops from procedural dancers."""
    n_procedural: int = 300
    """Procedural dances made at the start, two crops long, a third in threes."""
    phase_weight: float = 1.0
    beat_weight: float = 1.0
    downbeat_weight: float = 3.0
    """Larger than the others: downbeats are rare, and their loss is small."""
    energy_weight: float = 1.0
    tempo_weight: float = 0.3
    crop_s: float = 20.0
    """Length of a crop."""
    short_share: float = 0.6
    """Share of crops shown as clips of ``min_clip_s`` to ``max_clip_s``."""
    min_clip_s: float = 4.0
    max_clip_s: float = 14.0
    validation_crops: int = 32
    """Of dances of the split ``val``, or of other procedural dances where there is no data."""
    max_steps: int = 2000
    batch_size: int = 16
    learning_rate: float = 3e-3
    warmup_steps: int = 200
    save_every: int = 200
    keep_best: bool = False
    """The last weights are kept: choosing them on ``val`` would flatter scores on ``val``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            shares="procedural_share short_share",
            counts="n_procedural validation_crops",
        )
        if self.data is not None and self.clips is not None:
            raise ConfigError("data and clips are both named", "Give one of them.")
        if self.data is None and self.clips is None and self.procedural_share < 1:
            raise ConfigError("no data is named", "Give clips, data, or procedural_share: 1.0.")
        if not 0 < self.min_clip_s <= self.max_clip_s <= self.crop_s:
            raise ConfigError("clip lengths are out of order", "Give min ≤ max ≤ crop.")


@dataclass(frozen=True)
class RhythmSource:
    """Movement with known beats: what crops are cut from."""

    poses: PoseSequence
    beat_times: np.ndarray
    beats_per_bar: int
    downbeat_known: bool
    energy: Float32[np.ndarray, " energy_frames"]
    retimed: bool


@dataclass(frozen=True)
class RhythmBatch:
    """Crops of poses, and the targets of the encoder at its frame rate.

    Attributes:
        phase: Cosine and sine of the beat phase.
        beats: 1 at a beat, less in the two frames on either side.
        mask: 1 where the dancer is seen.
        windows: Choices of pose frames from which the tempo alone is estimated.
    """

    world: Tensor
    present: Tensor
    phase: Tensor
    beats: Tensor
    downbeats: Tensor
    energy: Tensor
    mask: Tensor
    bpm: Tensor
    windows: Tensor


def source_of_dance(dance: Dance) -> RhythmSource:
    """A recorded dance as a source; it is retimed when cut.

    Raises:
        InputError: If its beats are fewer than two, or do not increase.
    """
    require_beats(dance)
    return _source(dance.poses, dance.beat_times, dance.beats_per_bar, known=dance.downbeat_known)


def source_of_clip(clip: Clip) -> RhythmSource | None:
    """A clip of a set as a source, on the beats of its sound; ``None`` where they are too few."""
    rhythm = clip.rhythm
    if rhythm.beat_times.size < 2:
        return None
    # Beats before the first complete its bar, so that beat 0 is a downbeat.
    before = np.arange(1 - rhythm.beat_numbers[0], 0)
    earlier = rhythm.beat_times[0] + before * (rhythm.beat_times[1] - rhythm.beat_times[0])
    return _source(
        clip.poses, np.append(earlier, rhythm.beat_times), rhythm.beats_per_bar, known=True
    )


def _source(
    poses: PoseSequence, beats: np.ndarray, beats_per_bar: int, *, known: bool
) -> RhythmSource:
    poses = resample_poses(poses, POSE_FPS)
    return RhythmSource(
        poses=poses,
        beat_times=beats,
        beats_per_bar=beats_per_bar,
        downbeat_known=known,
        energy=movement_energy(poses),
        retimed=True,
    )


def procedural_sources(n: int, duration_s: float, seed: int) -> list[RhythmSource]:
    """Procedural dances of every style at random tempi, sizes and looseness."""
    rng = np.random.default_rng(seed)
    sources = []
    for index in range(n):
        dance = choreograph(
            STYLE_CYCLE[index % len(STYLE_CYCLE)],
            log_uniform(rng, MIN_BPM, MAX_BPM),
            duration_s,
            int(rng.integers(2**31)),
            intensity=float(rng.uniform(0.4, 1.4)),
            timing_jitter_ms=float(rng.uniform(0, 35)),
            syncopation=float(rng.uniform(0, 0.3)),
            hold_share=float(rng.uniform(0, 0.15)),
        )
        poses = fully_visible(dance.world, POSE_FPS)
        sources.append(
            RhythmSource(
                poses=poses,
                beat_times=dance.beat_times,
                beats_per_bar=3 if dance.style == "waltz" else 4,
                downbeat_known=bool(dance.beat_numbers[0] == 1),
                energy=movement_energy(poses),
                retimed=False,
            )
        )
    return sources


class DanceCrops(TrainingSet):
    """Random crops of dances, which are chosen in proportion to their length.

    Args:
        config: The settings.
        real: Recorded dances.
        procedural: Procedural ones: ``procedural_share`` of the crops, all where there is nothing
            else.
        clips: A stream of clips, in place of ``real``; those without beats are passed over.
    """

    batch_type = RhythmBatch

    def __init__(
        self,
        config: PoseEncoderTrainingConfig,
        real: Sequence[RhythmSource],
        procedural: Sequence[RhythmSource],
        clips: EndlessClips[RhythmSource | None] | None = None,
    ) -> None:
        self.config, self.seed = config, config.seed
        self.real, self.procedural, self.clips = real, procedural, clips
        lengths = np.array([source.poses.duration_s for source in real or procedural])
        self.shares = lengths / lengths.sum()  # empty where there are only clips
        self.content_hash = hash_arrays(
            a for source in (*real, *procedural) for a in (source.poses.world, source.beat_times)
        )
        self.epoch_size = max(1, round(lengths.sum() / config.crop_s))
        if clips is not None:
            self.content_hash += f" {clips.stream.content_hash}"
            self.epoch_size = clips.stream.n_clips

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A random crop of a random dance."""
        others = self.real or self.clips is not None
        if not others or rng.random() < self.config.procedural_share:
            source = self.procedural[int(rng.integers(len(self.procedural)))]
        elif self.clips is not None:
            source = _next_with_beats(self.clips)
        else:
            source = self.real[int(rng.choice(len(self.real), p=self.shares))]
        return crop_source(source, self.config, rng)


def _next_with_beats(clips: EndlessClips[RhythmSource | None]) -> RhythmSource:
    for source in islice(clips, clips.stream.n_clips):
        if source is not None:
            return source
    raise no_beats(clips.stream.root)


def no_beats(root: Path | str) -> InputError:
    """What is said of a set whose clips have too few beats."""
    return InputError(f"no clip of {root} has two beats", "Build a set of videos with music.")


def training_dances(config: PoseEncoderTrainingConfig) -> list[Dance]:
    """The dances of ``train`` without what is held out; none where no data is named.

    Raises:
        InputError: If the data is missing or malformed, or ``hold_out`` names nothing in it.
    """
    if config.data is None:
        return []
    dances = load_dances(config.data, split="train", qualities=config.qualities)
    if config.hold_out == CAPTURES:
        return capture_disjoint(dances, load_dances(config.data, split="val"))
    if config.hold_out is not None:
        return hold_out(dances, config.hold_out, load_dances(config.data))
    return dances


def crop_source(
    source: RhythmSource, config: PoseEncoderTrainingConfig, rng: np.random.Generator
) -> Sample:
    """A random crop of a dance, varied, with the fields of a ``RhythmBatch``."""
    # Poses: a stretch at another speed, seen by a poor detector from another side.
    n_frames = round(config.crop_s * POSE_FPS)
    augment = config.augment
    speed = 1.0
    if source.retimed:
        speed = log_uniform(rng, augment.min_retiming, augment.max_retiming)
    start_s = float(rng.uniform(0, max(0.01, source.poses.duration_s - config.crop_s * speed)))
    world = retime(source.poses.world, POSE_FPS, start_s=start_s, speed=speed, n_frames=n_frames)
    shown_s = min(config.crop_s, (source.poses.duration_s - start_s) / speed)
    world, present = vary_pose(world, POSE_FPS, augment, rng)
    nearest = np.rint(start_s * POSE_FPS + np.arange(n_frames) * speed).astype(int)
    present &= source.poses.present[np.minimum(nearest, len(source.poses) - 1)]
    # Only a part of the crop may be shown, as in a short clip.
    first_s = 0.0
    if rng.random() < config.short_share:
        clip_s = min(shown_s, float(rng.uniform(config.min_clip_s, config.max_clip_s)))
        first_s = float(rng.uniform(0, shown_s - clip_s))
        shown_s = first_s + clip_s
    pose_s = np.arange(n_frames) / POSE_FPS
    present &= (pose_s >= first_s) & (pose_s < shown_s)

    # Targets at the encoder's frame rate, from the beats on the clock of the crop.
    rate = config.model.frame_rate
    at = np.arange(math.floor(config.crop_s * rate + 1e-6)) / rate
    beats = retime_beats(source.beat_times, start_s=start_s, speed=speed)
    position = beat_position(beats, at)
    near_beat = _near(position, rate * np.median(np.diff(beats)))
    downbeat = near_beat * (np.rint(position).astype(int) % source.beats_per_bar == 0)
    if not source.downbeat_known:
        downbeat = near_beat / source.beats_per_bar
    level_at = (start_s + at * speed) * ENERGY_RATE
    energy = np.interp(level_at, np.arange(source.energy.size), source.energy)
    seen = present[np.minimum((at * POSE_FPS).astype(int), n_frames - 1)]
    angle = 2 * np.pi * position
    return (
        world,
        present,
        np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32),
        near_beat.astype(np.float32),
        downbeat.astype(np.float32),
        energy.astype(np.float32),
        seen.astype(np.float32),
        np.array(60.0 / np.median(np.diff(beats)), np.float32),
        np.stack([_stretch(present, rng) for _ in range(TEMPO_WINDOWS)]),
    )


def _stretch(present: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random stretch of the frames present."""
    count = np.cumsum(present)
    length = rng.uniform(*TEMPO_WINDOW_S) * POSE_FPS
    first = rng.uniform(0, max(1e-6, count[-1] - length))
    return present & (count > first) & (count <= first + length)


def _near(position: np.ndarray, frames_per_beat: float) -> np.ndarray:
    """1 at the frame of a beat, 0.5 one frame and 0.25 two frames away."""
    distance = np.abs(position - np.rint(position)) * frames_per_beat
    return np.select([distance <= 0.5, distance <= 1.5, distance <= 2.5], [1.0, 0.5, 0.25], 0.0)
