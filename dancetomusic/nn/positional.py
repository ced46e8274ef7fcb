"""Rotary positions: attention that sees how far apart two moments are."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def rotation_speeds(head_dim: int, base: float = 10_000.0) -> Float[Tensor, " half"]:
    """Radians by which each pair of channels of a head turns in a unit of time."""
    half = head_dim // 2
    return base ** (-torch.arange(half) / half)


def rotation_table(
    positions: Float[Tensor, " positions"], head_dim: int, base: float = 10_000.0
) -> Complex[Tensor, "positions half"]:
    """Unit complex numbers by which a head's pairs of channels are turned at each position.

    Positions are in any unit of time, not necessarily whole; ``base`` is nearly the ratio of the
    slowest to the fastest rotation.

    References:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
    """
    angles = positions[:, None] * rotation_speeds(head_dim, base).to(positions.device)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(
    x: Float[Tensor, "*lead head_dim"], rotation: Complex[Tensor, "*turns half"]
) -> Float[Tensor, "*lead head_dim"]:
    """Turn neighbouring channel pairs of ``x``; ``rotation`` broadcasts against its pairs."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).type_as(x)
