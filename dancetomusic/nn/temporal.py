"""Temporal convolutional networks: what happens, over longer and longer stretches."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class TemporalNetwork(nn.Module):
    """Convolutions over time, each halving the rate, and a dilated one at the end.

    Without normalisation, so that it can be a critic with a gradient penalty.

    ``halvings`` layers halve the rate; ``kernel`` is odd.

    References:
        Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent
        networks for sequence modeling", 2018.
    """

    def __init__(self, inputs: int, width: int, halvings: int, kernel: int = 5) -> None:
        super().__init__()
        half = kernel // 2
        self.first = nn.Conv1d(inputs, width, kernel, padding=half)
        self.halving = nn.ModuleList(
            nn.Conv1d(width, width, kernel, stride=2, padding=half) for _ in range(halvings)
        )
        self.wide = nn.Conv1d(width, width, kernel, padding=2 * half, dilation=2)

    def forward(
        self, x: Float[Tensor, "batch inputs frames"]
    ) -> Float[Tensor, "batch width parts"]:
        """Each part stands for ``2 ** halvings`` frames."""
        hidden = functional.leaky_relu(self.first(x), 0.2)
        for layer in self.halving:
            hidden = functional.leaky_relu(layer(hidden), 0.2)
        return hidden + functional.leaky_relu(self.wide(hidden), 0.2)
