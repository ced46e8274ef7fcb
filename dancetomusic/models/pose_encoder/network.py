"""Movement in, rhythm out: beat phase, beats, downbeats and energy at the codec's frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.errors import CheckpointError, ConfigError, PoseError
from dancetomusic.models.pose_encoder.tempo import (
    N_SIGNALS,
    SIGNAL_REACH,
    TempoHead,
    known_frames,
    rhythm_signals,
)
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.nn.streaming import StreamingConv1d
from dancetomusic.rhythm.beats import fit_grid
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.types import POSE_FPS, PoseSequence, RhythmTrack

STRIDE = 2
STEP_RATE = POSE_FPS / STRIDE
"""Steps of memory a second."""

KNOTS = 6
LEG_SIGNALS = (0, 1, 2, 3, 4, 8, 16)
"""Of ``rhythm_signals``: speeds of the feet, of both together and one against the other, speed
of the knees, and the distance of the feet."""
N_OUTPUTS = 5
CHANGE_SCALE = 3.0
READING_SPEEDS = (0.8, 0.87, 0.93, 1.0, 1.07, 1.15, 1.25)
_KEPT = STRIDE * -(-(SIGNAL_REACH + 1) // STRIDE)  # past poses that signals and changes depend on


@dataclass(frozen=True)
class PoseEncoderConfig:
    """Shape of a pose encoder.

    Attributes:
        dilations: One residual block each, in steps of 1/12 s.
        kernel: Taps of every convolution; odd.
        tempo_dropout: Likewise, where the tempo of a stretch is read.
        frame_rate: Output frames a second; the codec's.
        causal: Whether an output may depend only on poses up to the end of its 1/12 s.
        legs_only: Whether the phase is read from the legs alone, which pass the beat alike in
            dances never seen, or from the whole body, which says more of those it has seen.
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


class FrameEncoding(NamedTuple):
    """Estimates over time; memory is at ``STEP_RATE``, the rest at the configured frame rate.

    Phase is (cos, sin) of the beat phase, shorter where unsure; logits are log-odds of a
    beat or downbeat at the frame; energy is in [0, 1].
    """

    memory: Float[Tensor, "batch memory channels"]
    memory_mask: Bool[Tensor, "batch memory"]
    phase: Float[Tensor, "batch frames 2"]
    beat_logits: Float[Tensor, "batch frames"]
    downbeat_logits: Float[Tensor, "batch frames"]
    energy: Float[Tensor, "batch frames"]


class PoseEncoding(NamedTuple):
    """The fields of :class:`FrameEncoding`, and the tempo of the whole stretch.

    Tempo logits are for ``rhythm.beats.TEMPI_BPM``.
    """

    memory: Float[Tensor, "batch memory channels"]
    memory_mask: Bool[Tensor, "batch memory"]
    phase: Float[Tensor, "batch frames 2"]
    beat_logits: Float[Tensor, "batch frames"]
    downbeat_logits: Float[Tensor, "batch frames"]
    energy: Float[Tensor, "batch frames"]
    tempo_logits: Float[Tensor, "batch tempi"]


class EncoderState(NamedTuple):
    """What a causal encoder carries from block to block; the default is before the first pose."""

    world: Float[Tensor, "batch kept 33 3"] | None = None
    present: Bool[Tensor, "batch kept"] | None = None
    past: tuple[Tensor | None, ...] | None = None
    """Past of every convolution, [batch, channels, lookback]."""
    steps: int = 0
    """Steps encoded so far."""


