"""Fully connected layers around which the input is carried."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ResidualLayer(nn.Module):
    """Two fully connected layers, added to their input.

    Without normalisation: a critic with a gradient penalty must judge each example by itself.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Of any leading shape."""
        hidden = functional.leaky_relu(self.first(functional.leaky_relu(x, 0.2)), 0.2)
        return x + self.second(hidden)


def residual_stack(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """A projection, ``depth`` residual layers of a width, and a projection."""
    layers = [ResidualLayer(width) for _ in range(depth)]
    return nn.Sequential(
        nn.Linear(inputs, width), *layers, nn.LeakyReLU(0.2), nn.Linear(width, outputs)
    )
