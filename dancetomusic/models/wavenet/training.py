"""The training task of the WaveNet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dancetomusic.data.dance_sound import DanceSound
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.models.wavenet.generation import stream
from dancetomusic.models.wavenet.network import (
    PictureFront,
    WaveNet,
    beat_harmonics,
    history_frames,
    hold_frames,
)
from dancetomusic.models.wavenet.training_data import (
    DanceSoundCrops,
    SoundCrops,
    WaveNetTrainingConfig,
    movement_of,
    open_crops,
    require_length,
)
from dancetomusic.released import locate_checkpoint
from dancetomusic.training.dataset import mean_losses
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.logger import Logger
from dancetomusic.training.loop import LOG_FILE, run_training
from dancetomusic.training.losses import with_total
from dancetomusic.training.schedules import (
    cosine_rate,
    cyclic_rate,
    one_cycle_rate,
    range_test_rate,
    steepest_rate,
    step_rate,
)
from dancetomusic.training.task import ScheduledOptimizer, TrainingTask, scheduled_adamw
from dancetomusic.types import Waveform

LOGGED_S = 4.0
LOWEST_SHARE = 1e-4
"""Where a range test begins, as a share of ``learning_rate``."""


def crop_losses(
    model: WaveNet,
    batch: SoundCrops,
    n_steps: int,
    *,
    phase_weight: float = 1.0,
    kl_weight: float = 1.0,
    sounded: int | None = None,
) -> dict[str, Tensor]:
    """Nats a sample, errors of what is estimated of the movement, and ``total``.

    Args:
        model: The model.
        batch: Crops.
        n_steps: Steps of the condition in what is predicted.
        phase_weight: Of the phase within the total.
        kl_weight: Of the bottleneck's knowledge within the total.
        sounded: How many of the crops' sounds are predicted; all by default. The phase is
            estimated in all.
    """
    config = model.config
    terms: dict[str, Tensor] = {}
    movement = batch.movement
    if batch.signals.shape[1]:
        terms["signals"], movement = signal_error(model, batch)
    # The condition: movement features, held over each step, from the history on.
    read = model.read(movement, batch.seen)
    before = history_frames(config)
    some = slice(sounded)
    held = hold_frames(read[some], batch.first[some] - before, before + n_steps + 1)
    n_samples = n_steps * config.hop_length
    latent = None
    if model.posterior is not None:  # a variational bottleneck beside it: KL from N(0, 1)
        mean, log_variance = model.posterior(batch.reference[some])
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        terms["kl"] = kl_weight * kl.mean() / n_samples
    # Cross-entropy of the µ-law classes, each from those before it.
    gates = model.gates_of(held, batch.genre[some], latent)
    classes = batch.classes[some].long()
    logits = model(classes[:, :-1], gates)
    targets = classes[:, -n_samples:]
    terms["nats"] = functional.cross_entropy(logits.float(), targets)
    if model.reader is not None:  # squared error of the beat phase's harmonics
        known = batch.phase_known & batch.seen[:, None]
        error = (model.phase(read) - beat_harmonics(batch.phase)).square().mean(-1) * known
        terms["phase"] = phase_weight * error.sum() / known.sum().clamp(min=1)
    return with_total(terms)


def signal_error(model: WaveNet, batch: SoundCrops) -> tuple[Tensor, Tensor]:
    """Squared error of what is estimated of drawn pictures, and the estimates."""
    assert model.reader is not None and isinstance(model.reader.front, PictureFront)
    estimated = model.reader.front.signals(batch.movement)
    return (estimated - batch.signals).square().mean(), estimated


@torch.no_grad()
def take_weights(model: WaveNet, start: WaveNet) -> None:
    """Begin with trained weights: of each tensor of the same name, the corner that both have."""
    held = start.state_dict()
    for name, tensor in model.state_dict().items():
        source = held.get(name)
        if source is not None and source.ndim == tensor.ndim:
            corner = tuple(map(slice, map(min, zip(source.shape, tensor.shape, strict=True))))
            tensor[corner] = source[corner]


class WaveNetTask(TrainingTask):
    """Trains a ``WaveNet`` on crops of dances with their sound.

    What is rendered is kept in ``output``. ``sounds`` are learned from in place of
    ``config.source``, all but the last.

    Raises:
        InputError: If data is missing, malformed, silent or too short.
        CheckpointError: If there is no ``start_from``.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: WaveNetTrainingConfig
    data: DanceSoundCrops

    def __init__(
        self,
        config: WaveNetTrainingConfig,
        output: Path,
        context: DistributedContext,
        sounds: Sequence[DanceSound] | None = None,
    ) -> None:
        self.config, self.device = config, context.device
        if sounds is None:
            self.data, self.held_out = open_crops(config, output, context)
        else:
            self.data = DanceSoundCrops(config, sounds[:-1])
            self.held_out = [require_length(sounds[-1], config)]
        torch.manual_seed(config.seed)
        self.model = WaveNet(config.model)
        if config.start_from is not None:
            start = WaveNet.from_pretrained(locate_checkpoint(config.start_from))
            take_weights(self.model, start)
        self.model.to(self.device)
        self.modules = {"wavenet": self.model}
        self.optimizers = {"wavenet": scheduled_adamw(self.model.parameters(), config, (0.9, 0.98))}

    def rate(self, optimizer: ScheduledOptimizer, step: int, steps: int) -> float:
        """By the schedule that was chosen."""
        config, peak = self.config, optimizer.peak_rate
        if config.schedule == "one_cycle":
            return one_cycle_rate(peak, step, steps)
        if config.schedule == "step":
            return step_rate(peak, step, every=config.cycle_steps, factor=config.step_factor)
        if config.schedule == "cyclic":
            return cyclic_rate(0.1 * peak, peak, step, half_cycle=config.cycle_steps)
        if config.schedule == "range_test":
            return range_test_rate(LOWEST_SHARE * peak, peak, step, steps)
        return cosine_rate(peak, step, steps, config.warmup_steps)

    def losses(self, optimizer: str, batch: SoundCrops, step: int) -> dict[str, Tensor]:
        """Nats a sample, and the error of the beat phase."""
        if step < self.config.front_steps and batch.signals.shape[1]:
            return with_total({"signals": signal_error(self.model, batch)[0]})
        return self._losses(batch, self.config.sounded or None)

    def _losses(self, batch: SoundCrops, sounded: int | None = None) -> dict[str, Tensor]:
        config = self.config
        return crop_losses(
            self.model, batch, config.crop_steps, sounded=sounded,
            phase_weight=config.phase_weight, kl_weight=config.kl_weight,
        )  # fmt: skip

    def validate(self) -> dict[str, float]:
        """The same on held-out dances, with movement; ``loss`` is in nats a sample."""
        samples = [
            self.data.crop(
                self.held_out[n % len(self.held_out)], np.random.default_rng([0, n]), varied=False
            )
            for n in range(self.config.validation_crops)
        ]
        size = self.config.batch_size
        return mean_losses(self._losses, self.data, samples, size, self.device, loss="nats")

    def log_samples(self, logger: Logger, step: int) -> dict[str, float]:
        """Generate the first seconds of a held-out dance."""
        dance, rate = self.held_out[0], self.config.model.sample_rate
        seconds = min(LOGGED_S, dance.duration_s)
        blocks = stream(self.model, movement_of(self.config.model, dance), round(seconds * rate))
        sound = Waveform(np.concatenate(list(blocks))[None], rate)
        logger.audio("played", sound, dance.beat_times[dance.beat_times < seconds], step)
        return {}

    def write(self, directory: Path, metadata: dict[str, object]) -> None:
        """Write the model as a checkpoint of the family ``wavenet``."""
        dances = sorted({sound.name for sound in self.data.sounds})
        self.model.save_pretrained(directory, {"dances": dances, **metadata})


