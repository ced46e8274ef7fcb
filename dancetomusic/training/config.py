"""The settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass

from dancetomusic.config import check_ranges
from dancetomusic.errors import ConfigError


@dataclass(frozen=True)
class LoopConfig:
    """What every training task has; each sets its own defaults and adds its own keys.

    Raises:
        ConfigError: If a value is out of range.
    """

    max_steps: int = 1000
    """Optimiser steps."""
    epochs: int | None = None
    """Passes over the data, in place of ``max_steps``."""
    batch_size: int = 8
    """Samples that each process takes at once."""
    accumulate: int = 1
    """Batches whose gradients make one step: as good as a larger batch, in less memory."""
    learning_rate: float = 1e-3
    """The peak of warm-up and cosine."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 for any."""
    ema_decay: float = 0.0
    """Of averaged weights, which are then validated and written; 0 for none."""
    bf16: bool | None = None
    """Compute in bfloat16 where that is safe; by default on a GPU alone."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int = 1
    """Processor threads of each process."""
    num_workers: int = 1
    """Processes that make batches ahead of the step; 0 to make them between steps. The batches
    are the same; a set of clips, which is read in order, is read by one worker at most."""
    log_every: int = 50
    """Steps between lines of the log."""
    validate_every: int = 250
    """Steps between validations, each of which may write the checkpoint."""
    save_every: int = 250
    """Steps between resume files."""
    patience: int = 0
    """Validations without a lower loss after which training stops; 0 for never."""
    keep_best: bool = True
    """Write a checkpoint only where the validation loss is the lowest so far."""
    tensorboard: bool = True
    """Write event files for TensorBoard into the run's directory."""
    wandb: bool = False
    """Send curves, sounds and pictures to Weights & Biases, too, if it is installed."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            counts="max_steps batch_size accumulate threads log_every validate_every save_every",
            positive="learning_rate",
            weights="warmup_steps weight_decay clip_norm patience seed num_workers",
        )
        if self.epochs is not None:
            check_ranges(self, counts="epochs")
        if self.seed >= 2**64:  # more than torch takes
            raise ConfigError(f"seed is {self.seed}", f"Give 0 to {2**64 - 1}.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}", "Give a share in [0, 1).")
