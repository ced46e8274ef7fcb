"""Trained layers applied to one frame at a time, in NumPy.

For a single frame a call of torch costs more than what it computes. Each class does what the
torch layer of its argument does, with the same weights.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy.special import ndtr
from torch import Tensor, nn

from dancetomusic.nn.convnext import ConvNeXtBlock

Frame = Float32[np.ndarray, " width"]


class FrameLinear:
    """``torch.nn.Linear``."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Linear)
        self._weight, self._bias = array_of(layer.weight), array_of(layer.bias)

    def __call__(self, frame: Float32[np.ndarray, " into"]) -> Float32[np.ndarray, " out"]:
        """The layer's output."""
        return self._weight @ frame + self._bias


class FrameNorm:
    """``torch.nn.LayerNorm``."""

    def __init__(self, layer: nn.LayerNorm) -> None:
        self._weight, self._bias = array_of(layer.weight), array_of(layer.bias)
        self._epsilon = np.float32(layer.eps)

    def __call__(self, frame: Frame) -> Frame:
        """The layer's output."""
        centred = frame - frame.mean()
        variance = centred @ centred / np.float32(frame.size)
        return centred / np.sqrt(variance + self._epsilon) * self._weight + self._bias


class FrameGru:
    """``torch.nn.GRU`` of one layer."""

    def __init__(self, layer: nn.GRU) -> None:
        self._into = array_of(layer.weight_ih_l0), array_of(layer.bias_ih_l0)
        self._on = array_of(layer.weight_hh_l0), array_of(layer.bias_hh_l0)

    def __call__(
        self, frame: Float32[np.ndarray, " into"], memory: Float32[np.ndarray, " width"]
    ) -> Float32[np.ndarray, " width"]:
        """The new memory."""
        new = self._into[0] @ frame + self._into[1]
        old = self._on[0] @ memory + self._on[1]
        both = 2 * memory.size
        gates = 0.5 + 0.5 * np.tanh(0.5 * (new[:both] + old[:both]))
        reset, keep = gates[: memory.size], gates[memory.size :]
        change = np.tanh(new[both:] + reset * old[both:])
        return change + keep * (memory - change)


class FrameConvNeXt:
    """``ConvNeXtBlock`` that looks into the past alone."""

    def __init__(self, block: ConvNeXtBlock) -> None:
        self._kernel = np.ascontiguousarray(array_of(block.depthwise.weight)[:, 0].T)
        self._bias = array_of(block.depthwise.bias)
        self._norm = FrameNorm(block.norm)
        self._expand, self._contract = FrameLinear(block.expand), FrameLinear(block.contract)
        self._scale = array_of(block.scale)

    def start(self) -> Float32[np.ndarray, "past width"]:
        """The past before the first frame."""
        return np.zeros((self._kernel.shape[0] - 1, self._kernel.shape[1]), np.float32)

    def __call__(
        self, frame: Frame, past: Float32[np.ndarray, "past width"]
    ) -> tuple[Frame, Float32[np.ndarray, "past width"]]:
        """The block's output, and the past of the next frame."""
        seen = np.concatenate([past, frame[None]])
        mixed = (seen * self._kernel).sum(axis=0) + self._bias
        change = self._contract(gelu(self._expand(self._norm(mixed))))
        return frame + change * self._scale, seen[1:]


def gelu(frame: Frame) -> Frame:
    """``torch.nn.functional.gelu``."""
    return frame * ndtr(frame)


def array_of(parameter: Tensor | nn.Module | None) -> Float32[np.ndarray, ...]:
    """The values themselves, not a copy."""
    assert isinstance(parameter, Tensor)
    return parameter.detach().numpy()
