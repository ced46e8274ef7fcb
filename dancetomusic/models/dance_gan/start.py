"""The initialisation of the generator of sequences: linear maps to and from its noise."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dancetomusic.models.dance_gan.critic import NoiseEncoder, near_knots, swinging_movement
from dancetomusic.models.dance_gan.crops import DanceBatch
from dancetomusic.models.dance_gan.network import (
    FRAMES_PER_STATE,
    MIN_SPREAD,
    TURN_SCALE,
    DanceGenerator,
    swings,
)

RIDGE = 3.0
MIN_SEEN = 6.0
"""Frames near a knot from which its noise can be inferred."""


@torch.no_grad()
def start_linear(generator: DanceGenerator, reader: NoiseEncoder, crops: DanceBatch) -> None:
    """Initialise with the best linear maps from movement to noise and back.

    The reader's noise is the whitened principal components of movement near knots, of poses as
    they are and multiplied by the swings of the beat; the generator's patterns are the ridge
    regression from that noise to movement; the noise of a knot is that from the knot before.
    """
    clock, shares = crops.count(), crops.share()
    seen = shares.sum(dim=2) > MIN_SEEN
    latent = generator.pose.read(crops.directions)
    near = near_knots(swinging_movement(latent, crops.turning, clock), shares)
    _start_reader(reader, near[seen])
    noise = reader.straight(near)
    _start_patterns(generator, crops, latent, shares.transpose(1, 2) @ noise)
    _start_chain(generator, noise, seen)


def _start_reader(reader: NoiseEncoder, rows: Float[Tensor, "rows products"]) -> None:
    """Whitened principal components."""
    mean = rows.mean(dim=0)
    _, sizes, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    n = min(reader.straight.out_features, len(sizes))
    spread = (sizes[:n] / math.sqrt(len(rows))).clamp(min=1e-3)
    reader.straight.weight.zero_()
    reader.straight.weight[:n] = axes[:n] / spread[:, None]
    reader.straight.bias.copy_(-reader.straight.weight @ mean)


def _start_patterns(
    generator: DanceGenerator,
    crops: DanceBatch,
    latent: Float[Tensor, "batch frames latent"],
    noise: Float[Tensor, "batch frames noise"],
) -> None:
    """From noise that swings with the beat to the outputs of each state of the cell."""
    n_states = crops.beats.shape[1] // FRAMES_PER_STATE
    states = slice(0, n_states * FRAMES_PER_STATE, FRAMES_PER_STATE)
    inputs = swings(noise[:, states], crops.count()[:, states]).flatten(0, 1)
    moves = (latent, crops.turning[..., None] / TURN_SCALE)
    targets = torch.cat(
        [
            values[:, first : n_states * FRAMES_PER_STATE : FRAMES_PER_STATE]
            for values in moves
            for first in range(FRAMES_PER_STATE)
        ],
        dim=-1,
    ).flatten(0, 1)
    _fit_linear(generator.patterns, inputs, targets)


def _start_chain(
    generator: DanceGenerator,
    noise: Float[Tensor, "batch knots noise"],
    seen: Bool[Tensor, "batch knots"],
) -> None:
    """From the noise of a knot to that of the next, with the spread of the residual."""
    pairs = seen[:, 1:] & seen[:, :-1]
    before, after = noise[:, :-1][pairs], noise[:, 1:][pairs]
    _fit_linear(generator.carry_on, before, after)
    # The bias is the spread through the inverse of softplus.
    residual = (after - generator.carry_on(before)).std(dim=0).clamp(min=0.1) - MIN_SPREAD
    generator.to_noise.weight.mul_(0.1)
    generator.to_noise.bias.zero_()
    generator.to_noise.bias[generator.config.noise :] = (
        residual.expm1().log()
    )  # inverse of softplus


def _fit_linear(
    layer: nn.Linear, inputs: Float[Tensor, "rows inputs"], targets: Float[Tensor, "rows outputs"]
) -> None:
    """Ridge regression."""
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    gram = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1])
    weights = torch.linalg.solve(gram, inputs.T @ targets)
    layer.weight.copy_(weights[:-1].T)
    layer.bias.copy_(weights[-1])
