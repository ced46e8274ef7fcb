"""The sampler's network step by step: a segment of movement in, one code frame after another out.

The same sums as ``MotionVae.encode_movement`` and ``decode``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from torch import nn

from dancetomusic.models.motion_vae.motion_input import Source
from dancetomusic.models.motion_vae.network import MotionVae, bound_deviation
from dancetomusic.nn.single_frame import FrameGru, FrameLinear, FrameNorm, array_of, gelu

TOP_K = 60
"""Codes are drawn among so many of the likeliest."""


class StepEncoder:
    """Says where in the latent space a segment of movement lies.

    Args:
        model: A trained sampler; its weights are not copied.
        source: What the movement is seen by.
    """

    def __init__(self, model: MotionVae, source: Source) -> None:
        layers = model.movement_encoders[source].children()
        self._layers = [FrameLinear(layer) for layer in layers if isinstance(layer, nn.Linear)]

    def draw(
        self,
        segment: Float32[np.ndarray, "columns features"],
        noise: Float32[np.ndarray, " latent"],
    ) -> Float32[np.ndarray, " latent"]:
        """A point, given standard Gaussian noise."""
        *hidden, last = self._layers
        values = segment.ravel()
        for layer in hidden:
            values = gelu(layer(values))
        mean, deviation = np.split(last(values), 2)
        return mean + np.exp(bound_deviation(deviation)) * noise


class DecoderState(NamedTuple):
    """What is carried from frame to frame: the memories of codes and of the level."""

    memory: Float32[np.ndarray, " memory"]
    level_memory: Float32[np.ndarray, " level_memory"]


class StepDecoder:
    """Draws codes and says how loud they are.

    It is not told the codes that it drew: told, as in most of training, it hears itself more than
    the dancer and the beat, and falls into a drone within seconds (docs/models/motion_vae.md).

    Args:
        model: A trained sampler; its weights are not copied.
    """

    def __init__(self, model: MotionVae) -> None:
        self.config = model.config
        first, _, second = model.condition
        self._condition = FrameLinear(first), FrameLinear(second)
        untold = [array_of(table.weight)[model.unknown] for table in model.codes_in]
        self._untold = np.sum(untold, axis=0)
        self._memory = FrameGru(model.memory)
        self._norm = FrameNorm(model.norm)
        self._directly = FrameLinear(model.directly)
        self._heads = [FrameLinear(head) for head in model.code_heads]
        pairs = [before.children() for before in model.code_before]
        self._earlier = [(array_of(table.weight), FrameLinear(layer)) for table, layer in pairs]
        self._level_memory = FrameGru(model.level_memory)
        self._level_head = FrameLinear(model.level_head)

    def start(self) -> DecoderState:
        """The state before the first frame."""
        config = self.config
        return DecoderState(
            np.zeros(config.memory, np.float32),
            np.zeros(config.level_memory, np.float32),
        )

    def step(
        self,
        state: DecoderState,
        point: Float32[np.ndarray, " latent"],
        beat: Float32[np.ndarray, " features"],
        gumbel: Float32[np.ndarray, "codebooks entries"],
        temperature: float,
    ) -> tuple[DecoderState, Int64[np.ndarray, " codebooks"], float]:
        """Play one code frame.

        Args:
            state: What the last step gave, or ``start``.
            point: Where in the latent space.
            beat: The frame's beat features.
            gumbel: Gumbel noise that draws the codes: the same noise draws the same codes.
            temperature: Of the draw; 0 for the likeliest codes.

        Returns:
            The new state, the codes of this frame, and the level.
        """
        into, out = self._condition
        told = out(gelu(into(np.concatenate([point, beat]))))
        memory = self._memory(np.concatenate([told, self._untold]), state.memory)
        hidden = self._norm(memory) + self._directly(told)
        codes = np.zeros(len(self._heads), np.int64)
        for book, head in enumerate(self._heads):
            if book:
                table, layer = self._earlier[book - 1]
                hidden = hidden + layer(table[codes[book - 1]])
            codes[book] = _draw(head(hidden), gumbel[book], temperature)
        level_memory = self._level_memory(told, state.level_memory)
        level = self._level_head(np.concatenate([level_memory, told]))
        return DecoderState(memory, level_memory), codes, float(level[0])


def _draw(
    logits: Float32[np.ndarray, " entries"],
    gumbel: Float32[np.ndarray, " entries"],
    temperature: float,
) -> int:
    best = np.argpartition(logits, -min(TOP_K, logits.size))[-TOP_K:]
    return int(best[(logits[best] + temperature * gumbel[best]).argmax()])
