"""Music in, dance out: a generator of poses, of sequences of them, and of dances to music.

Noise is drawn at every beat and joined linearly between; a recurrent cell reads the
music, counts its beats and follows the noise; a frame decoder makes a pose of each of its
states. Where the noise comes from is learned, too: what follows from what, and to which music.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.models.dance_gan.audio_windows import DESIGNS
from dancetomusic.models.dance_gan.mel import N_BANDS
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.nn.residual import residual_stack
from dancetomusic.pose.skeleton import N_DIRECTIONS, Skeleton

BEATS_PER_KNOT = 1
CLOCK_BEATS = (1, 2, 3, 4)
"""Periods that are counted: the beat, and bars of two, three and four. The generator is
not conditioned on where bars begin, so that a song whose downbeats are unknown can be danced to."""

N_CLOCK = 2 * len(CLOCK_BEATS) + 1
TURN_SCALE = 2.0
"""Radians a second that a unit of the turning output stands for."""

FRAMES_PER_STATE = 2
"""Frames that the recurrent cell says at once: it runs at 12 Hz."""

MIN_SPREAD = 0.05
MAX_NOISE = 3.0
"""Noise stays within it: it is about of unit variance, and a dance may be of any length."""

SOUND_MIDDLE, SOUND_SPREAD = 0.6, 0.2
"""Of ``mel_levels``'s levels of music, about."""


@dataclass(frozen=True)
class DanceGanConfig:
    """Shape of a dance generator.

    Attributes:
        stage: How far it is trained: still ``poses``, ``sequences`` on a beat, or ``music``.
        windows: Design of the audio encoder: ``plain``, ``wavegan`` or ``unet``.
        latent: Numbers that say a still pose.
        noise: Random numbers drawn at every beat.
        width: Of the frame decoder's layers.
        depth: Residual layers of the frame decoder.
        hidden: State of the recurrent cell.
        heard: Numbers that the audio encoder gives for each pose.
        choosing: State of the cell that says what noise may follow.
    """

    stage: Literal["poses", "sequences", "music"] = "music"
    windows: Literal["plain", "wavegan", "unet"] = "plain"
    latent: int = 40
    noise: int = 40
    width: int = 128
    depth: int = 2
    hidden: int = 160
    heard: int = 24
    choosing: int = 64

    def __post_init__(self) -> None:
        sizes = self.latent, self.noise, self.width, self.hidden, self.heard, self.choosing
        if min(sizes) < 1 or self.depth < 0:
            raise ConfigError("a size of the generator is below 1", "Give positive sizes.")


class Movement(NamedTuple):
    """Poses of bodies that face the camera, and how fast these turn."""

    directions: Float[Tensor, "batch frames 24 3"]
    turning: Float[Tensor, "batch frames"]


class DrawnNoise(NamedTuple):
    """Noise at knots, and the distributions that it was drawn from."""

    noise: Float[Tensor, "batch knots noise"]
    mean: Float[Tensor, "batch knots noise"]
    spread: Float[Tensor, "batch knots noise"]


def clock(beats: Float[Tensor, "batch frames"], fps: float) -> Float[Tensor, "batch frames clock"]:
    """Cosine and sine of the position in each of ``CLOCK_BEATS``, and octaves above 100 BPM."""
    angles = [2 * torch.pi * beats / period for period in CLOCK_BEATS]
    waves = [wave for angle in angles for wave in (angle.cos(), angle.sin())]
    rate = torch.diff(beats, dim=1, append=2 * beats[:, -1:] - beats[:, -2:-1])
    return torch.stack([*waves, (rate * fps * 0.6).clamp(min=0.1).log2()], dim=-1).float()


