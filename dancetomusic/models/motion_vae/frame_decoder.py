"""The sampler's decoder in NumPy, for blocks of a few frames, which it samples.

It does what ``MotionVae.decode`` does, with the same weights, in half the time
(``benchmarks/bench_motion_vae.py``).
"""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from torch import nn

from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.nn.arrays import ArrayGRU, ArrayLayerNorm, ArrayLinear, array, gelu

TOP_K = 60
"""Codes are sampled among so many of the likeliest."""


class FrameState(NamedTuple):
    """What the decoder carries from frame to frame."""

    memory: Float32[np.ndarray, " memory"]
    level_memory: Float32[np.ndarray, " level_memory"]


class FrameDecoder:
    """Samples codes, frame by frame.

    Args:
        model: A trained sampler, on the CPU.
    """

    def __init__(self, model: MotionVae) -> None:
        self._condition = _linears(model.condition)
        self._memory, self._level_memory = ArrayGRU(model.memory), ArrayGRU(model.level_memory)
        self._norm, self._directly = ArrayLayerNorm(model.norm), ArrayLinear(model.directly)
        self._heads = _linears(model.code_heads)
        tables = [
            array(m.weight) for m in model.code_before.modules() if isinstance(m, nn.Embedding)
        ]
        before = zip(_linears(model.code_before), tables, strict=True)
        self._code_before = [linear(table) for linear, table in before]
        self._level_head = ArrayLinear(model.level_head)

    def initial_state(self) -> FrameState:
        """The state before a sound."""
        widths = self._memory.width, self._level_memory.width
        return FrameState(*(np.zeros(width, np.float32) for width in widths))

    def sample(
        self,
        points: Float32[np.ndarray, "frames latent"],
        beats: Float32[np.ndarray, "frames features"],
        gumbel: Float32[np.ndarray, "codebooks frames entries"],
        temperature: float,
        state: FrameState,
        *,
        lookahead: int = 0,
    ) -> tuple[Int64[np.ndarray, "codebooks frames"], Float32[np.ndarray, " frames"], FrameState]:
        """Play the next frames.

        Args:
            points: One a frame.
            beats: See ``network.beat_features``.
            gumbel: Gumbel noise by which the codes are sampled: the same noise, the same codes.
            temperature: Of the sampling; 0 takes the likeliest codes.
            state: What the call before returned, or the initial one.
            lookahead: Frames at the end that only predict what follows.

        Returns:
            Codes and level of each frame, and the state before the ``lookahead``.
        """
        widen, mix = self._condition
        condition = mix(gelu(widen(np.concatenate([points, beats], axis=1))))
        memory = self._memory(condition, state.memory)
        hidden = self._norm(memory) + self._directly(condition)
        codes = []
        for head, earlier, noise in zip_longest(self._heads, self._code_before, gumbel):
            logits = head(hidden)
            top = min(TOP_K, logits.shape[1])
            least = np.partition(logits, -top, axis=1)[:, [-top]]
            codes.append(np.where(logits < least, -np.inf, logits + temperature * noise).argmax(1))
            if earlier is not None:
                hidden = hidden + earlier[codes[-1]]
        level_memory = self._level_memory(condition, state.level_memory)
        level = self._level_head(np.concatenate([level_memory, condition], axis=1))[:, 0]
        last = len(points) - lookahead - 1
        return np.stack(codes), level, FrameState(memory[last], level_memory[last])


def _linears(module: nn.Module) -> list[ArrayLinear]:
    return [ArrayLinear(each) for each in module.modules() if isinstance(each, nn.Linear)]
