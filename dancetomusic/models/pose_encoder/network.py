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

from dancetomusic.checkpoint import load_module
from dancetomusic.config import config_from_dict
from dancetomusic.errors import ConfigError, PoseError
from dancetomusic.models.pose_encoder.tempo import (
    N_SIGNALS,
    SIGNAL_REACH,
    TempoHead,
    known_frames,
    rhythm_signals,
)
from dancetomusic.rhythm.beats import fit_grid
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.types import POSE_FPS, PoseSequence, RhythmTrack

STRIDE = 2
KNOTS = 6
LEG_SIGNALS = (0, 1, 2, 3, 4, 8, 16)
"""Of ``rhythm_signals``: speeds of the feet, of both together and one against the other, speed
of the knees, and the distance of the feet."""
N_OUTPUTS = 5
CHANGE_SCALE = 3.0
READING_SPEEDS = (0.8, 0.87, 0.93, 1.0, 1.07, 1.15, 1.25)


@dataclass(frozen=True)
class PoseEncoderConfig:
    """Shape of a pose encoder.

    Attributes:
        channels: Width of every layer and of the memory.
        dilations: One residual block each, in steps of 1/12 s.
        kernel: Taps of every convolution; odd.
        dropout: Share of channels dropped in training.
        tempo_dropout: Likewise, where the tempo of a stretch is read.
        frame_rate: Output frames a second; the codec's.
        causal: Whether an output may depend only on poses up to the end of its 1/12 s.
        legs_only: Whether the phase is read from the legs alone, which pass the beat alike in
            dances never seen, or from the whole body, which tells more of those it has seen.
        gain_spread: How much the size of movement is varied in training, in nats; as much
            again, less by a third, for each signal on its own.
    """

    channels: int = 96
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 1, 2)
    kernel: int = 5
    dropout: float = 0.1
    tempo_dropout: float = 0.2
    frame_rate: float = 75.0
    causal: bool = False
    legs_only: bool = True
    gain_spread: float = 0.2

    def __post_init__(self) -> None:
        if self.channels < 1 or not self.dilations or min(self.dilations) < 1:
            raise ConfigError("the encoder has no layers", "Give channels and dilations ≥ 1.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel is {self.kernel}", "Give an odd number.")
        if not (0 <= self.dropout < 1 and 0 <= self.tempo_dropout < 1) or self.frame_rate <= 0:
            raise ConfigError("dropout or frame_rate is out of range", "Give [0, 1) and > 0.")

    @property
    def signals(self) -> tuple[int, ...]:
        """Which of ``rhythm_signals`` the phase is read from."""
        return LEG_SIGNALS if self.legs_only else tuple(range(N_SIGNALS))


class PoseEncoding(NamedTuple):
    """What the encoder says; memory is at 12 Hz, the rest at the configured frame rate.

    Phase is (cos, sin) of the beat phase, shorter where unsure; logits are log-odds of a
    beat or downbeat at the frame; energy is in [0, 1]. Tempo logits are of the whole stretch,
    for ``rhythm.beats.TEMPI_BPM``.
    """

    memory: Float[Tensor, "batch memory channels"]
    memory_mask: Bool[Tensor, "batch memory"]
    phase: Float[Tensor, "batch frames 2"]
    beat_logits: Float[Tensor, "batch frames"]
    downbeat_logits: Float[Tensor, "batch frames"]
    energy: Float[Tensor, "batch frames"]
    tempo_logits: Float[Tensor, "batch tempi"]


