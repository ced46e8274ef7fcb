"""Layers in NumPy, for a few frames: of so few, a call of torch costs more than what it computes.

Each is made from the layer of torch that it equals, whose weights it copies.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy.special import expit, ndtr
from torch import Tensor, nn

Frames = Float32[np.ndarray, "frames width"]
LARGE = 200_000
"""Numbers of a weight from which a few rows are multiplied faster one by one."""


def array(parameter: Tensor | None) -> Float32[np.ndarray, ...]:
    """The values of a parameter."""
    assert parameter is not None
    return parameter.detach().numpy()


def gelu(x: Frames) -> Frames:
    """X Φ(x), with the normal distribution's Φ."""
    return x * ndtr(x)


class ArrayLinear:
    """``nn.Linear``."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight = np.ascontiguousarray(array(layer.weight).T)  # read fastest for few rows
        self.bias = _bias(layer)

    def __call__(self, x: Frames) -> Float32[np.ndarray, "frames outputs"]:
        """The layer's output."""
        return multiply(x, self.weight) + self.bias


def _bias(layer: nn.Linear | nn.LayerNorm) -> Float32[np.ndarray, " outputs"]:
    """A layer's bias; zeros where it has none."""
    bias: Tensor | None = layer.bias
    return np.zeros(len(layer.weight), np.float32) if bias is None else array(bias)


def multiply(
    x: Frames, weight: Float32[np.ndarray, "width outputs"]
) -> Float32[np.ndarray, "frames outputs"]:
    """``x @ weight``."""
    return x @ weight if weight.size < LARGE else (x[:, None] @ weight)[:, 0]


class ArrayLayerNorm:
    """``nn.LayerNorm`` over the width."""

    def __init__(self, layer: nn.LayerNorm) -> None:
        self._weight, self._bias = array(layer.weight), _bias(layer)
        self._epsilon = np.float32(layer.eps)

    def __call__(self, x: Frames) -> Frames:
        """The layer's output."""
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", centred, centred)[:, None] / np.float32(x.shape[1])
        return centred / np.sqrt(variance + self._epsilon) * self._weight + self._bias


class ArrayGRU:
    """``nn.GRU`` of one layer."""

    def __init__(self, layer: nn.GRU) -> None:
        weight, recurrent, self._bias, self._recurrent_bias = map(array, layer.parameters())
        self._weight = np.ascontiguousarray(weight.T)
        self._recurrent = np.ascontiguousarray(recurrent.T)
        self.width = layer.hidden_size

    def __call__(
        self, x: Frames, state: Float32[np.ndarray, " state"]
    ) -> Float32[np.ndarray, "frames state"]:
        """The state after each frame, given that before the first."""
        states = []
        for driven in multiply(x, self._weight) + self._bias:
            recurrent = state @ self._recurrent + self._recurrent_bias
            gates = expit(driven[: 2 * self.width] + recurrent[: 2 * self.width])
            reset, update = gates[: self.width], gates[self.width :]
            new = np.tanh(driven[2 * self.width :] + reset * recurrent[2 * self.width :])
            state = new + update * (state - new)
            states.append(state)
        return np.stack(states)
