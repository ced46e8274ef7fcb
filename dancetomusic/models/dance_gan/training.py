"""The training tasks of the dance generator: still poses, sequences on a beat, dances to music.

Wasserstein critics with a gradient penalty score what the generator makes of random noise. In the
two later stages, a reader also infers from real movement the noise that would make it, and the
generator reconstructs that movement.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dancetomusic.checkpoint import load_checkpoint, load_into
from dancetomusic.models.dance_gan.critic import (
    N_COORDINATES,
    MovementCritic,
    NoiseEncoder,
    PoseCritic,
    near_knots,
    show_movement,
    show_pose,
)
from dancetomusic.models.dance_gan.crops import (
    DanceBatch,
    DancedSong,
    DanceGanTrainingConfig,
    PoseBatch,
    PoseSamples,
    SongCrops,
    SongSamples,
    read_songs,
)
from dancetomusic.models.dance_gan.network import DanceGenerator, load_dance_gan
from dancetomusic.models.dance_gan.start import MIN_SEEN, start_linear
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.training.dataset import to_device
from dancetomusic.training.loop import run_training
from dancetomusic.training.losses import critic_losses, with_total
from dancetomusic.training.task import ScheduledOptimizer, TrainingTask, scheduled_adamw

READER_FOLDER = "reader"
STARTING_POSES, STARTING_CROPS = 4000, 480
"""Examples that the linear maps are fitted to with which a stage starts."""


class Music(NamedTuple):
    """Features of the music of a batch: at poses, and at knots, with the tempo there."""

    frames: Tensor
    shares: Tensor
    at_knots: Tensor
    tempo: Tensor


class DanceGanTask(TrainingTask):
    """What all stages share: a generator, from the stage before if there is one, and its critic.

    ``before`` is the run of the stage before; ``None`` for the first.

    Raises:
        CheckpointError: If the stage before left no generator of this shape.
    """

    config: DanceGanTrainingConfig
    data: SongSamples

    def __init__(
        self, config: DanceGanTrainingConfig, device: torch.device, before: Path | None
    ) -> None:
        self.config, self.device = config, device
        self.generator = DanceGenerator(config.model)
        if before is not None:
            known = load_dance_gan(before, stage=None).state_dict()
            self.generator.load_state_dict(self.generator.state_dict() | known)

    def set_up(self, critic: nn.Module, generator: ScheduledOptimizer, **others: nn.Module) -> None:
        """Move everything to the device; the critic is stepped before the generator."""
        self.modules = {"generator": self.generator, **others, "critic": critic}
        for module in self.modules.values():
            module.to(self.device)
        self.optimizers = {"critic": self.adam(critic), "generator": generator}

    def adam(self, module: nn.Module, every: int = 1) -> ScheduledOptimizer:
        """Adam at the critics' learning rate."""
        rate = self.config.critic_rate
        adam = torch.optim.Adam(module.parameters(), lr=rate, betas=(0.0, 0.9))
        return ScheduledOptimizer(adam, rate, every=every, clip_norm=self.config.clip_norm)

    @abstractmethod
    def losses(self, optimizer: str, batch: Any, step: int) -> dict[str, Tensor]:
        """See ``TrainingTask``."""

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the generator."""
        self.generator.save_pretrained(directory, metadata)


class StillPoseTask(DanceGanTask):
    """The first stage: the frame decoder alone makes poses from normal noise."""

    def __init__(
        self,
        config: DanceGanTrainingConfig,
        songs: Sequence[DancedSong],
        held_out: Sequence[DancedSong],
        device: torch.device,
    ) -> None:
        super().__init__(config, device, None)
        self.data, self.held_out = (PoseSamples(each, config) for each in (songs, held_out))
        self.generator.skeleton.measure(song.world for song in songs)
        poses = self.data.fixed_batch(STARTING_POSES, config.seed)
        self.generator.pose.start_from(poses.directions)
        self.critic = PoseCritic(config.model)
        self.set_up(self.critic, self.adam(self.generator.pose, every=config.critic_steps))

    def losses(self, optimizer: str, batch: PoseBatch, step: int) -> dict[str, Tensor]:
        """Losses of the critic, or minus its mean score."""
        latent = torch.randn(len(batch.directions), self.config.model.latent, device=self.device)
        generated = show_pose(self.generator.skeleton(self.generator.pose(latent)))
        if optimizer == "generator":
            return {"total": -self.critic(generated).mean()}
        real = show_pose(self.generator.skeleton(batch.directions))
        share = torch.rand(len(real), device=self.device)
        return _critic_losses(self.critic, real, generated, share, self.config.penalty_weight)

    def validate(self) -> dict[str, float]:
        """Difference in mean and spread from held-out poses, summed over joints."""
        directions = self.held_out.fixed_batch(512).directions.to(self.device)
        real = show_pose(self.generator.skeleton(directions))
        poses = self.generator.pose(torch.randn(512, self.config.model.latent, device=self.device))
        made = show_pose(self.generator.skeleton(poses))
        difference = (made.std(0) - real.std(0)).abs() + (made.mean(0) - real.mean(0)).abs()
        return {"loss": float(difference.sum() / N_COORDINATES)}


class DanceTask(DanceGanTask):
    """The second and third stage: sequences on a beat, and dances to music."""

    def __init__(
        self,
        config: DanceGanTrainingConfig,
        songs: Sequence[DancedSong],
        held_out: Sequence[DancedSong],
        before: Path,
        device: torch.device,
    ) -> None:
        super().__init__(config, device, before)
        self.data, self.held_out = (SongCrops(each, config) for each in (songs, held_out))
        self.reader = NoiseEncoder(config.model)
        if config.model.stage == "sequences":
            crops = self.data.fixed_batch(STARTING_CROPS, config.seed)
            start_linear(self.generator, self.reader, crops)
        else:
            held = load_checkpoint(before / READER_FOLDER, model=NoiseEncoder.MODEL)
            load_into(self.reader, held, before / READER_FOLDER)
        self.critic = MovementCritic(config.model)
        self.music_dropout = nn.Dropout(config.heard_dropout)
        weights = chain(self.generator.parameters(), self.reader.parameters())
        self.set_up(
            self.critic, scheduled_adamw(weights, config, (0.8, 0.99)),
            reader=self.reader, dropout=self.music_dropout,
        )  # fmt: skip

    def losses(self, optimizer: str, batch: DanceBatch, step: int) -> dict[str, Tensor]:
        """Losses of the critic, or of the generator with the reader."""
        config, clock = self.config, batch.count()
        sound, ticks = batch.bands.transpose(1, 2), clock.transpose(1, 2)
        with torch.no_grad():
            world = self.generator.skeleton(batch.directions)
            real = show_movement(world, batch.turning)
        if optimizer == "critic":
            with torch.no_grad():
                music = self._encode_audio(batch, clock)
                shape = (*music.tempo.shape, config.model.noise)
                chance = torch.randn(shape, device=real.device)
                prior = self.generator.choose_noise(music.at_knots, music.tempo, chance)
                generated = self._show(clock, music, prior.noise)
            share = torch.rand(len(real), device=real.device)
            return _critic_losses(
                lambda shown: self.critic(shown, sound, ticks),
                real, generated, share, config.penalty_weight,
            )  # fmt: skip
        adversarial = step % config.critic_steps == 0 and config.adversarial_weight > 0
        rebuilt, generated, kl = self._dance(batch, clock, real, generate=adversarial)
        terms = self._reconstruction(rebuilt, real) | {"noise": config.noise_weight * kl}
        if adversarial:
            score = self.critic(generated, sound, ticks).mean()
            terms["adversarial"] = -config.adversarial_weight * score
        return with_total(terms)

    def _encode_audio(self, batch: DanceBatch, clock: Float[Tensor, "batch frames clock"]) -> Music:
        features = self.generator.encode_audio(batch.bands)
        shares = batch.share()
        near = near_knots(torch.cat([features, clock[..., -1:]], dim=2), shares)
        return Music(features, shares, self.music_dropout(near[..., :-1]), near[..., -1])

    def _show(
        self,
        clock: Float[Tensor, "batch frames clock"],
        music: Music,
        noise: Float[Tensor, "_ knots noise"],
    ) -> Float[Tensor, "_ shown frames"]:
        """The dances of some noise; of twice as much noise, the second half to the same music."""
        times = len(noise) // len(clock)
        shares, clock, features = (
            value.repeat(times, 1, 1) for value in (music.shares, clock, music.frames)
        )
        movement, _ = self.generator(shares.transpose(1, 2) @ noise, clock, features)
        return show_movement(self.generator.skeleton(movement.directions), movement.turning)

    def _dance(
        self,
        batch: DanceBatch,
        clock: Float[Tensor, "batch frames clock"],
        real: Float[Tensor, "batch shown frames"],
        *,
        generate: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The crops reconstructed; other dances to their music, if ``generate``; the KL in nats."""
        # Posterior of the noise given the movement, and a sample of it.
        music = self._encode_audio(batch, clock)
        latent = self.generator.pose.read(batch.directions)
        mean, spread = self.reader(latent, real, batch.turning, clock, music.shares)
        chance = torch.randn_like(mean)
        inferred = mean + spread * torch.randn_like(spread)
        # Prior of each knot's noise given the music and the noise before it, which in training is
        # the posterior's sample at a random share of the knots.
        observed = torch.rand_like(music.tempo) < torch.rand_like(music.tempo[:, :1])
        prior = self.generator.choose_noise(
            music.at_knots,
            music.tempo,
            chance,
            given=inferred,
            forced=observed if self.generator.training else None,
        )
        # KL(posterior ‖ prior), two diagonal Gaussians, over the knots that frames depend on.
        distance = ((mean - prior.mean) / prior.spread).square()
        ratio = spread / prior.spread
        nats = (0.5 * (ratio.square() + distance - 1) - ratio.log()).sum(dim=2)
        used = (music.shares.sum(dim=2) > MIN_SEEN).float()
        kl = (nats * used).sum() / used.sum()
        if not generate:
            rebuilt = self._show(clock, music, inferred)
            return rebuilt, rebuilt, kl
        free = self.generator.choose_noise(music.at_knots, music.tempo, chance)
        both = self._show(clock, music, torch.cat([inferred, free.noise]))
        rebuilt, generated = both.chunk(2)
        return rebuilt, generated, kl

    def _reconstruction(
        self,
        rebuilt: Float[Tensor, "batch shown frames"],
        real: Float[Tensor, "batch shown frames"],
    ) -> dict[str, Tensor]:
        """Errors of positions, of their changes and of turning, and of each joint's energy."""
        error = (rebuilt - real).abs().mean(dim=(0, 2))
        positions, changes, turning = error.split([N_COORDINATES, N_COORDINATES, 1])
        energies = [
            value[:, N_COORDINATES:].square().mean(dim=2).add(1e-2).log()
            for value in (rebuilt, real)
        ]
        return {
            "places": positions.mean(),
            "changes": changes.mean(),
            "turning": turning.mean(),
            "energy": self.config.energy_weight * (energies[0] - energies[1]).abs().mean(),
        }

    def validate(self) -> dict[str, float]:
        """How well held-out dances are reconstructed, and the KL divergence of their noise."""
        batch = to_device(self.held_out.fixed_batch(self.config.validation_crops), self.device)
        real = show_movement(self.generator.skeleton(batch.directions), batch.turning)
        rebuilt, generated, kl = self._dance(batch, batch.count(), real, generate=True)
        terms = {n: float(value) for n, value in self._reconstruction(rebuilt, real).items()}
        terms["nats"] = float(kl)
        changes = slice(N_COORDINATES, 2 * N_COORDINATES)
        for name, value in (("again", rebuilt), ("made", generated)):
            power = value[:, changes].square().mean() / real[:, changes].square().mean()
            terms[f"energy_{name}"] = float(power)
        return {"loss": terms["places"] + terms["changes"], **terms}

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the generator, and the reader for the next stage."""
        super().write(directory, metadata)
        self.reader.save_pretrained(directory / READER_FOLDER, metadata)


def _critic_losses(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    generated: Tensor,
    share: Tensor,
    penalty_weight: float,
) -> dict[str, Tensor]:
    losses = critic_losses(critic, real, generated, share, penalty_weight)
    penalty = losses.pop("gradient_penalty")
    return {**losses, "penalty": penalty_weight * penalty}


def train_dance_gan(config: DanceGanTrainingConfig, output: Path | str) -> DanceGenerator:
    """Train a generator up to ``config.model.stage``; each stage resumes where it was stopped.

    Stages before the last are in ``poses`` and ``sequences`` of ``output``.

    Raises:
        InputError: If data is missing or malformed.
        DanceToMusicError: See ``DanceGanTask`` and ``run_training``.
    """
    songs = read_songs(config.data, "train", config.qualities)
    held_out = read_songs(config.data, "val", ("A", "B"))
    last, directory = config.model.stage, Path(output)

    def stage(
        name: Literal["poses", "sequences"], **changes: Any
    ) -> tuple[DanceGanTrainingConfig, Path]:
        settings = replace(config, model=replace(config.model, stage=name), **changes)
        return settings, directory if name == last else directory / name

    def train_dance(settings: DanceGanTrainingConfig, before: Path, folder: Path) -> None:
        run_training(
            lambda context: DanceTask(settings, songs, held_out, before, context.device),
            settings,
            folder,
        )

    poses, first = stage(
        "poses", max_steps=config.pose_steps, batch_size=config.pose_batch, epochs=None
    )
    run_training(
        lambda context: StillPoseTask(poses, songs, held_out, context.device), poses, first
    )
    if last != "poses":
        sequences, second = stage("sequences", max_steps=config.sequence_steps, epochs=None)
        train_dance(sequences, first, second)
        if last == "music":
            train_dance(config, second, directory)
    return load_dance_gan(directory, stage=last)


TRAINING = TrainingEntry(DanceGanTrainingConfig, train_dance_gan)
