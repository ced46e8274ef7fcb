"""The training task of the pose encoder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dancetomusic.checkpoint import load_checkpoint, load_into
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.models.pose_encoder.losses import rhythm_loss
from dancetomusic.models.pose_encoder.network import (
    PoseEncoder,
    read_rhythm,
)
from dancetomusic.models.pose_encoder.training_data import (
    DanceCrops,
    PoseEncoderTrainingConfig,
    RhythmBatch,
    RhythmSource,
    procedural_sources,
    source_of_dance,
    training_dances,
)
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.training.beat_scores import beat_scores, mean_scores
from dancetomusic.training.dataset import mean_losses
from dancetomusic.training.logger import Logger
from dancetomusic.training.loop import run_training
from dancetomusic.training.pictures import draw_rhythm
from dancetomusic.training.task import TrainingTask, scheduled_adamw
from dancetomusic.types import POSE_FPS, PoseSequence

LOGGED_S = 10.0


class PoseEncoderTask(TrainingTask):
    """Trains a ``PoseEncoder`` on crops of dances.

    Args:
        config: The settings.
        device: Where the encoder is trained.

    Raises:
        InputError: If the data is missing, malformed, or holds poses that are not finite.
        CheckpointError: If ``start_from`` holds no encoder of this shape.
    """

    config: PoseEncoderTrainingConfig

    def __init__(self, config: PoseEncoderTrainingConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.dances = training_dances(config)
        procedural = partial(procedural_sources, duration_s=2 * config.crop_s)
        self.data = DanceCrops(
            config,
            [source_of_dance(dance) for dance in self.dances],
            procedural(config.n_procedural, seed=config.seed) if config.procedural_share else [],
        )
        if config.data is None:
            self.held_out = DanceCrops(config, [], procedural(8, seed=config.seed + 1))
        else:
            val = [source_of_dance(dance) for dance in load_dances(config.data, split="val")]
            self.held_out = DanceCrops(replace(config, procedural_share=0.0), val, [])
        self.encoder = PoseEncoder(config.model)
        if config.start_from is not None:
            held = load_checkpoint(config.start_from, model="pose_encoder")
            load_into(self.encoder, held, config.start_from)
        self.encoder.to(device)
        self.modules = {"encoder": self.encoder}
        self.optimizers = {"encoder": scheduled_adamw(self.encoder.parameters(), config)}

    def weight(self, batch: RhythmBatch) -> float:
        """Frames in which a dancer is seen."""
        return float(batch.mask.sum().clamp(min=1.0))

    def losses(self, optimizer: str, batch: RhythmBatch, step: int) -> dict[str, Tensor]:
        """Errors of the estimated rhythm."""
        names = ("phase_weight", "beat_weight", "downbeat_weight", "energy_weight", "tempo_weight")
        weights = {name: getattr(self.config, name) for name in names}
        return rhythm_loss(self.encoder, batch, **weights)

    def validate(self) -> dict[str, float]:
        """The loss on crops of dances that are not trained on."""
        samples = self.held_out.fixed_samples(self.config.validation_crops)
        losses = partial(self.losses, "encoder", step=0)
        size = self.config.batch_size
        return mean_losses(losses, self.held_out, samples, size, self.device)

    def log_samples(self, logger: Logger, step: int) -> dict[str, float]:
        """Beats in the middle of each held-out dance; the first of them is drawn."""
        scores: list[dict[str, float]] = []
        encoder = self.encoder.to("cpu")
        for number, source in enumerate(self.held_out.real or self.held_out.procedural):
            poses, beats = _middle(source, LOGGED_S)
            track = read_rhythm(encoder, poses)
            scores.append(beat_scores(beats, track.beat_times))
            if number == 0:
                world = torch.from_numpy(poses.world)[None]
                logits = encoder(world, torch.from_numpy(poses.present)[None]).beat_logits[0]
                picture = draw_rhythm(
                    poses.world, poses.fps, logits.sigmoid().numpy(),
                    self.config.model.frame_rate, beats,
                )  # fmt: skip
                logger.image("dancer", picture, step)
        self.encoder.to(self.device)
        return mean_scores(scores)

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the encoder as a checkpoint of the model ``pose_encoder``."""
        dances = sorted(dance.dance_id for dance in self.dances)
        self.encoder.save_pretrained(
            directory, {"dances": dances, "hold_out": self.config.hold_out, **metadata}
        )


def _middle(source: RhythmSource, seconds: float) -> tuple[PoseSequence, np.ndarray]:
    """A clip from the middle, and the beats in it."""
    poses = source.poses
    n_frames = min(len(poses), round(seconds * POSE_FPS))
    first = (len(poses) - n_frames) // 2
    part = slice(first, first + n_frames)
    clip = PoseSequence(poses.world[part], poses.present[part], poses.visibility[part], POSE_FPS)
    beats = source.beat_times - first / POSE_FPS
    return clip, beats[(beats >= 0) & (beats < clip.duration_s)]


def train_pose_encoder(config: PoseEncoderTrainingConfig, output: Path | str) -> PoseEncoder:
    """Train an encoder, or resume a stopped run; write it as a ``pose_encoder`` checkpoint.

    Raises:
        DanceToMusicError: See ``PoseEncoderTask`` and ``run_training``.
    """
    run_training(lambda context: PoseEncoderTask(config, context.device), config, output)
    return PoseEncoder.from_pretrained(output)


TRAINING = TrainingEntry(PoseEncoderTrainingConfig, train_pose_encoder)
