"""What is particular to one model in training: its data, losses, validation and checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import TrainingSet
from dancetomusic.training.logger import Logger
from dancetomusic.training.schedules import cosine_rate


@dataclass(frozen=True)
class ScheduledOptimizer:
    """An optimiser, its learning rate and the steps at which it moves its weights.

    Attributes:
        optimizer: The loop sets its learning rate, times ``scale`` where a parameter group has
            one.
        peak_rate: The highest learning rate of its schedule.
        every: It moves its weights at every ``every``-th step.
        clip_norm: Largest norm of their gradient; 0 for any.
    """

    optimizer: torch.optim.Optimizer
    peak_rate: float
    every: int = 1
    clip_norm: float = 1.0

    @property
    def weights(self) -> list[nn.Parameter]:
        """All of them, in the optimiser's order."""
        return [weight for part in self.optimizer.param_groups for weight in part["params"]]


def scheduled_adamw(
    weights: Iterable[nn.Parameter] | list[dict[str, Any]],
    config: LoopConfig,
    betas: tuple[float, float] = (0.9, 0.999),
    **changes: Any,
) -> ScheduledOptimizer:
    """AdamW with the learning rate, weight decay and largest gradient norm of the settings.

    ``changes`` are further attributes of ``ScheduledOptimizer``.
    """
    rate = config.learning_rate
    adamw = torch.optim.AdamW(weights, lr=rate, betas=betas, weight_decay=config.weight_decay)
    return ScheduledOptimizer(adamw, rate, **{"clip_norm": config.clip_norm, **changes})


class TrainingTask(ABC):
    """What is particular to one model; ``run_training`` does the rest.

    A task reads its data when it is made, and refuses bad data then, before any step.

    Attributes:
        config: Its settings.
        data: What it learns from.
        modules: What changes in training, by name. The loop ignores what is frozen.
        optimizers: Stepped one after the other at each step.
        notes: What a person should know of how it begins, one line each; printed at the start.
    """

    config: LoopConfig
    data: TrainingSet
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, ScheduledOptimizer]
    notes: Sequence[str] = ()

    @abstractmethod
    def losses(self, optimizer: str, batch: Any, step: int) -> dict[str, Tensor]:
        """The losses of one optimiser, as means over the batch, which is on the device.

        ``total`` is minimised, all other entries are logged.
        """

    def weight(self, batch: Any) -> float:
        """Weight of the means over this batch among other batches of the same step."""
        return 1.0

    def rate(self, optimizer: ScheduledOptimizer, step: int, steps: int) -> float:
        """Learning rate at a step of all ``steps``: warm-up, and a cosine to 0."""
        return cosine_rate(optimizer.peak_rate, step, steps, self.config.warmup_steps)

    def begin(self, step: int) -> None:
        """Called before each step."""
        return

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data, the lower ``loss`` the better; always on the same samples.

        Without a ``loss`` the last weights count as the best.
        """
        return {}

    def log_samples(self, logger: Logger, step: int) -> dict[str, float]:
        """Log sounds and pictures of what the model makes; gives metrics of them.

        Called after ``validate``, if anything is logged.
        """
        return {}

    @abstractmethod
    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the checkpoint."""
