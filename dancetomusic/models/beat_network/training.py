"""The training task of the beat network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dancetomusic.checkpoint import load_checkpoint, load_into
from dancetomusic.models.beat_network.network import BeatNetwork
from dancetomusic.models.beat_network.training_data import (
    BeatBatch,
    BeatNetworkTrainingConfig,
    RecordingCrops,
)
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.training.dataset import mean_losses
from dancetomusic.training.loop import run_training
from dancetomusic.training.task import TrainingTask, scheduled_adamw

VALIDATION_CROPS, VALIDATION_BATCH = 64, 16


class BeatNetworkTask(TrainingTask):
    """Trains a ``BeatNetwork`` on crops of recordings.

    Raises:
        InputError: If data is missing or malformed, or a file has no sound.
        CheckpointError: If ``start_from`` holds no network of this shape.
    """

    config: BeatNetworkTrainingConfig
    data: RecordingCrops

    def __init__(self, config: BeatNetworkTrainingConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.network = BeatNetwork(config.model)
        if config.start_from is not None:
            held = load_checkpoint(config.start_from, model=BeatNetwork.MODEL)
            load_into(self.network, held, config.start_from)
        self.network.to(device)
        self.modules = {"network": self.network}
        self.optimizers = {
            "network": scheduled_adamw(self.network.parameters(), config, (0.9, 0.98))
        }
        self.data = RecordingCrops(config)

    def losses(self, optimizer: str, batch: BeatBatch, step: int) -> dict[str, Tensor]:
        """Binary cross-entropy of beats and of downbeats."""
        entropy = functional.binary_cross_entropy_with_logits(
            self.network(batch.levels), batch.targets, reduction="none"
        )
        sums = (entropy * batch.weights).sum(dim=(0, 2))
        beat, downbeat = sums / batch.weights.sum(dim=(0, 2)).clamp(min=1.0)
        total = beat + self.config.downbeat_weight * downbeat
        return {"total": total, "beat": beat, "downbeat": downbeat}

    def validate(self) -> dict[str, float]:
        """The same losses on held-out recordings."""
        samples = self.data.held_out_samples(VALIDATION_CROPS)
        losses = partial(self.losses, "network", step=0)
        return mean_losses(losses, self.data, samples, VALIDATION_BATCH, self.device)

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the network."""
        self.network.save_pretrained(directory, metadata)


def train_beat_network(config: BeatNetworkTrainingConfig, output: Path) -> None:
    """Train the network, or resume a stopped run; see ``run_training``."""
    run_training(lambda context: BeatNetworkTask(config, context.device), config, output)


TRAINING = TrainingEntry(BeatNetworkTrainingConfig, train_beat_network)