def train_wavenet(
    config: WaveNetTrainingConfig,
    output: Path | str,
    *,
    sounds: Sequence[DanceSound] | None = None,
) -> WaveNet:
    """Train a WaveNet, or resume a stopped run; write it as a ``wavenet`` checkpoint.

    Prints the length of its receptive field and, after a range test, the learning rate to try.

    ``sounds`` are learned from in place of ``config.source``, the last one held out.

    Raises:
        DanceToMusicError: See ``WaveNetTask`` and ``run_training``.
    """
    directory, model = Path(output), config.model
    print(
        f"receptive field {model.receptive_field_ms:.1f} ms"
        f" ({model.receptive_field} samples, {len(model.dilations)} layers)"
    )
    run_training(lambda context: WaveNetTask(config, directory, context, sounds), config, directory)
    if config.schedule == "range_test":
        lines = [json.loads(line) for line in (directory / LOG_FILE).read_text().splitlines()]
        steps = [line for line in lines if "validation" not in line]
        best = steepest_rate([s["rate"] for s in steps], [s["total"] for s in steps])
        print(f"the loss fell fastest at learning_rate {best:.2g}")
    return WaveNet.from_pretrained(directory)


TRAINING = TrainingEntry(WaveNetTrainingConfig, train_wavenet)