def knot_shares(
    beats: Float[Tensor, "batch frames"], n_knots: int
) -> Float[Tensor, "batch knots frames"]:
    """How much each knot's noise counts at each frame: linear between knots.

    Knot ``k`` is at beat ``BEATS_PER_KNOT · k``; the shares of a frame between knots sum to 1.
    """
    position = (beats / BEATS_PER_KNOT)[:, None]
    knots = torch.arange(n_knots, device=beats.device, dtype=beats.dtype)[:, None]
    return (1 - (position - knots).abs()).clamp(min=0).float()


def swings(
    values: Float[Tensor, "batch frames values"], counted: Float[Tensor, "batch frames clock"]
) -> Float[Tensor, "batch frames products"]:
    """Values as they are, and times each wave of the clock: what swings with the beat."""
    waves = torch.cat([torch.ones_like(counted[..., :1]), counted[..., :-1]], dim=-1)
    return (values[..., None] * waves[..., None, :]).flatten(-2)


class PoseGenerator(nn.Module):
    """Residual fully connected layers from numbers to the directions of a pose.

    They are added to a linear map, which begins as the principal components of real poses, so
    that normal numbers give a pose from the first step on.
    """

    def __init__(self, config: DanceGanConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.latent, N_DIRECTIONS * 3)
        self.layers = residual_stack(config.latent, config.width, config.depth, N_DIRECTIONS * 3)
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def start_from(self, directions: Float[Tensor, "poses 24 3"]) -> None:
        """Begin with the mean and the principal components of poses."""
        rows = directions.flatten(1)
        mean = rows.mean(dim=0)
        _, sizes, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        n = min(self.linear.in_features, len(sizes))
        self.linear.bias.copy_(mean)
        self.linear.weight.zero_()
        self.linear.weight[:, :n] = (axes[:n] * sizes[:n, None] / math.sqrt(len(rows))).T

    def read(self, directions: Float[Tensor, "*frames 24 3"]) -> Float[Tensor, "*frames latent"]:
        """Numbers whose linear map is nearest to a pose."""
        inverse = torch.linalg.pinv(self.linear.weight.detach(), rtol=1e-3)
        return (directions.flatten(-2) - self.linear.bias.detach()) @ inverse.T

    def forward(self, latent: Float[Tensor, "*frames latent"]) -> Float[Tensor, "*frames 24 3"]:
        """Unit directions."""
        raw = self.linear(latent) + self.layers(latent)
        return functional.normalize(raw.unflatten(-1, (N_DIRECTIONS, 3)), dim=-1, eps=1e-4)


