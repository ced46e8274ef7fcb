"""Train the pose encoder on dances with exact beats, real and procedural."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from dancetomusic.atomic import atomic_output
from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.config import config_to_dict
from dancetomusic.datasets.pose_augment import (
    PoseAugmentConfig,
    retime,
    retime_beats,
    vary_pose,
)
from dancetomusic.datasets.tang2018 import Dance, load_dances
from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.models.pose_encoder import POSE_FPS, PoseEncoder, PoseEncoderConfig
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.synthesis.choreography import MAX_BPM, MIN_BPM, STYLES, choreograph
from dancetomusic.types import PoseSequence

log = logging.getLogger(__name__)

STYLE_CYCLE = (*STYLES, "waltz", "waltz")
STATE_FILE = "training_state.pt"


@dataclass(frozen=True)
class PoseEncoderTrainingConfig:
    """Recipe of a pose encoder.

    Attributes:
        model: Its shape.
        augment: How real dances are varied; procedural ones are varied likewise.
        data: Folder of the dances (see ``datasets/tang2018.py``); ``None`` for procedural only.
        qualities: Synchronisation qualities to learn from.
        procedural_share: Share of crops from procedural dancers.
        downbeat_weight: Of the downbeat's loss term, which is small: downbeats are rare.
        n_procedural: Procedural dances made at the start, two crops long, a third in threes.
        steps: Optimiser steps.
        batch_size: Crops a step.
        crop_s: Length of a crop.
        short_share: Share of crops shown as clips of ``min_clip_s`` to ``max_clip_s``.
        min_clip_s: Shortest clip.
        max_clip_s: Longest clip.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Of AdamW.
        save_every: Steps between checkpoints of the training state.
        seed: Of weights, crops and procedural dances.
    """

    model: PoseEncoderConfig = field(default_factory=PoseEncoderConfig)
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    data: str | None = None
    qualities: tuple[str, ...] = ("A", "B", "C")
    procedural_share: float = 0.35
    downbeat_weight: float = 3.0
    n_procedural: int = 300
    steps: int = 2000
    batch_size: int = 16
    crop_s: float = 20.0
    short_share: float = 0.6
    min_clip_s: float = 4.0
    max_clip_s: float = 14.0
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.procedural_share <= 1 or not 0 <= self.short_share <= 1:
            raise ConfigError("a share is out of range", "Give 0 to 1.")
        if self.data is None and self.procedural_share < 1:
            raise ConfigError("no data is named", "Give data, or procedural_share: 1.0.")
        if not 0 < self.min_clip_s <= self.max_clip_s <= self.crop_s:
            raise ConfigError("clip lengths are out of order", "Give min ≤ max ≤ crop.")
        if min(self.steps, self.batch_size, self.n_procedural, self.save_every) < 1:
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
    """Poses and what should be said of them, at the encoder's frame rate."""

    world: Tensor
    present: Tensor
    phase: Tensor
    beats: Tensor
    downbeats: Tensor
    energy: Tensor
    mask: Tensor


def source_of_dance(dance: Dance) -> RhythmSource:
    """A recorded dance as a source; it is retimed when cut."""
    return RhythmSource(
        poses=dance.poses,
        beat_times=dance.beat_times,
        beats_per_bar=dance.beats_per_bar,
        downbeat_known=dance.downbeat_known,
        energy=movement_energy(dance.poses),
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
    rng: np.random.Generator,
) -> RhythmBatch:
    """Cut and vary ``batch_size`` crops; long dances are drawn as often as their length."""
    seconds = np.array([source.poses.duration_s for source in real])
    crops = []
    for _ in range(config.batch_size):
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
    )


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
    encoder: PoseEncoder, batch: RhythmBatch, *, downbeat_weight: float = 1.0
) -> dict[str, Tensor]:
    """Loss terms over the frames in which the dancer is seen; ``total`` is their sum."""
    said = encoder(batch.world, batch.present)
    share = batch.mask / batch.mask.sum().clamp(min=1.0)
    phase = ((said.phase - batch.phase).square().sum(dim=-1) * share).sum()
    beat = functional.binary_cross_entropy_with_logits(
        said.beat_logits, batch.beats, reduction="none"
    )
    downbeat = functional.binary_cross_entropy_with_logits(
        said.downbeat_logits, batch.downbeats, reduction="none"
    )
    energy = ((said.energy - batch.energy).square() * share).sum()
    terms = {
        "phase": phase,
        "beat": (beat * share).sum(),
        "downbeat": downbeat_weight * (downbeat * share).sum(),
        "energy": energy,
    }
    return {"total": torch.stack(list(terms.values())).sum(), **terms}


def train_pose_encoder(
    config: PoseEncoderTrainingConfig,
    output_dir: Path | str,
    *,
    dances: Sequence[Dance] | None = None,
    resume: bool = False,
) -> PoseEncoder:
    """Train an encoder and write it as a checkpoint of the model ``pose_encoder``.

    Args:
        config: The recipe.
        output_dir: Receives the checkpoint, and the training state while it runs.
        dances: Dances to learn from instead of the ``train`` split of ``config.data``.
        resume: Go on from the state in ``output_dir``.

    Raises:
        CheckpointError: If there is no state to resume, or it is of another recipe.
    """
    torch.manual_seed(config.seed)
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    if dances is None and config.data is not None:
        dances = load_dances(config.data, split="train", qualities=config.qualities)
    real = [source_of_dance(dance) for dance in dances or ()]
    procedural = (
        procedural_sources(config.n_procedural, 2 * config.crop_s, config.seed)
        if config.procedural_share > 0
        else []
    )
    encoder = PoseEncoder(config.model)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.1
    )
    parts = {"encoder": encoder, "optimizer": optimizer, "schedule": schedule}
    first = _restore(output / STATE_FILE, config, parts) if resume else 0

    started = time.monotonic()
    encoder.train()
    for step in range(first, config.steps):
        rng = np.random.default_rng([config.seed, step])
        batch = make_batch(real, procedural, config, rng)
        losses = rhythm_loss(encoder, batch, downbeat_weight=config.downbeat_weight)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == config.steps - 1:
            terms = " ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
            log.info("step %d %s %.0f s", step, terms, time.monotonic() - started)
        if (step + 1) % config.save_every == 0:
            _store(output / STATE_FILE, step + 1, config, parts)
    encoder.eval()
    save_checkpoint(
        output,
        model="pose_encoder",
        config=config_to_dict(config.model),
        tensors=encoder.state_dict(),
        metadata={
            "seed": config.seed,
            "steps": config.steps,
            "dances": sorted(dance.dance_id for dance in dances or ()),
            "procedural_share": config.procedural_share,
        },
    )
    return encoder


def _store(
    path: Path, step: int, config: PoseEncoderTrainingConfig, parts: dict[str, object]
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    with atomic_output(path) as temporary:
        torch.save({"step": step, "config": config_to_dict(config), **state}, temporary)


def _restore(path: Path, config: PoseEncoderTrainingConfig, parts: dict[str, object]) -> int:
    if not path.is_file():
        raise CheckpointError(f"there is no training state at {path}", "Start without resume.")
    state = torch.load(path, weights_only=True)
    if state["config"] != config_to_dict(config):
        raise CheckpointError(
            f"{path} was made with another recipe", "Resume with its own, or start anew."
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])  # type: ignore[attr-defined]
    return int(state["step"])
