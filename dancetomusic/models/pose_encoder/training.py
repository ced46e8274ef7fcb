"""The recipe of the pose encoder: dances with exact beats, real and procedural."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from dancetomusic.checkpoint import load_checkpoint, load_into, save_checkpoint
from dancetomusic.config import config_to_dict
from dancetomusic.data.augment import (
    PoseAugmentConfig,
    retime,
    retime_beats,
    vary_pose,
)
from dancetomusic.data.captures import CAPTURES, capture_disjoint
from dancetomusic.data.figures import hold_out
from dancetomusic.data.tang2018 import Dance, load_dances, require_beats
from dancetomusic.errors import ConfigError
from dancetomusic.models.pose_encoder.losses import rhythm_terms
from dancetomusic.models.pose_encoder.network import (
    PoseEncoder,
    PoseEncoderConfig,
    load_pose_encoder,
    read_rhythm,
)
from dancetomusic.models.pose_encoder.tempo import rhythm_signals
from dancetomusic.models.registry import TrainingTask
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.synthesis.choreography import MAX_BPM, MIN_BPM, STYLES, choreograph
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.logger import Board
from dancetomusic.training.loop import Group, LoopConfig, Recipe, run_recipe
from dancetomusic.training.music_fit import fit_of_beats, mean_of
from dancetomusic.training.pictures import draw_rhythm
from dancetomusic.types import POSE_FPS, PoseSequence

STYLE_CYCLE = (*STYLES, "waltz", "waltz")
TEMPO_SPREAD_OCTAVES = 0.03
TEMPO_WINDOWS = 2
TEMPO_WINDOW_S = (4.0, 16.0)
SHOWN_S = 10.0


@dataclass(frozen=True)
class PoseEncoderTrainingConfig(LoopConfig):
    """How the pose encoder is trained."""

    model: PoseEncoderConfig = field(default_factory=PoseEncoderConfig)
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    """How real dances are varied; procedural ones are varied likewise."""
    data: str | None = None
    """Folder of the dances (``data/tang2018.py``); none for procedural ones alone."""
    qualities: tuple[str, ...] = ("A", "B", "C")
    """Synchronisation qualities to learn from."""
    hold_out: str | None = None
    """What of the dances is not learned from: a genre, ``figures-N`` for block N of
    ``datasets.figures.figure_blocks``, or ``captures`` for every take of motion capture that also
    occurs in a dance of ``val``."""
    start_from: str | None = None
    """Checkpoint of an encoder of the same shape to go on from."""
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
        if not 0 <= self.procedural_share <= 1 or not 0 <= self.short_share <= 1:
            raise ConfigError("a share is out of range", "Give 0 to 1.")
        if self.data is None and self.procedural_share < 1:
            raise ConfigError("no data is named", "Give data, or procedural_share: 1.0.")
        if not 0 < self.min_clip_s <= self.max_clip_s <= self.crop_s:
            raise ConfigError("clip lengths are out of order", "Give min ≤ max ≤ crop.")
        if min(self.n_procedural, self.validation_crops) < 1:
            raise ConfigError("a count is below 1", "Give positive counts.")


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
    """Poses and what should be said of them, at the encoder's frame rate.

    Windows are further choices of frames, from which the tempo alone is to be read.
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
    poses = dance.poses
    if poses.fps != POSE_FPS:
        poses = resample_poses(poses, POSE_FPS)
    return RhythmSource(
        poses=poses,
        beat_times=dance.beat_times,
        beats_per_bar=dance.beats_per_bar,
        downbeat_known=dance.downbeat_known,
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
            float(np.exp(rng.uniform(np.log(MIN_BPM), np.log(MAX_BPM)))),
            duration_s,
            int(rng.integers(2**31)),
            intensity=float(rng.uniform(0.4, 1.4)),
            timing_jitter_ms=float(rng.uniform(0, 35)),
            syncopation=float(rng.uniform(0, 0.3)),
            hold_share=float(rng.uniform(0, 0.15)),
        )
        frames = dance.world.shape[0]
        poses = PoseSequence(
            world=dance.world,
            present=np.ones(frames, bool),
            visibility=np.ones((frames, 33), np.float32),
            fps=POSE_FPS,
        )
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


