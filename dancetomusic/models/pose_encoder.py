"""Movement in, rhythm out: beat phase, beats, downbeats and energy at the codec's frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.checkpoint import load_checkpoint, load_into
from dancetomusic.config import config_from_dict
from dancetomusic.errors import ConfigError, PoseError
from dancetomusic.rhythm.beats import fit_grid
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.types import PoseSequence, RhythmTrack

POSE_FPS = 24.0
STRIDE = 2
KNOTS = 6
BODY_JOINTS = (0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
N_FEATURES = len(BODY_JOINTS) * 7 + 1
N_OUTPUTS = 5
POSITION_SCALE_M = 0.3
SPEED_SCALE_M_S = 0.8


@dataclass(frozen=True)
class PoseEncoderConfig:
    """Shape of a pose encoder.

    Attributes:
        channels: Width of every layer and of the memory.
        dilations: One residual block each, in steps of 1/12 s.
        kernel: Taps of every convolution; odd.
        dropout: Share of channels dropped in training.
        frame_rate: Output frames a second; the codec's.
        causal: Whether an output may depend only on poses up to the end of its 1/12 s.
    """

    channels: int = 96
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 1, 2)
    kernel: int = 5
    dropout: float = 0.1
    frame_rate: float = 75.0
    causal: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1 or not self.dilations or min(self.dilations) < 1:
            raise ConfigError("the encoder has no layers", "Give channels and dilations ≥ 1.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel is {self.kernel}", "Give an odd number.")
        if not 0 <= self.dropout < 1 or self.frame_rate <= 0:
            raise ConfigError("dropout or frame_rate is out of range", "Give [0, 1) and > 0.")


class PoseEncoding(NamedTuple):
    """What the encoder says; memory is at 12 Hz, the rest at the configured frame rate.

    Phase is (cos, sin) of the beat phase, shorter where unsure; logits are log-odds of a
    beat or downbeat at the frame; energy is in [0, 1].
    """

    memory: Float[Tensor, "batch memory channels"]
    memory_mask: Bool[Tensor, "batch memory"]
    phase: Float[Tensor, "batch frames 2"]
    beat_logits: Float[Tensor, "batch frames"]
    downbeat_logits: Float[Tensor, "batch frames"]
    energy: Float[Tensor, "batch frames"]


class PoseEncoder(nn.Module):
    """Residual dilated convolutions over landmarks at 24 frames a second.

    Two pose frames make one step of memory; each step speaks for its own 1/12 s by seven
    knots that are joined linearly, so output frame ``f`` is at ``f / frame_rate`` seconds.
    """

    def __init__(self, config: PoseEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.reduce = _Conv(N_FEATURES * STRIDE, config.channels, 3, 1, config.causal)
        self.blocks = nn.ModuleList(_Block(config, dilation) for dilation in config.dilations)
        self.norm = nn.LayerNorm(config.channels)
        self.head = nn.Linear(config.channels, N_OUTPUTS * (KNOTS + 1))

    @property
    def receptive_field_s(self) -> float:
        """How far from an output a pose can still matter, in seconds."""
        reach = 1 + sum(self.config.dilations) * (self.config.kernel // 2)
        return (reach * (2 if self.config.causal else 1) + 1) * STRIDE / POSE_FPS

    def n_output_frames(self, n_pose_frames: int) -> int:
        """Output frames for a number of pose frames: the whole ones that they last."""
        return math.floor(n_pose_frames / POSE_FPS * self.config.frame_rate + 1e-6)

    def forward(
        self, world: Float[Tensor, "batch poses 33 3"], present: Bool[Tensor, "batch poses"]
    ) -> PoseEncoding:
        """Encode poses of any length; absent frames may hold anything finite."""
        n_frames = self.n_output_frames(world.shape[1])
        if world.shape[1] % STRIDE:
            world = torch.cat([world, world[:, -1:]], dim=1)
            present = torch.cat([present, torch.zeros_like(present[:, -1:])], dim=1)
        features = pose_features(world, present)
        batch, n_poses, width = features.shape
        memory_mask = present.view(batch, n_poses // STRIDE, STRIDE).any(dim=-1)
        hidden = self.reduce(features.reshape(batch, n_poses // STRIDE, STRIDE * width))
        for block in self.blocks:
            hidden = block(hidden)
        memory = self.norm(hidden)
        outputs = self._between_knots(self.head(memory), n_frames)
        return PoseEncoding(
            memory=memory,
            memory_mask=memory_mask,
            phase=outputs[..., :2],
            beat_logits=outputs[..., 2],
            downbeat_logits=outputs[..., 3],
            energy=torch.sigmoid(outputs[..., 4]),
        )

    def _between_knots(
        self, knots: Float[Tensor, "batch memory values"], n_frames: int
    ) -> Float[Tensor, "batch frames outputs"]:
        batch, n_steps, _ = knots.shape
        step_rate = POSE_FPS / STRIDE
        count = torch.arange(n_frames, device=knots.device, dtype=torch.float64)
        at = count * (step_rate / self.config.frame_rate)
        step = (at + 1e-6).floor().clamp(max=n_steps - 1)
        within = ((at - step) * KNOTS).clamp(0.0, KNOTS)
        left = within.floor().clamp(max=KNOTS - 1)
        share = (within - left)[None, :, None].to(knots.dtype)
        flat = knots.reshape(batch, n_steps * (KNOTS + 1), N_OUTPUTS)
        index = (step * (KNOTS + 1) + left).long()
        return flat[:, index] * (1 - share) + flat[:, index + 1] * share

    @torch.no_grad()
    def encode_long(
        self,
        world: Float[Tensor, "batch poses 33 3"],
        present: Bool[Tensor, "batch poses"],
        *,
        chunk_s: float = 60.0,
    ) -> PoseEncoding:
        """As :meth:`forward`, chunk by chunk, so that working memory does not grow.

        Chunks overlap by the receptive field: the result is that of one pass.
        """
        grain = _chunk_grain(self.config.frame_rate)
        chunk = max(1, round(chunk_s * POSE_FPS / grain)) * grain
        context = math.ceil(self.receptive_field_s * POSE_FPS / grain) * grain
        n_poses = world.shape[1]
        if n_poses <= chunk + context:
            return self(world, present)
        parts = []
        for start in range(0, n_poses, chunk):
            first, last = max(0, start - context), min(n_poses, start + chunk + context)
            part = self(world[:, first:last], present[:, first:last])
            skipped = start - first
            kept = min(chunk, n_poses - start)
            a, b = skipped // STRIDE, math.ceil((skipped + kept) / STRIDE)
            c, d = self.n_output_frames(skipped), self.n_output_frames(skipped + kept)
            parts.append([part.memory[:, a:b], part.memory_mask[:, a:b]])
            parts[-1] += [value[:, c:d] for value in part[2:]]
        return PoseEncoding(*(torch.cat(values, dim=1) for values in zip(*parts, strict=True)))


def pose_features(
    world: Float[Tensor, "batch poses 33 3"], present: Bool[Tensor, "batch poses"]
) -> Float[Tensor, "batch poses features"]:
    """Hip-centred position, velocity, speed and validity; 0 where no dancer is known.

    The nose stands for the face and thumbs are left out: 21 joints. Velocity is the step
    from the frame before, 0 unless both are present.
    """
    joints = world[:, :, BODY_JOINTS] - world[:, :, (23, 24)].mean(dim=2, keepdim=True)
    velocity = torch.zeros_like(joints)
    velocity[:, 1:] = (joints[:, 1:] - joints[:, :-1]) * (POSE_FPS / SPEED_SCALE_M_S)
    moving = present.clone()
    moving[:, 1:] &= present[:, :-1]
    moving[:, :1] = False
    velocity = velocity.clamp(-8.0, 8.0) * moving[..., None, None]
    position = joints / POSITION_SCALE_M * present[..., None, None]
    speed = velocity.square().sum(dim=-1).add(1e-8).sqrt()
    valid = present[..., None].to(world.dtype)
    return torch.cat([position.flatten(2), velocity.flatten(2), speed, valid], dim=-1)


def load_pose_encoder(directory: Path | str) -> PoseEncoder:
    """Read a trained encoder, ready to use.

    Raises:
        CheckpointError: If the directory holds no intact pose encoder.
    """
    checkpoint = load_checkpoint(directory, model="pose_encoder")
    encoder = PoseEncoder(config_from_dict(PoseEncoderConfig, checkpoint.config))
    load_into(encoder, checkpoint, directory)
    return encoder.eval()


def encode_poses(encoder: PoseEncoder, poses: PoseSequence) -> PoseEncoding:
    """Encode one dancer of any length.

    Raises:
        PoseError: If the poses are empty or not at 24 frames a second.
    """
    if len(poses) == 0 or abs(poses.fps - POSE_FPS) > 1e-6:
        raise PoseError(
            f"{len(poses)} poses at {poses.fps} frames a second",
            f"Resample them to {POSE_FPS:.0f} frames a second.",
        )
    world = torch.from_numpy(np.ascontiguousarray(poses.world))[None]
    present = torch.from_numpy(np.ascontiguousarray(poses.present))[None]
    return encoder.encode_long(world, present)


def rhythm_from_encoding(
    encoding: PoseEncoding,
    poses: PoseSequence,
    frame_rate: float,
    *,
    bpm: float | None = None,
    beats_per_bar: int | None = None,
) -> RhythmTrack:
    """Fit the beat grid to what the encoder said; frames without a dancer have no say."""
    at = np.arange(encoding.phase.shape[1]) / frame_rate
    seen = poses.present[np.minimum((at * poses.fps).astype(int), len(poses) - 1)]
    return fit_grid(
        encoding.phase[0].float().numpy(),
        frame_rate,
        energy=movement_energy(poses),
        energy_rate=ENERGY_RATE,
        duration_s=poses.duration_s,
        downbeat_logits=encoding.downbeat_logits[0].float().numpy(),
        weights=seen.astype(np.float32),
        bpm=bpm,
        beats_per_bar=beats_per_bar,
    )


def read_rhythm(
    encoder: PoseEncoder,
    poses: PoseSequence,
    *,
    bpm: float | None = None,
    beats_per_bar: int | None = None,
) -> RhythmTrack:
    """Read the beat of a dance from its poses.

    Args:
        encoder: In evaluation mode.
        poses: One dancer at 24 frames a second, of any length.
        bpm: Tempo to keep; only the phase is then read.
        beats_per_bar: Bar length to keep.

    Raises:
        PoseError: If the poses are empty or at another frame rate.
        InputError: If ``bpm`` is outside 40-240.
    """
    encoding = encode_poses(encoder, poses)
    return rhythm_from_encoding(
        encoding, poses, encoder.config.frame_rate, bpm=bpm, beats_per_bar=beats_per_bar
    )


def _chunk_grain(frame_rate: float) -> int:
    """Smallest even number of pose frames that lasts a whole number of output frames."""
    for grain in range(STRIDE, 24 * 1000, STRIDE):
        if abs(grain / POSE_FPS * frame_rate - round(grain / POSE_FPS * frame_rate)) < 1e-9:
            return grain
    raise ConfigError(f"frame rate {frame_rate} has no common grain with poses", "Use 75.")


class _Conv(nn.Module):
    """Convolution over [batch, steps, channels] that keeps the length."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int, causal: bool):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        reach = (kernel - 1) * dilation
        self.padding = (reach, 0) if causal else (reach // 2, reach // 2)

    def forward(self, x: Float[Tensor, "batch steps inputs"]) -> Tensor:
        return self.conv(functional.pad(x.transpose(1, 2), self.padding)).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, config: PoseEncoderConfig, dilation: int) -> None:
        super().__init__()
        width = config.channels
        self.norm = nn.LayerNorm(width)
        self.mix = _Conv(width, width, config.kernel, dilation, config.causal)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "batch steps channels"]) -> Tensor:
        hidden = functional.gelu(self.mix(self.norm(x)))
        return x + self.dropout(self.out(hidden))
