"""The training task of the pose encoder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import CheckpointError
from dancetomusic.models.encoders import open_encoder
from dancetomusic.models.pose_encoder.losses import rhythm_loss
from dancetomusic.models.pose_encoder.network import PoseEncoder, read_rhythm
from dancetomusic.models.pose_encoder.training_data import (
    DanceCrops,
    PoseEncoderTrainingConfig,
    RhythmBatch,
    RhythmSource,
    no_beats,
    procedural_sources,
    source_of_clip,
    source_of_dance,
    training_dances,
)
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.training.beat_scores import beat_scores, mean_scores
from dancetomusic.training.clips import EndlessClips, validation_clips
from dancetomusic.training.dataset import mean_losses
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.logger import Logger
from dancetomusic.training.loop import run_training
from dancetomusic.training.pictures import draw_rhythm
from dancetomusic.training.task import TrainingTask, scheduled_adamw
from dancetomusic.types import POSE_FPS, PoseSequence

LOGGED_S = 10.0
ON_SET = {
    "start_from": "pose2audio",
    "n_procedural": 100,
    "crop_s": 8.0,
    "max_clip_s": 8.0,
    "max_steps": 500,
    "learning_rate": 5e-4,
    "warmup_steps": 50,
}
"""On a set of clips: the released encoder is trained further, on crops no longer than clips are."""


class PoseEncoderTask(TrainingTask):
    """Trains a ``PoseEncoder`` on crops of dances.

    Raises:
        InputError: If the data is missing, malformed, or holds poses that are not finite.
        CheckpointError: If ``start_from`` holds no encoder of this shape.
    """

    config: PoseEncoderTrainingConfig

    def __init__(self, config: PoseEncoderTrainingConfig, context: DistributedContext) -> None:
        self.config, self.device = config, context.device
        self.dances = training_dances(config)
        procedural = []
        if config.procedural_share:
            length_s = 2 * config.crop_s
            procedural = procedural_sources(config.n_procedural, length_s, config.seed)
        clips = None
        if config.clips is not None:
            clips = EndlessClips(config.clips, source_of_clip, config.seed, context)
            clips.try_one()
        self.data = DanceCrops(
            config,
            [source_of_dance(dance) for dance in self.dances],
            procedural,
            clips,
        )
        self.held_out = self._held_out()
        self.encoder = PoseEncoder(config.model)
        if config.start_from is not None:
            start = open_encoder(config.start_from)[0]
            try:
                self.encoder.load_state_dict(start.state_dict())
            except RuntimeError as error:
                raise CheckpointError(
                    f"the encoder of {config.start_from} has another shape",
                    "Set model to its channels, dilations, kernel and legs_only.",
                ) from error
        self.encoder.to(self.device)
        self.modules = {"encoder": self.encoder}
        self.optimizers = {"encoder": scheduled_adamw(self.encoder.parameters(), config)}

    def _held_out(self) -> DanceCrops:
        config = self.config
        if config.data is None and config.clips is None:
            others = procedural_sources(8, 2 * config.crop_s, config.seed + 1)
            return DanceCrops(config, [], others)
        if config.data is not None:
            val = [source_of_dance(dance) for dance in load_dances(config.data, split="val")]
        else:
            assert config.clips is not None
            count = config.validation_crops
            found, self.notes = validation_clips(config.clips, source_of_clip, count)
            val = [source for source in found if source is not None]
            if not val:
                raise no_beats(config.clips)
        return DanceCrops(replace(config, procedural_share=0.0), val, [])

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
    clip = cut_poses(poses, slice(first, first + n_frames))
    beats = source.beat_times - first / POSE_FPS
    return clip, beats[(beats >= 0) & (beats < clip.duration_s)]


def train_pose_encoder(config: PoseEncoderTrainingConfig, output: Path | str) -> PoseEncoder:
    """Train an encoder, or resume a stopped run; write it as a ``pose_encoder`` checkpoint.

    Raises:
        DanceToMusicError: See ``PoseEncoderTask`` and ``run_training``.
    """
    run_training(lambda context: PoseEncoderTask(config, context), config, output)
    return PoseEncoder.from_pretrained(output)


TRAINING = TrainingEntry(PoseEncoderTrainingConfig, train_pose_encoder, ON_SET)