class DanceGenerator(PretrainedModule):
    """The generator of all three stages; each begins with what the one before it learned."""

    MODEL, CONFIG = "dance_gan", DanceGanConfig

    def __init__(self, config: DanceGanConfig) -> None:
        super().__init__()
        self.config = config
        self.skeleton = Skeleton()
        self.pose = PoseGenerator(config)
        inputs = config.noise + N_CLOCK + config.heard
        self.begin = nn.Linear(inputs, config.hidden)
        self.cell = nn.GRU(inputs, config.hidden, batch_first=True)
        self.to_pose = nn.Linear(config.hidden, FRAMES_PER_STATE * config.latent)
        self.to_turning = nn.Linear(config.hidden, FRAMES_PER_STATE)
        said = FRAMES_PER_STATE * (config.latent + 1)
        self.patterns = nn.Linear(config.noise * N_CLOCK, said)
        for layer in (self.to_pose, self.to_turning):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.windows = DESIGNS[config.windows](N_BANDS, config.heard)
        self.choose = nn.GRUCell(config.noise + config.heard + 1, config.choosing)
        self.to_noise = nn.Linear(config.choosing, 2 * config.noise)
        self.carry_on = nn.Linear(config.noise, config.noise)

    def encode_audio(
        self, bands: Float[Tensor, "batch sound_frames bands"]
    ) -> Float[Tensor, "batch frames audio_features"]:
        """Audio features at each pose; 0 before the stage ``music``."""
        if self.config.stage != "music":
            n_poses = bands.shape[1] // 4
            return bands.new_zeros(bands.shape[0], n_poses, self.config.heard)
        scaled = (bands - SOUND_MIDDLE) / SOUND_SPREAD
        return self.windows(scaled.transpose(1, 2)).transpose(1, 2)

    def choose_noise(
        self,
        audio_features: Float[Tensor, "batch knots audio_features"],
        tempo: Float[Tensor, "batch knots"],
        chance: Float[Tensor, "batch knots noise"],
        *,
        given: Float[Tensor, "batch knots noise"] | None = None,
        forced: Bool[Tensor, "batch knots"] | None = None,
    ) -> DrawnNoise:
        """Sample the noise of knots, each following from those before it and from the music.

        Args:
            audio_features: Means of the audio features around each knot.
            tempo: Octaves above 100 BPM.
            chance: Standard normal numbers.
            given: Noise to continue from instead of what is sampled (teacher forcing).
            forced: Knots that continue from the given noise; the others continue from the sampled
                noise (scheduled sampling).
        """
        batch, n_knots = tempo.shape
        before = chance.new_zeros(batch, self.config.noise)
        state = chance.new_zeros(batch, self.config.choosing)
        drawn, means, spreads = [], [], []
        for k in range(n_knots):
            state = self.choose(
                torch.cat([before, audio_features[:, k], tempo[:, k, None]], dim=1), state
            )
            mean, spread = self.to_noise(state).chunk(2, dim=1)
            mean = self.carry_on(before) + mean
            spread = functional.softplus(spread) + MIN_SPREAD
            noise = (mean + spread * chance[:, k]).clamp(-MAX_NOISE, MAX_NOISE)
            before = noise if given is None else given[:, k]
            if forced is not None:
                before = torch.where(forced[:, k, None], before, noise.detach())
            drawn.append(noise)
            means.append(mean)
            spreads.append(spread)
        return DrawnNoise(*(torch.stack(values, dim=1) for values in (drawn, means, spreads)))

    def forward(
        self,
        noise: Float[Tensor, "batch frames noise"],
        counted: Float[Tensor, "batch frames clock"],
        audio_features: Float[Tensor, "batch frames audio_features"],
        state: Float[Tensor, "1 batch hidden"] | None = None,
    ) -> tuple[Movement, Float[Tensor, "1 batch hidden"]]:
        """Dance on from a state, by default from the start of a dance.

        Where a dance is made in parts, all but the last have a whole number of
        ``FRAMES_PER_STATE``.
        """
        n_frames = noise.shape[1]
        inputs = torch.cat([noise, counted, audio_features], dim=-1)[:, ::FRAMES_PER_STATE]
        if state is None:
            state = self.begin(inputs[:, 0]).tanh()[None]
        hidden, state = self.cell(inputs, state)
        said = torch.cat([self.to_pose(hidden), self.to_turning(hidden)], dim=-1)
        swing = swings(inputs[..., : self.config.noise], counted[:, ::FRAMES_PER_STATE])
        said = said + self.patterns(swing)
        latent = said[..., :-FRAMES_PER_STATE].unflatten(-1, (FRAMES_PER_STATE, -1)).flatten(1, 2)
        turning = TURN_SCALE * said[..., -FRAMES_PER_STATE:].flatten(1)
        return Movement(self.pose(latent[:, :n_frames]), turning[:, :n_frames]), state


def load_dance_gan(directory: Path | str, *, stage: str | None = "music") -> DanceGenerator:
    """Read a generator, in evaluation mode.

    With ``stage``, a checkpoint that is trained to another is refused.

    Raises:
        CheckpointError: If it is missing, corrupted, of another model or stage.
        ConfigError: If its config has an unknown key or a value out of range.
    """
    generator = DanceGenerator.from_pretrained(directory)
    if stage is not None and generator.config.stage != stage:
        raise CheckpointError(
            f"{directory} is trained to the stage {generator.config.stage!r}, not {stage!r}",
            "Name a checkpoint of that stage.",
        )
    return generator
