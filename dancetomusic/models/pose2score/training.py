"""The training task of the composer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dancetomusic.models.pose2score.conditions import CONDITION, GUIDED
from dancetomusic.models.pose2score.events import FIELD, FIELDS, HARMONY, NEEDS, TICKS_PER_BEAT
from dancetomusic.models.pose2score.network import Composer, ComposerConfig
from dancetomusic.models.pose2score.training_data import (
    ComposerTrainingConfig,
    EventBatch,
    open_pieces,
)
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.score.style import style_names
from dancetomusic.training.dataset import mean_losses
from dancetomusic.training.loop import run_training
from dancetomusic.training.task import TrainingTask, scheduled_adamw

GROUPS = {
    "drums": [name for name in FIELDS if name.startswith("drum ")],
    "harmony": list(HARMONY),
    "chords": ["shape", "chord length", "chord velocity"],
    "bass": ["bass", "bass length", "bass velocity"],
    "lead": ["lead", "lead length", "lead velocity", "second voice"],
    "when": ["tracks", "offset", "next"],
}
"""Fields whose losses are shown together."""


class ComposerTask(TrainingTask):
    """Trains a ``Composer`` on pieces of the arranger.

    The pieces are kept in ``output``.

    Raises:
        CheckpointError: If the archive of held-out performances is unusable.
    """

    config: ComposerTrainingConfig

    def __init__(self, config: ComposerTrainingConfig, output: Path, device: torch.device) -> None:
        self.config, self.device = config, device
        self.model = Composer(
            ComposerConfig(
                style_names(),
                d_model=config.d_model,
                n_layers=config.n_layers,
                n_heads=config.n_heads,
                dropout=config.dropout,
                context=config.events,
            )
        ).to(device)
        self.data, self.held_out = open_pieces(config, output)
        self.modules = {"model": self.model}
        self.optimizers = {"model": scheduled_adamw(self.model.parameters(), config, (0.9, 0.98))}

    def losses(self, optimizer: str, batch: EventBatch, step: int) -> dict[str, Tensor]:
        """Cross-entropy an event of all fields, some samples without the guiding conditions."""
        conditions = batch.conditions.clone()
        free = torch.rand(len(conditions), device=conditions.device) < self.config.withheld
        for name in GUIDED:
            conditions[free, :, CONDITION[name]] = 0
        return self._losses(batch, conditions)

    def _losses(self, batch: EventBatch, conditions: Tensor) -> dict[str, Tensor]:
        hidden = self.model.hidden(batch.before, conditions, batch.ticks)
        logits = self.model.logits(hidden, batch.values)
        entropy = F.cross_entropy(
            logits.flatten(0, 2), batch.values.flatten(), reduction="none"
        ).view(batch.values.shape)
        learned = batch.present[..., None] & _learned(batch)
        each = (entropy * learned).sum((0, 1)) / batch.present.sum()
        terms = {
            group: each[[FIELD[name] for name in names]].sum() for group, names in GROUPS.items()
        }
        return {"total": each.sum(), **terms}

    def validate(self) -> dict[str, float]:
        """Nats an event on pieces of other seeds, with all conditions."""
        self.model.eval()
        with torch.no_grad():
            return mean_losses(
                lambda batch: self._losses(batch, batch.conditions),
                self.held_out,
                self.held_out.fixed_samples(32),
                8,
                self.device,
            )

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the composer."""
        self.model.save_pretrained(directory, metadata)


def _learned(batch: EventBatch) -> Tensor:
    """Fields that are not 0 by what was written before: drums of a track that rests, and so on."""
    learned = torch.ones_like(batch.values, dtype=torch.bool)
    tracks = batch.values[..., FIELD["tracks"]]
    for name, bit in NEEDS.items():
        learned[..., FIELD[name]] = (tracks & bit) > 0
    on_beat = batch.ticks % TICKS_PER_BEAT == 0
    for name in HARMONY:
        learned[..., FIELD[name]] = on_beat
    learned[..., FIELD["offset"]] = tracks > 1
    return learned


def train_composer(config: ComposerTrainingConfig, output: Path | str) -> None:
    """Train a composer, or resume a stopped run; write it as a ``pose2score`` checkpoint.

    Raises:
        DanceToMusicError: See ``ComposerTask`` and ``run_training``.
    """
    run_training(lambda context: ComposerTask(config, Path(output), context.device), config, output)


TRAINING = TrainingEntry(ComposerTrainingConfig, train_composer)