class PoseEncoder(PretrainedModule):
    """Residual dilated convolutions over landmarks at 24 frames a second.

    Two pose frames make one step of memory; each step speaks for its own 1/12 s by seven
    knots that are joined linearly, so output frame ``f`` is at ``f / frame_rate`` seconds.
    """

    MODEL, CONFIG = "pose_encoder", PoseEncoderConfig

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
        tempo_logits = self.tempo(rhythm_signals(world, POSE_FPS), present, POSE_FPS)
        return PoseEncoding(*self.encode_frames(world, present), tempo_logits)

    def encode_frames(
        self, world: Float[Tensor, "batch poses 33 3"], present: Bool[Tensor, "batch poses"]
    ) -> FrameEncoding:
        """As :meth:`forward`, without the tempo."""
        n_frames = self.n_output_frames(world.shape[1])
        if world.shape[1] % STRIDE:
            world = torch.cat([world, world[:, -1:]], dim=1)
            present = torch.cat([present, torch.zeros_like(present[:, -1:])], dim=1)
        encoding, _ = self.stream(world, present, EncoderState())
        frames = (values[:, :n_frames] for values in encoding[2:])
        return FrameEncoding(encoding.memory, encoding.memory_mask, *frames)

    def initial_state(self) -> EncoderState:
        """The state before the first pose.

        Raises:
            CheckpointError: If the encoder sees ahead.
        """
        if not self.config.causal:
            raise CheckpointError(
                "the pose encoder sees ahead", "Name a causal checkpoint, as pose2audio_causal."
            )
        return EncoderState()

    def stream(
        self,
        world: Float[Tensor, "batch poses 33 3"],
        present: Bool[Tensor, "batch poses"],
        state: EncoderState,
    ) -> tuple[FrameEncoding, EncoderState]:
        """Encode the next poses; joined, the blocks of a causal encoder equal one pass.

        Args:
            world: Poses of whole steps, an even number of them.
            present: Frames in which the dancer is seen.
            state: What the call before returned.

        Returns:
            The memory of these steps with the output frames whose times lie within them, and
            the state after them.
        """
        config, n_poses = self.config, world.shape[1]
        if state.world is not None and state.present is not None:
            world = torch.cat([state.world, world], dim=1)
            present = torch.cat([state.present, present], dim=1)
        signals = rhythm_signals(world, POSE_FPS, causal=config.causal)
        features = movement_features(
            self._vary(signals[..., config.signals]), present, causal=config.causal
        )[:, -n_poses:]
        seen = present[:, -n_poses:].unflatten(1, (-1, STRIDE)).any(dim=-1)
        first, *others = state.past or (None,) * (1 + len(self.blocks))
        hidden, past = self.reduce(features.unflatten(1, (-1, STRIDE)).flatten(2), first)
        pasts = [past]
        for block, before in zip(self.blocks, others, strict=True):
            hidden, past = block(hidden, before)
            pasts.append(past)
        memory = self.norm(hidden)
        outputs = self._between_knots(self.head(memory), state.steps)
        encoding = FrameEncoding(
            memory=memory,
            memory_mask=seen,
            phase=outputs[..., :2],
            beat_logits=outputs[..., 2],
            downbeat_logits=outputs[..., 3],
            energy=torch.sigmoid(outputs[..., 4]),
        )
        steps = state.steps + n_poses // STRIDE
        return encoding, EncoderState(world[:, -_KEPT:], present[:, -_KEPT:], tuple(pasts), steps)

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
        self, knots: Float[Tensor, "batch memory values"], first_step: int
    ) -> Float[Tensor, "batch frames outputs"]:
        """Output frames whose times lie within the steps, linearly between the steps' knots."""
        batch, n_steps, _ = knots.shape
        per_step = self.config.frame_rate / STEP_RATE
        begin, end = (
            math.ceil(step * per_step - 1e-5) for step in (first_step, first_step + n_steps)
        )
        count = torch.arange(begin, end, device=knots.device, dtype=torch.float64)
        at = count * (STEP_RATE / self.config.frame_rate) - first_step
        step = (at + 1e-6).floor().clamp(0, n_steps - 1)
        within = ((at - step) * KNOTS).clamp(0.0, KNOTS)
        left = within.floor().clamp(max=KNOTS - 1)
        share = (within - left)[None, :, None].to(knots.dtype)
        flat = knots.reshape(batch, n_steps * (KNOTS + 1), N_OUTPUTS)
        index = (step * (KNOTS + 1) + left).long()
        return flat[:, index] * (1 - share) + flat[:, index + 1] * share


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

    ``signals`` are some of ``rhythm_signals`` in ``models/pose_encoder/tempo.py``; where
    ``causal``, they depend on the past only.
    """
    signals = signals * known_frames(present, causal=causal)[..., None]
    change = torch.zeros_like(signals)
    change[:, 1:] = (signals[:, 1:] - signals[:, :-1]) * CHANGE_SCALE
    valid = present[..., None].to(signals.dtype)
    return torch.cat([signals, change.clamp(-8.0, 8.0), valid], dim=-1)


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
    with torch.no_grad():
        encoding = encoder(world, present)
        if encoder.config.causal:
            return encoding
        return encoding._replace(phase=_phase_at_speeds(encoder, world, present))


def _phase_at_speeds(
    encoder: PoseEncoder,
    world: Float[Tensor, "batch poses 33 3"],
    present: Bool[Tensor, "batch poses"],
) -> Float[Tensor, "batch frames 2"]:
    """Mean phase of the dance played at ``READING_SPEEDS``, on its own time.

    An encoder leans to the tempi that it was trained on; its estimates of the same movement
    played slower and faster lean both ways, and only the rhythm itself agrees.
    """
    n_poses, n_frames = world.shape[1], encoder.n_output_frames(world.shape[1])
    total = torch.zeros(world.shape[0], n_frames, 2)
    for speed in READING_SPEEDS:
        at = torch.arange(max(1, int(n_poses / speed)), dtype=torch.float64) * speed
        nearest = at.round().long().clamp(max=n_poses - 1)
        phase = encoder.encode_frames(_between(world, at), present[:, nearest]).phase
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


def read_rhythm(
    encoder: PoseEncoder, poses: PoseSequence, *, bpm: float | None = None
) -> RhythmTrack:
    """Read the beat of a dance from its poses; frames without a dancer do not count.

    Poses are of one dancer at 24 frames a second, of any length; with ``bpm`` only the phase is
    read.

    Raises:
        PoseError: If the poses are empty or at another frame rate.
        InputError: If ``bpm`` is outside 40-240.
    """
    encoding, frame_rate = encode_poses(encoder, poses), encoder.config.frame_rate
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
    )


class _Conv(nn.Module):
    """Convolution over [batch, steps, channels] that keeps the length."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int, causal: bool):
        super().__init__()
        lookahead = 0 if causal else (kernel - 1) * dilation // 2
        self.conv = StreamingConv1d(inputs, outputs, kernel, lookahead=lookahead, dilation=dilation)

    def forward(
        self, x: Float[Tensor, "batch steps inputs"], past: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        followed = functional.pad(x.transpose(1, 2), (0, self.conv.lookahead))
        y, past = self.conv.stream(followed, past)
        return y.transpose(1, 2), past


class _Block(nn.Module):
    def __init__(self, config: PoseEncoderConfig, dilation: int) -> None:
        super().__init__()
        width = config.channels
        self.norm = nn.LayerNorm(width)
        self.mix = _Conv(width, width, config.kernel, dilation, config.causal)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch steps channels"], past: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        mixed, past = self.mix(self.norm(x), past)
        return x + self.dropout(self.out(functional.gelu(mixed))), past
