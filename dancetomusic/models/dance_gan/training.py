"""The recipes of the dance generator: still poses, sequences on a beat, dances to music.

Wasserstein critics with a gradient penalty judge what is drawn by chance; beside them, in the two
later stages, a reader of real movement says what noise would have made it, and the generator is
to make that movement again.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dancetomusic.checkpoint import load_checkpoint, load_into, save_checkpoint
from dancetomusic.config import config_to_dict
from dancetomusic.errors import ConfigError
from dancetomusic.models.dance_gan.critic import (
    N_COORDINATES,
    MovementCritic,
    MovementReader,
    PoseCritic,
    gradient_penalty,
    near_knots,
    show_movement,
    show_pose,
)
from dancetomusic.models.dance_gan.crops import (
    DanceBatch,
    DancedSong,
    PoseBatch,
    Songs,
    cut_crops,
    cut_poses,
    read_songs,
)
from dancetomusic.models.dance_gan.network import (
    DanceGanConfig,
    DanceGenerator,
    load_dance_gan,
)
from dancetomusic.models.dance_gan.start import MIN_SEEN, start_linear
from dancetomusic.models.registry import TrainingTask
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.distributed import World
from dancetomusic.training.loop import Group, LoopConfig, Recipe, run_recipe

READER = "dance_gan_reader"
READER_FOLDER = "reader"
STARTING_POSES, STARTING_CROPS = 4000, 480
"""Examples from which linear maps are fitted that a stage begins with."""


@dataclass(frozen=True)
class DanceGanTrainingConfig(LoopConfig):
    """How the dance generator is trained: ``max_steps`` are those of the last stage."""

    model: DanceGanConfig = field(default_factory=DanceGanConfig)
    data: str = ""
    """Folder of the dances (``data/tang2018.py``), with their music."""
    qualities: tuple[str, ...] = ("A", "B", "C")
    pose_steps: int = 2000
    """Of the first stage."""
    pose_batch: int = 256
    sequence_steps: int = 1000
    """Of the second stage."""
    critic_steps: int = 3
    """Steps of the critic for each at which the generator heeds it. In the two later stages the
    generator moves at every step nonetheless, to make real movement again."""
    critic_rate: float = 3e-4
    """Peak learning rate of the critics."""
    penalty_weight: float = 10.0
    """Of the critics' gradient penalty."""
    adversarial_weight: float = 0.01
    """Of what a critic says, beside making real movement again."""
    noise_weight: float = 0.002
    """Of how far the noise that is read is from what would be drawn, in nats a knot."""
    energy_weight: float = 0.1
    """Of the log-ratio of each joint's energy to the true one."""
    crop_frames: int = 120
    min_speed: float = 0.75
    """Dances and their music are played this much slower at most."""
    max_speed: float = 1.35
    mirror_share: float = 0.5
    heard_dropout: float = 0.2
    """Share of what is heard that is left out where noise is chosen: the songs are few."""
    validation_crops: int = 32
    max_steps: int = 1500
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    ema_decay: float = 0.995
    keep_best: bool = False
    """The last weights are kept: choosing them on ``val`` would flatter scores on ``val``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise ConfigError("no data is named", "Give data: a folder of dances.")
        counts = (self.pose_steps, self.pose_batch, self.sequence_steps, self.critic_steps)
        if min(*counts, self.validation_crops) < 1 or self.crop_frames < 2**4:
            raise ConfigError("a count is too small", "Give at least 1, and 16 crop_frames.")
        if not 0 < self.min_speed <= self.max_speed or not 0 <= self.mirror_share <= 1:
            raise ConfigError("speeds or mirror_share are out of range", "Give 0 < min ≤ max.")
        weights = (self.penalty_weight, self.adversarial_weight, self.noise_weight,
                   self.energy_weight)  # fmt: skip
        if not min(weights) >= 0 or not 0 <= self.heard_dropout < 1 or not self.critic_rate > 0:
            raise ConfigError("a weight or rate is out of range", "Give 0 or more.")


class Heard(NamedTuple):
    """What is heard in a batch: at poses, and at knots, with the tempo there."""

    frames: Tensor
    shares: Tensor
    at_knots: Tensor
    tempo: Tensor


class DanceGanRecipe(Recipe):
    """What all stages share: songs, a body, and a generator that goes on from a stage before.

    Args:
        config: The settings of this stage.
        songs: To learn from, and held-out ones.
        before: Run of the stage before; ``None`` to begin.
        device: Where it is trained.

    Raises:
        CheckpointError: If the stage before left no generator of this shape.
    """

    config: DanceGanTrainingConfig

    def __init__(
        self,
        config: DanceGanTrainingConfig,
        songs: Songs,
        before: Path | None,
        device: torch.device,
    ) -> None:
        self.config, self.device = config, device
        self.songs, self.held_out = songs
        self.generator = DanceGenerator(config.model)
        if before is None:
            self.generator.skeleton.measure(song.world for song in self.songs)
            rngs = [np.random.default_rng([config.seed, n]) for n in range(STARTING_POSES)]
            self.generator.pose.start_from(cut_poses(self.songs, rngs).directions)
        else:
            known = load_dance_gan(before, stage=None).state_dict()
            own = self.generator.state_dict()
            self.generator.load_state_dict(own | known)
        self.data_hash = hash_arrays(
            array for song in self.songs for array in (song.world, song.beat_times, song.bands)
        )
        frames = sum(len(song.world) for song in self.songs)
        self.epoch_size = max(1, frames // config.crop_frames)

    def move(self) -> None:
        """Put all modules on the device; what they begin with is found on the CPU."""
        for module in self.modules.values():
            module.to(self.device)

    def critic_group(self, critic: nn.Module) -> Group:
        """The critic's optimiser."""
        rate = self.config.critic_rate
        optimizer = torch.optim.Adam(critic.parameters(), lr=rate, betas=(0.0, 0.9))
        return Group(optimizer, rate, clip_norm=self.config.clip_norm)

    @abstractmethod
    def losses(self, group: str, batch: Any, step: int) -> dict[str, Tensor]:
        """See ``Recipe``."""

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the generator."""
        self.generator.save_pretrained(directory, metadata)


class StillPoseRecipe(DanceGanRecipe):
    """The first stage: the frame decoder alone makes poses from normal noise."""

    def __init__(self, config: DanceGanTrainingConfig, songs: Songs, device: torch.device) -> None:
        super().__init__(config, songs, None, device)
        self.critic = PoseCritic(config.model)
        made = self.generator.pose
        optimizer = torch.optim.Adam(made.parameters(), lr=config.critic_rate, betas=(0.0, 0.9))
        self.modules = {"generator": self.generator, "critic": self.critic}
        self.move()
        self.groups = {
            "critic": self.critic_group(self.critic),
            "generator": Group(
                optimizer, config.critic_rate, every=config.critic_steps, clip_norm=config.clip_norm
            ),
        }

    def batch(self, step: int, places: range) -> PoseBatch:
        """Poses at random moments of random dances."""
        return cut_poses(self.songs, [self.rng(step, place) for place in places])

    def losses(self, group: str, batch: PoseBatch, step: int) -> dict[str, Tensor]:
        """Wasserstein distance as the critic sees it, or what it says of the generator."""
        latent = torch.randn(len(batch.directions), self.config.model.latent, device=self.device)
        made = show_pose(self.generator.skeleton(self.generator.pose(latent)))
        if group == "generator":
            return {"total": -self.critic(made).mean()}
        real = show_pose(self.generator.skeleton(batch.directions))
        share = torch.rand(len(real), device=self.device)
        return _critic_terms(self.critic, real, made.detach(), share, self.config.penalty_weight)

    def validate(self) -> dict[str, float]:
        """How the spread of made poses differs from that of held-out ones, joint by joint."""
        rngs = [np.random.default_rng([0, place]) for place in range(512)]
        held_out = cut_poses(self.held_out, rngs).directions.to(self.device)
        real = show_pose(self.generator.skeleton(held_out))
        made = self.generator.pose(torch.randn(512, self.config.model.latent, device=self.device))
        made = show_pose(self.generator.skeleton(made))
        apart = (made.std(0) - real.std(0)).abs() + (made.mean(0) - real.mean(0)).abs()
        return {"loss": float(apart.sum() / N_COORDINATES)}


class DanceRecipe(DanceGanRecipe):
    """The second and third stage: sequences on a beat, and dances to music."""

    def __init__(
        self, config: DanceGanTrainingConfig, songs: Songs, before: Path, device: torch.device
    ) -> None:
        super().__init__(config, songs, before, device)
        self.reader = MovementReader(config.model)
        if config.model.stage == "sequences":
            rngs = [np.random.default_rng([config.seed, n]) for n in range(STARTING_CROPS)]
            start_linear(self.generator, self.reader, self.cut(self.songs, rngs))
        else:
            held = load_checkpoint(before / READER_FOLDER, model=READER)
            load_into(self.reader, held, before / READER_FOLDER)
        self.critic = MovementCritic(config.model)
        self.heard_dropout = nn.Dropout(config.heard_dropout)
        made = chain(self.generator.parameters(), self.reader.parameters())
        optimizer = torch.optim.AdamW(
            made, lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=config.weight_decay
        )
        self.modules = {
            "generator": self.generator,
            "reader": self.reader,
            "critic": self.critic,
            "dropout": self.heard_dropout,
        }
        self.move()
        self.groups = {
            "critic": self.critic_group(self.critic),
            "generator": Group(optimizer, config.learning_rate, clip_norm=config.clip_norm),
        }

    def batch(self, step: int, places: range) -> DanceBatch:
        """Crops of five seconds."""
        return self.cut(self.songs, [self.rng(step, place) for place in places])

    def cut(self, songs: list[DancedSong], rngs: list[np.random.Generator]) -> DanceBatch:
        """A crop for each generator of numbers."""
        config = self.config
        return cut_crops(
            songs,
            rngs,
            n_frames=config.crop_frames,
            speeds=(config.min_speed, config.max_speed),
            mirror_share=config.mirror_share,
        )

    def losses(self, group: str, batch: DanceBatch, step: int) -> dict[str, Tensor]:
        """What the critic, or the generator with the reader, is to lower."""
        counted = batch.count()
        sound, ticks = batch.bands.transpose(1, 2), counted.transpose(1, 2)
        with torch.no_grad():
            world = self.generator.skeleton(batch.directions)
            real = show_movement(world, batch.turning)
        if group == "critic":
            with torch.no_grad():
                music = self._listen(batch, counted)
                shape = (*music.tempo.shape, self.config.model.noise)
                chance = torch.randn(shape, device=real.device)
                drawn = self.generator.choose_noise(music.at_knots, music.tempo, chance)
                made = self._show(counted, music, drawn.noise)
            share = torch.rand(len(real), device=real.device)
            return _critic_terms(
                lambda shown: self.critic(shown, sound, ticks),
                real, made, share, self.config.penalty_weight,
            )  # fmt: skip
        heeds = step % self.config.critic_steps == 0 and self.config.adversarial_weight > 0
        again, made, apart = self._dance(batch, counted, real, anew=heeds)
        terms = self._likeness(again, real) | {"noise": self.config.noise_weight * apart}
        if heeds:
            verdict = self.critic(made, sound, ticks).mean()
            terms["adversarial"] = -self.config.adversarial_weight * verdict
        return {"total": torch.stack(list(terms.values())).sum(), **terms}

    def _listen(self, batch: DanceBatch, counted: Float[Tensor, "batch frames clock"]) -> Heard:
        heard = self.generator.listen(batch.bands)
        shares = batch.share()
        near = near_knots(torch.cat([heard, counted[..., -1:]], dim=2), shares)
        return Heard(heard, shares, self.heard_dropout(near[..., :-1]), near[..., -1])

    def _show(
        self,
        counted: Float[Tensor, "batch frames clock"],
        music: Heard,
        noise: Float[Tensor, "_ knots noise"],
    ) -> Float[Tensor, "_ shown frames"]:
        """The dances of some noise; of twice as much noise, the second half to the same music."""
        times = len(noise) // len(counted)
        shares, counted, heard = (
            value.repeat(times, 1, 1) for value in (music.shares, counted, music.frames)
        )
        movement, _ = self.generator(shares.transpose(1, 2) @ noise, counted, heard)
        return show_movement(self.generator.skeleton(movement.directions), movement.turning)

    def _dance(
        self,
        batch: DanceBatch,
        counted: Float[Tensor, "batch frames clock"],
        real: Float[Tensor, "batch shown frames"],
        *,
        anew: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The crops danced again, and ``anew``, and how far read noise is from drawn, in nats."""
        music = self._listen(batch, counted)
        latent = self.generator.pose.read(batch.directions)
        mean, spread = self.reader(latent, real, batch.turning, counted, music.shares)
        chance = torch.randn_like(mean)
        read = mean + spread * torch.randn_like(spread)
        heeded = torch.rand_like(music.tempo) < torch.rand_like(music.tempo[:, :1])
        expected = self.generator.choose_noise(
            music.at_knots,
            music.tempo,
            chance,
            given=read,
            heeded=heeded if self.generator.training else None,
        )
        off = ((mean - expected.mean) / expected.spread).square()
        ratio = spread / expected.spread
        nats = (0.5 * (ratio.square() + off - 1) - ratio.log()).sum(dim=2)
        used = (music.shares.sum(dim=2) > MIN_SEEN).float()
        apart = (nats * used).sum() / used.sum()
        if not anew:
            again = self._show(counted, music, read)
            return again, again, apart
        drawn = self.generator.choose_noise(music.at_knots, music.tempo, chance)
        again, made = self._show(counted, music, torch.cat([read, drawn.noise])).chunk(2)
        return again, made, apart

    def _likeness(
        self, again: Float[Tensor, "batch shown frames"], real: Float[Tensor, "batch shown frames"]
    ) -> dict[str, Tensor]:
        """Distances in place, in change and turning, and of the energy of every joint."""
        apart = (again - real).abs().mean(dim=(0, 2))
        places, changes, turning = apart.split([N_COORDINATES, N_COORDINATES, 1])
        energies = [
            value[:, N_COORDINATES:].square().mean(dim=2).add(1e-2).log() for value in (again, real)
        ]
        return {
            "places": places.mean(),
            "changes": changes.mean(),
            "turning": turning.mean(),
            "energy": self.config.energy_weight * (energies[0] - energies[1]).abs().mean(),
        }

    def validate(self) -> dict[str, float]:
        """How well held-out dances are danced again, and how their noise could be foretold."""
        rngs = [np.random.default_rng([0, n]) for n in range(self.config.validation_crops)]
        batch = self.cut(self.held_out, rngs)
        batch = DanceBatch(*(value.to(self.device) for value in vars(batch).values()))
        counted = batch.count()
        real = show_movement(self.generator.skeleton(batch.directions), batch.turning)
        again, made, apart = self._dance(batch, counted, real, anew=True)
        terms = {name: float(value) for name, value in self._likeness(again, real).items()}
        terms["nats"] = float(apart)
        changes = slice(N_COORDINATES, 2 * N_COORDINATES)
        for name, value in (("again", again), ("made", made)):
            power = value[:, changes].square().mean() / real[:, changes].square().mean()
            terms[f"energy_{name}"] = float(power)
        return {"loss": terms["places"] + terms["changes"], **terms}

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the generator, and the reader for a stage to come."""
        super().write(directory, metadata)
        save_checkpoint(
            directory / READER_FOLDER,
            model=READER,
            config=config_to_dict(self.config.model),
            tensors=self.reader.state_dict(),
            metadata=metadata,
        )


def _critic_terms(
    critic: Any, real: Tensor, made: Tensor, share: Tensor, penalty_weight: float
) -> dict[str, Tensor]:
    """What a critic is to lower, and the Wasserstein distance that it sees."""
    distance = critic(real).mean() - critic(made).mean()
    penalty = penalty_weight * gradient_penalty(critic, real, made, share)
    return {"total": penalty - distance, "distance": distance, "penalty": penalty}


def train_dance_gan(config: DanceGanTrainingConfig, output: Path | str) -> DanceGenerator:
    """Train a generator up to ``config.model.stage``; each stage goes on where it was stopped.

    Stages before the last are in ``poses`` and ``sequences`` of ``output``.

    Raises:
        InputError: If data is missing or malformed.
        DanceToMusicError: See ``DanceGanRecipe`` and ``run_recipe``.
    """
    directory = Path(output)
    songs = Songs(
        read_songs(config.data, "train", config.qualities),
        read_songs(config.data, "val", ("A", "B")),
    )
    last = config.model.stage
    first = directory if last == "poses" else directory / "poses"
    still = replace(
        config,
        model=replace(config.model, stage="poses"),
        max_steps=config.pose_steps,
        batch_size=config.pose_batch,
        epochs=None,
    )
    run_recipe(lambda world: StillPoseRecipe(still, songs, world.device), still, first)
    if last != "poses":
        second = directory if last == "sequences" else directory / "sequences"
        moving = replace(
            config,
            model=replace(config.model, stage="sequences"),
            max_steps=config.sequence_steps,
            epochs=None,
        )
        _train_dance(moving, songs, first, second)
        if last == "music":
            _train_dance(config, songs, second, directory)
    return load_dance_gan(directory, stage=last)


def _train_dance(config: DanceGanTrainingConfig, songs: Songs, before: Path, output: Path) -> None:
    def make(world: World) -> Recipe:
        return DanceRecipe(config, songs, before, world.device)

    run_recipe(make, config, output)


TASK = TrainingTask(DanceGanTrainingConfig, train_dance_gan)
