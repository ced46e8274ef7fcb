"""A causal pose encoder two poses at a time: each step is what the whole would say there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.errors import CheckpointError
from dancetomusic.models.pose_encoder.network import (
    KNOTS,
    N_OUTPUTS,
    STRIDE,
    PoseEncoder,
    movement_features,
)
from dancetomusic.models.pose_encoder.tempo import SIGNAL_REACH, rhythm_signals
from dancetomusic.types import POSE_FPS

STEP_RATE = POSE_FPS / STRIDE
"""Steps a second."""

_KEPT = STRIDE * -(-(SIGNAL_REACH + 1) // STRIDE)  # poses that a signal and its change know of


@dataclass(frozen=True)
class EncodedStep:
    """What the encoder says of one step; the frames are those that begin within it.

    Attributes:
        memory: For the decoder's cross-attention.
        seen: Whether the dancer is there in one of its poses.
        phase: Cosine and sine of the beat phase, shorter where unsure.
        downbeat_logits: Log-odds of a downbeat at each frame.
    """

    memory: Float32[np.ndarray, " channels"]
    seen: bool
    phase: Float32[np.ndarray, "frames 2"]
    downbeat_logits: Float32[np.ndarray, " frames"]


class PoseEncoderStream:
    """Carries the past of every layer from step to step.

    Joined, its steps equal ``PoseEncoder.forward`` of all poses; a step costs the same however
    long the dance.

    Args:
        encoder: Causal, in evaluation mode.

    Raises:
        CheckpointError: If the encoder sees ahead.
    """

    def __init__(self, encoder: PoseEncoder) -> None:
        if not encoder.config.causal:
            raise CheckpointError(
                "the pose encoder sees ahead", "Name a causal checkpoint, as pose2audio_causal."
            )
        self._encoder = encoder
        self._blocks: list[Any] = list(encoder.blocks)
        self._convolutions = [
            _StepConvolution(layer.conv)
            for layer in (encoder.reduce, *(block.mix for block in self._blocks))
        ]
        self.reset()

    def reset(self) -> None:
        """Forget the dance; the next pose is the first."""
        self._world = torch.zeros(1, 0, 33, 3)
        self._present = torch.zeros(1, 0, dtype=torch.bool)
        self._count = 0
        for convolution in self._convolutions:
            convolution.reset()

    @torch.inference_mode()
    def step(
        self, world: Float32[np.ndarray, "poses 33 3"], present: Bool[np.ndarray, " poses"]
    ) -> EncodedStep:
        """Take the next two poses at 24 a second; absent ones may hold anything finite."""
        encoder = self._encoder
        poses = torch.cat([self._world, torch.from_numpy(world)[None]], dim=1)
        there = torch.cat([self._present, torch.from_numpy(present)[None]], dim=1)
        self._world, self._present = poses[:, -_KEPT:], there[:, -_KEPT:]
        signals = rhythm_signals(poses, POSE_FPS, causal=True)[..., encoder.config.signals]
        features = movement_features(signals, there, causal=True)[0, -STRIDE:]
        hidden = self._convolutions[0](features.flatten())
        for block, convolution in zip(self._blocks, self._convolutions[1:], strict=True):
            mixed = functional.gelu(convolution(block.norm(hidden)))
            hidden = hidden + block.out(mixed)
        memory = encoder.norm(hidden)
        outputs = self._frames(encoder.head(memory).reshape(KNOTS + 1, N_OUTPUTS).numpy())
        return EncodedStep(
            memory=memory.numpy(),
            seen=bool(present.any()),
            phase=outputs[:, :2],
            downbeat_logits=outputs[:, 3],
        )

    def _frames(
        self, knots: Float32[np.ndarray, "knots outputs"]
    ) -> Float32[np.ndarray, "frames outputs"]:
        """Output frames whose times lie within this step, between its knots."""
        per_step = self._encoder.config.frame_rate / STEP_RATE
        first, last = (np.ceil((self._count + k) * per_step - 1e-5) for k in (0, 1))
        self._count += 1
        within = np.clip((np.arange(first, last) / per_step - (self._count - 1)) * KNOTS, 0, KNOTS)
        left = np.minimum(within.astype(int), KNOTS - 1)
        share = (within - left)[:, None].astype(np.float32)
        return knots[left] * (1 - share) + knots[left + 1] * share


class _StepConvolution:
    """A causal dilated convolution, one step at a time."""

    def __init__(self, conv: nn.Conv1d) -> None:
        self._weight = conv.weight.detach().permute(2, 1, 0).flatten(0, 1).contiguous()
        self._bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self._dilation = conv.dilation[0]
        self._past = torch.zeros((conv.kernel_size[0] - 1) * self._dilation + 1, conv.in_channels)

    def reset(self) -> None:
        self._past = torch.zeros_like(self._past)

    def __call__(self, x: Float[Tensor, " inputs"]) -> Float[Tensor, " outputs"]:
        self._past = torch.cat([self._past[1:], x[None]])
        return self._past[:: self._dilation].flatten() @ self._weight + self._bias