def make_batch(
    real: Sequence[RhythmSource],
    procedural: Sequence[RhythmSource],
    config: PoseEncoderTrainingConfig,
    rngs: Sequence[np.random.Generator],
) -> RhythmBatch:
    """Cut and vary a crop for each generator; dances are drawn as often as they are long."""
    seconds = np.array([source.poses.duration_s for source in real])
    crops = []
    for rng in rngs:
        if not real or rng.random() < config.procedural_share:
            source = procedural[int(rng.integers(len(procedural)))]
        else:
            source = real[int(rng.choice(len(real), p=seconds / seconds.sum()))]
        crops.append(_crop(source, config, rng))
    stacked = [torch.from_numpy(np.stack(values)) for values in zip(*crops, strict=True)]
    return RhythmBatch(*stacked)


def _crop(
    source: RhythmSource, config: PoseEncoderTrainingConfig, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    n_frames = round(config.crop_s * POSE_FPS)
    augment = config.augment
    low, high = np.log(augment.min_retiming), np.log(augment.max_retiming)
    speed = float(np.exp(rng.uniform(low, high))) if source.retimed else 1.0
    start_s = float(rng.uniform(0, max(0.01, source.poses.duration_s - config.crop_s * speed)))
    world = retime(source.poses.world, POSE_FPS, start_s=start_s, speed=speed, n_frames=n_frames)
    shown_s = min(config.crop_s, (source.poses.duration_s - start_s) / speed)
    world, present = vary_pose(world, POSE_FPS, augment, rng)
    nearest = np.rint(start_s * POSE_FPS + np.arange(n_frames) * speed).astype(int)
    present &= source.poses.present[np.minimum(nearest, len(source.poses) - 1)]
    first_s = 0.0
    if rng.random() < config.short_share:
        clip_s = min(shown_s, float(rng.uniform(config.min_clip_s, config.max_clip_s)))
        first_s = float(rng.uniform(0, shown_s - clip_s))
        shown_s = first_s + clip_s
    pose_s = np.arange(n_frames) / POSE_FPS
    present &= (pose_s >= first_s) & (pose_s < shown_s)

    rate = config.model.frame_rate
    at = np.arange(math.floor(config.crop_s * rate + 1e-6)) / rate
    beats = retime_beats(source.beat_times, start_s=start_s, speed=speed)
    position = _beat_position(beats, at)
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


def _beat_position(beats: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Beats elapsed at each time, extrapolated at both ends."""
    count = np.arange(beats.size)
    position = np.interp(at, beats, count)
    early, late = at < beats[0], at > beats[-1]
    position[early] = (at[early] - beats[0]) / (beats[1] - beats[0])
    position[late] = beats.size - 1 + (at[late] - beats[-1]) / (beats[-1] - beats[-2])
    return position


def _near(position: np.ndarray, frames_per_beat: float) -> np.ndarray:
    """1 at the frame of a beat, 0.5 one frame and 0.25 two frames away."""
    distance = np.abs(position - np.rint(position)) * frames_per_beat
    return np.select([distance <= 0.5, distance <= 1.5, distance <= 2.5], [1.0, 0.5, 0.25], 0.0)


def rhythm_loss(
    encoder: PoseEncoder,
    batch: RhythmBatch,
    *,
    phase_weight: float = 1.0,
    beat_weight: float = 1.0,
    downbeat_weight: float = 1.0,
    energy_weight: float = 1.0,
    tempo_weight: float = 0.3,
) -> dict[str, Tensor]:
    """Weighted loss terms over the frames in which the dancer is seen; ``total`` is their sum."""
    said = encoder(batch.world, batch.present)
    terms = rhythm_terms(
        said,
        phase=batch.phase,
        beats=batch.beats,
        downbeats=batch.downbeats,
        energy=batch.energy,
        mask=batch.mask,
    )
    terms["phase"] = phase_weight * terms["phase"]
    terms["beat"] = beat_weight * terms["beat"]
    terms["downbeat"] = downbeat_weight * terms["downbeat"]
    terms["energy"] = energy_weight * terms["energy"]
    terms["tempo"] = tempo_weight * _tempo_loss(encoder, said.tempo_logits, batch)
    return {"total": torch.stack(list(terms.values())).sum(), **terms}


def _tempo_loss(
    encoder: PoseEncoder, logits: Float[Tensor, "batch tempi"], batch: RhythmBatch
) -> Float[Tensor, ""]:
    """Cross-entropy of the tempo, read from the whole crop and from each window.

    Crops count by the frames in which the dancer is seen, as in the other terms.
    """
    candidates = torch.from_numpy(TEMPI_BPM).float().to(batch.bpm.device)
    octaves = torch.log2(candidates / batch.bpm[:, None])
    near = torch.softmax(-0.5 * (octaves / TEMPO_SPREAD_OCTAVES).square(), dim=1)
    signals = rhythm_signals(batch.world, POSE_FPS)
    reads = [logits]
    reads += [encoder.tempo(signals, window, POSE_FPS) for window in batch.windows.unbind(dim=1)]
    misses = torch.stack([-(near * read.log_softmax(dim=1)).sum(dim=1) for read in reads])
    share = batch.mask.sum(dim=1) / batch.mask.sum().clamp(min=1.0)
    return (misses.mean(dim=0) * share).sum()


class PoseEncoderRecipe(Recipe):
    """Trains a ``PoseEncoder`` on crops of dances.

    Args:
        config: The settings.
        device: Where the encoder is trained.
        dances: Dances to learn from instead of the ``train`` split of ``config.data``.

    Raises:
        InputError: If the data is missing, malformed, or holds poses that are not finite.
        CheckpointError: If ``start_from`` holds no encoder of this shape.
    """

    config: PoseEncoderTrainingConfig

    def __init__(
        self,
        config: PoseEncoderTrainingConfig,
        device: torch.device,
        dances: Sequence[Dance] | None = None,
    ) -> None:
        self.config = config
        if dances is None and config.data is not None:
            dances = load_dances(config.data, split="train", qualities=config.qualities)
            if config.hold_out == CAPTURES:
                dances = capture_disjoint(dances, load_dances(config.data, split="val"))
            elif config.hold_out is not None:
                dances = hold_out(dances, config.hold_out, load_dances(config.data))
        self.dances = list(dances or ())
        self.real = [source_of_dance(dance) for dance in self.dances]
        length = 2 * config.crop_s
        self.procedural = (
            procedural_sources(config.n_procedural, length, config.seed)
            if config.procedural_share > 0
            else []
        )
        self.held_out = (
            procedural_sources(8, length, config.seed + 1)
            if config.data is None
            else [source_of_dance(dance) for dance in load_dances(config.data, split="val")]
        )
        self.encoder = PoseEncoder(config.model)
        if config.start_from is not None:
            held = load_checkpoint(config.start_from, model="pose_encoder")
            load_into(self.encoder, held, config.start_from)
        self.encoder.to(device)
        self.device = device
        optimizer = torch.optim.AdamW(
            self.encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.modules = {"encoder": self.encoder}
        self.groups = {
            "encoder": Group(optimizer, config.learning_rate, clip_norm=config.clip_norm)
        }
        sources = [*self.real, *self.procedural]
        self.data_hash = hash_arrays(
            array for source in sources for array in (source.poses.world, source.beat_times)
        )
        seconds = sum(source.poses.duration_s for source in self.real or self.procedural)
        self.epoch_size = max(1, round(seconds / config.crop_s))

    def batch(self, step: int, places: range) -> RhythmBatch:
        """Crops of real and procedural dances."""
        rngs = [self.rng(step, place) for place in places]
        return make_batch(self.real, self.procedural, self.config, rngs)

    def weight(self, batch: RhythmBatch) -> float:
        """Frames in which a dancer is seen."""
        return float(batch.mask.sum().clamp(min=1.0))

    def losses(self, group: str, batch: RhythmBatch, step: int) -> dict[str, Tensor]:
        """What the encoder says of the rhythm, against the truth."""
        return self._losses(batch)

    def _losses(self, batch: RhythmBatch) -> dict[str, Tensor]:
        config = self.config
        return rhythm_loss(
            self.encoder,
            batch,
            phase_weight=config.phase_weight,
            beat_weight=config.beat_weight,
            downbeat_weight=config.downbeat_weight,
            energy_weight=config.energy_weight,
            tempo_weight=config.tempo_weight,
        )

    def validate(self) -> dict[str, float]:
        """The loss on crops of dances that are not trained on."""
        rngs = [np.random.default_rng([0, place]) for place in range(self.config.validation_crops)]
        real = self.held_out if self.held_out[0].retimed else []
        procedural = [] if real else self.held_out
        settings = replace(self.config, procedural_share=0.0 if real else 1.0)
        found: dict[str, float] = {}
        for start in range(0, len(rngs), self.config.batch_size):
            some = rngs[start : start + self.config.batch_size]
            batch = _to_device(make_batch(real, procedural, settings, some), self.device)
            for name, value in self._losses(batch).items():
                name = "loss" if name == "total" else name
                found[name] = found.get(name, 0.0) + float(value) * len(some) / len(rngs)
        return found

    def show(self, board: Board, step: int) -> dict[str, float]:
        """The middle of each held-out dance, read; the first of them is drawn."""
        scores: list[dict[str, float]] = []
        encoder = self.encoder.to("cpu")
        for number, source in enumerate(self.held_out):
            poses, beats = _middle(source, SHOWN_S)
            track = read_rhythm(encoder, poses)
            scores.append(fit_of_beats(beats, track.beat_times))
            if number == 0:
                world = torch.from_numpy(poses.world)[None]
                said = encoder(world, torch.from_numpy(poses.present)[None]).beat_logits[0]
                picture = draw_rhythm(
                    poses.world, poses.fps, said.sigmoid().numpy(),
                    self.config.model.frame_rate, beats,
                )  # fmt: skip
                board.picture("dancer", picture, step)
        self.encoder.to(self.device)
        return mean_of(scores)

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the encoder as a checkpoint of the model ``pose_encoder``."""
        save_checkpoint(
            directory,
            model="pose_encoder",
            config=config_to_dict(self.config.model),
            tensors=self.encoder.state_dict(),
            metadata={
                "dances": sorted(dance.dance_id for dance in self.dances),
                "hold_out": self.config.hold_out,
                **metadata,
            },
        )


def _to_device(batch: RhythmBatch, device: torch.device) -> RhythmBatch:
    return RhythmBatch(*(getattr(batch, field.name).to(device) for field in fields(batch)))


def _middle(source: RhythmSource, seconds: float) -> tuple[PoseSequence, np.ndarray]:
    """A clip from the middle, and the beats in it."""
    poses = source.poses
    n_frames = min(len(poses), round(seconds * POSE_FPS))
    first = (len(poses) - n_frames) // 2
    clip = PoseSequence(
        world=poses.world[first : first + n_frames],
        present=poses.present[first : first + n_frames],
        visibility=poses.visibility[first : first + n_frames],
        fps=POSE_FPS,
    )
    beats = source.beat_times - first / POSE_FPS
    return clip, beats[(beats >= 0) & (beats < clip.duration_s)]


def train_pose_encoder(
    config: PoseEncoderTrainingConfig,
    output: Path | str,
    *,
    dances: Sequence[Dance] | None = None,
) -> PoseEncoder:
    """Train an encoder, or go on with a stopped run; write it as a ``pose_encoder`` checkpoint.

    Args:
        config: The settings.
        output: Directory of the run.
        dances: Dances to learn from instead of the ``train`` split of ``config.data``.

    Raises:
        DanceToMusicError: See ``PoseEncoderRecipe`` and ``run_recipe``.
    """
    run_recipe(lambda world: PoseEncoderRecipe(config, world.device, dances), config, output)
    return load_pose_encoder(output)


TASK = TrainingTask(PoseEncoderTrainingConfig, train_pose_encoder)
