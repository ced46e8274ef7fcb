"""What only training needs beside the generator: critics, and a reader of real movement."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.models.dance_gan.audio_windows import DESIGNS
from dancetomusic.models.dance_gan.mel import N_BANDS
from dancetomusic.models.dance_gan.network import (
    MIN_SPREAD,
    N_CLOCK,
    TURN_SCALE,
    DanceGanConfig,
    swings,
)
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.nn.residual import residual_stack
from dancetomusic.nn.temporal import TemporalNetwork
from dancetomusic.pose.skeleton import SHOWN_JOINTS

N_COORDINATES = 3 * len(SHOWN_JOINTS)
COORDINATE_SCALE = 3.0
"""Shown coordinates are metres times this: about of unit variance."""

SPEED_SCALE = 8.0
"""Shown changes from frame to frame are metres times this times the scale of coordinates."""

TURNING_SCALE = 0.5
N_SHOWN = 2 * N_COORDINATES + 1
HALVINGS = 3
FIRST_SPREAD = -2.5
"""Before ``softplus``: noise is read as if it were certain at first, or the generator would learn
to do without it."""


def show_pose(world: Float[Tensor, "*frames 33 3"]) -> Float[Tensor, "*frames coordinates"]:
    """Joint coordinates in one row."""
    return COORDINATE_SCALE * world[..., list(SHOWN_JOINTS), :].flatten(-2)


def show_movement(
    world: Float[Tensor, "batch frames 33 3"], turning: Float[Tensor, "batch frames"]
) -> Float[Tensor, "batch shown frames"]:
    """Joint coordinates of a body that faces the camera as channels, their changes, and turning."""
    positions = show_pose(world).transpose(1, 2)
    changes = SPEED_SCALE * torch.diff(positions, dim=2, prepend=positions[:, :, :1])
    return torch.cat([positions, changes, TURNING_SCALE * turning[:, None]], dim=1)


class PoseCritic(nn.Module):
    """Residual fully connected layers over joint coordinates."""

    def __init__(self, config: DanceGanConfig) -> None:
        super().__init__()
        self.layers = residual_stack(N_COORDINATES, config.width, config.depth, 1)

    def forward(self, pose: Float[Tensor, "batch coordinates"]) -> Float[Tensor, " batch"]:
        """The more like a real pose the higher."""
        return self.layers(pose)[:, 0]


class MovementCritic(nn.Module):
    """A temporal convolutional network with joint coordinates as channels.

    With music a second branch encodes it; both are concatenated at each third of a second
    and pass two fully connected layers together, so that what is judged is also whether they
    belong to each other *there*.
    """

    def __init__(self, config: DanceGanConfig, width: int = 64) -> None:
        super().__init__()
        self.movement = TemporalNetwork(N_SHOWN, width, HALVINGS)
        self.takes_music = config.stage == "music"
        joined = width
        if self.takes_music:
            self.windows = DESIGNS[config.windows](N_BANDS, config.heard)
            self.music = TemporalNetwork(config.heard + N_CLOCK, config.heard, HALVINGS)
            joined += config.heard
        self.first = nn.Conv1d(joined, width, 1)
        self.last = nn.Conv1d(width, 1, 1)

    def forward(
        self,
        shown: Float[Tensor, "batch shown frames"],
        bands: Float[Tensor, "batch bands sound_frames"],
        counted: Float[Tensor, "batch clock frames"],
    ) -> Float[Tensor, " batch"]:
        """The more like a real dance, to its music if it takes that, the higher."""
        hidden = self.movement(shown)
        if self.takes_music:
            music = self.music(torch.cat([self.windows(bands), counted], dim=1))
            hidden = torch.cat([hidden, music], dim=1)
        hidden = functional.leaky_relu(self.first(hidden), 0.2)
        return self.last(hidden).mean(dim=(1, 2))


class NoiseEncoder(PretrainedModule):
    """Encoder of noise from real movement: the posterior q(noise | movement)."""

    MODEL, CONFIG = "dance_gan_reader", DanceGanConfig

    def __init__(self, config: DanceGanConfig, width: int = 64) -> None:
        super().__init__()
        self.config = config
        self.straight = nn.Linear((config.latent + 1) * N_CLOCK, config.noise)
        self.movement = TemporalNetwork(N_SHOWN + N_CLOCK, width, 1)
        self.to_noise = nn.Linear(width, 2 * config.noise)
        with torch.no_grad():
            self.to_noise.weight.mul_(0.1)
            self.to_noise.bias[config.noise :] = FIRST_SPREAD

    def forward(
        self,
        latent: Float[Tensor, "batch frames latent"],
        shown: Float[Tensor, "batch shown frames"],
        turning: Float[Tensor, "batch frames"],
        counted: Float[Tensor, "batch frames clock"],
        shares: Float[Tensor, "batch knots frames"],
    ) -> tuple[Float[Tensor, "batch knots noise"], Float[Tensor, "batch knots noise"]]:
        """Mean and spread at each knot, from what is near it."""
        swinging = near_knots(swinging_movement(latent, turning, counted), shares)
        inputs = torch.cat([shown, counted.transpose(1, 2)], dim=1)
        hidden = near_knots(self.movement(inputs).transpose(1, 2), shares[:, :, ::2])
        mean, spread = self.to_noise(hidden).chunk(2, dim=2)
        return self.straight(swinging) + mean, functional.softplus(spread) + MIN_SPREAD


def swinging_movement(
    latent: Float[Tensor, "batch frames latent"],
    turning: Float[Tensor, "batch frames"],
    counted: Float[Tensor, "batch frames clock"],
) -> Float[Tensor, "batch frames products"]:
    """Poses and turning, and these times each wave of the clock."""
    return swings(torch.cat([latent, turning[..., None] / TURN_SCALE], dim=-1), counted)


def near_knots(
    values: Float[Tensor, "batch frames values"], shares: Float[Tensor, "batch knots frames"]
) -> Float[Tensor, "batch knots values"]:
    """Means over the frames near each knot."""
    return shares @ values / (shares.sum(dim=2, keepdim=True) + 1e-3)