class PoseEncoder(nn.Module):
    """Residual dilated convolutions over landmarks at 24 frames a second.

    Two pose frames make one step of memory; each step speaks for its own 1/12 s by seven
    knots that are joined linearly, so output frame ``f`` is at ``f / frame_rate`` seconds.
    """

    def __init__(self, config: PoseEncoderConfig) -> None:
        super().__init__()
        self.config = config
        n_features = 2 * len(config.signals) + 1
        self.reduce = _Conv(n_features * STRIDE, config.channels, 3, 1, config.causal)
        self.blocks = nn.ModuleList(_Block(config, dilation) for dilation in config.dilations)
        self.norm = nn.LayerNorm(config.channels)
        self.head = nn.Linear(config.channels, N_OUTPUTS * (KNOTS + 1))
        self.tempo = TempoHead(config.tempo_dropout)

    @property
    def receptive_field_s(self) -> float:
        """How far from an output a pose can still matter, in seconds."""
        reach = 1 + sum(self.config.dilations) * (self.config.kernel // 2)
        steps = reach * (2 if self.config.causal else 1) + 1
        return (steps * STRIDE + SIGNAL_REACH) / POSE_FPS

    def n_output_frames(self, n_pose_frames: int) -> int:
        """Output frames for a number of pose frames: the whole ones that they last."""
        return math.floor(n_pose_frames / POSE_FPS * self.config.frame_rate + 1e-6)

    def forward(
        self, world: Float[Tensor, "batch poses 33 3"], present: Bool[Tensor, "batch poses"]
    ) -> PoseEncoding:
        """Encode poses of any length; absent frames may hold anything finite."""
        n_frames = self.n_output_frames(world.shape[1])
        tempo_logits = self.tempo(rhythm_signals(world, POSE_FPS), present, POSE_FPS)
        if world.shape[1] % STRIDE:
            world = torch.cat([world, world[:, -1:]], dim=1)
            present = torch.cat([present, torch.zeros_like(present[:, -1:])], dim=1)
        signals = rhythm_signals(world, POSE_FPS, causal=self.config.causal)
        features = movement_features(
            self._vary(signals[..., self.config.signals]), present, causal=self.config.causal
        )
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
            tempo_logits=tempo_logits,
        )

    def _vary(
        self, signals: Float[Tensor, "batch poses signals"]
    ) -> Float[Tensor, "batch poses signals"]:
        """In training, give each dancer and each of its signals another size."""
        if not self.training or self.config.gain_spread == 0:
            return signals
        batch, _, n_signals = signals.shape
        nats = torch.randn(batch, 1, 1) + 0.7 * torch.randn(batch, 1, n_signals)
        return signals * (self.config.gain_spread * nats).exp().to(signals.device)

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
            parts[-1] += [value[:, c:d] for value in part[2:-1]]
        whole = [torch.cat(values, dim=1) for values in zip(*parts, strict=True)]
        whole.append(self.tempo(rhythm_signals(world, POSE_FPS), present, POSE_FPS))
        return PoseEncoding(*whole)


def movement_features(
    signals: Float[Tensor, "batch poses signals"],
    present: Bool[Tensor, "batch poses"],
    *,
    causal: bool = False,
) -> Float[Tensor, "batch poses features"]:
    """Signals, how they change, and validity; 0 where no dancer is known.

    Joints themselves are left out: an encoder that sees them knows figures by their look and
    reads nothing from others. Arms, head and heights pass the beat at another moment in every
    dance; feet are quickest half-way between beats in all.

    Args:
        signals: Some of ``models.tempo.rhythm_signals``.
        present: Frames in which the dancer is seen.
        causal: Whether the signals depend on the past only.
    """
    signals = signals * known_frames(present, causal=causal)[..., None]
    change = torch.zeros_like(signals)
    change[:, 1:] = (signals[:, 1:] - signals[:, :-1]) * CHANGE_SCALE
    valid = present[..., None].to(signals.dtype)
    return torch.cat([signals, change.clamp(-8.0, 8.0), valid], dim=-1)


def load_pose_encoder(directory: Path | str) -> PoseEncoder:
    """Read a trained encoder, ready to use.

    Raises:
        CheckpointError: If the directory holds no intact pose encoder.
    """
    return load_module(
        directory,
        model="pose_encoder",
        build=lambda config: PoseEncoder(config_from_dict(PoseEncoderConfig, config)),
    )


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
    encoding = encoder.encode_long(world, present)
    if encoder.config.causal:
        return encoding
    return encoding._replace(phase=_phase_at_speeds(encoder, world, present))


def _phase_at_speeds(
    encoder: PoseEncoder,
    world: Float[Tensor, "batch poses 33 3"],
    present: Bool[Tensor, "batch poses"],
) -> Float[Tensor, "batch frames 2"]:
    """Mean phase of the dance played at ``READING_SPEEDS``, on its own time.

    An encoder leans to the tempi that it learned from; what it says of the same movement
    played slower and faster leans both ways, and only the rhythm itself agrees.
    """
    n_poses, n_frames = world.shape[1], encoder.n_output_frames(world.shape[1])
    total = torch.zeros(world.shape[0], n_frames, 2)
    for speed in READING_SPEEDS:
        at = torch.arange(max(1, int(n_poses / speed)), dtype=torch.float64) * speed
        nearest = at.round().long().clamp(max=n_poses - 1)
        phase = encoder.encode_long(_between(world, at), present[:, nearest]).phase
        total += _between(phase, torch.arange(n_frames, dtype=torch.float64) / speed)
    return total / len(READING_SPEEDS)


def _between(
    values: Float[Tensor, "batch frames *size"], at: Float[Tensor, " positions"]
) -> Float[Tensor, "batch positions *size"]:
    """Values at fractional frames, held past the end."""
    last = values.shape[1] - 1
    at = at.clamp(max=last)
    left = at.long()
    share = (at - left).to(values.dtype).reshape(-1, *[1] * (values.dim() - 2))
    return values[:, left] * (1 - share) + values[:, (left + 1).clamp(max=last)] * share


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
        tempo_logits=encoding.tempo_logits[0].float().numpy(),
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
