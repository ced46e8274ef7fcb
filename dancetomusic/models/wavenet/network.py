"""Movement in, the classes of a raw waveform out: a conditional WaveNet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.codec.mulaw import N_CLASSES
from dancetomusic.config import check_ranges
from dancetomusic.errors import ConfigError, InputError, PoseError
from dancetomusic.models.pose_encoder.network import LEG_SIGNALS, movement_features
from dancetomusic.models.pose_encoder.tempo import rhythm_signals
from dancetomusic.models.wavenet.dilated import FrameUpsampler, GatedStack, TimeConvolutions
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.rhythm.features import beat_position
from dancetomusic.types import PoseSequence

MOVEMENT_FPS = 25.0
"""Frames of movement a second."""
STEPS_PER_FRAME = 4
FRAME_RATE = MOVEMENT_FPS * STEPS_PER_FRAME
"""Frames of the condition a second; a learned or straight line joins them at the audio rate."""
PICTURE_SIDE = 64
"""Of pictures of a dancer, in pixels."""
REFERENCE_S = 2.0
"""Of a piece's sound, from which the latent vector of the piece is encoded."""
POSE_FEATURES = 2 * len(LEG_SIGNALS) + 1
BEAT_HARMONICS = (1, 2, 4)
"""Turns a beat of the angles by which the reader of movement says where in the beat it is."""
KNOWN_LENGTHS = 1.0, 0.4, 0.4
"""Of the angles of a known beat: were all as long, what sounds between beats would be as loud as
what sounds on them. Chosen on real clips that the released model was trained on."""
GENRE_CHANNELS = 8
ANY_GENRE = -1
"""Genre index of a dance of no genre in particular."""

Movement = Float32[np.ndarray, "frames features"] | UInt8[np.ndarray, "frames side side"]
"""Features of poses, or grey pictures, at ``MOVEMENT_FPS``."""


@dataclass(frozen=True)
class WaveNetConfig:
    """Shape of a WaveNet.

    Attributes:
        sample_rate: Of the sound, in Hz; a multiple of ``FRAME_RATE``.
        channels: Width of the residual path.
        skip_channels: Width of the skip path and of the layer after it.
        stacks: How often the dilations begin again at 1.
        layers_per_stack: Layers of dilation 1, 2, 4, … in the first.
        dilation_growth: How many times the dilations of the stack before a stack has.
        movement: What the sound is conditioned on: ``pose`` landmarks, ``pictures`` of 64 × 64
            pixels, or ``none``.
        movement_channels: Width of what reads the movement.
        movement_dilations: Its layers, in frames of ``MOVEMENT_FPS``.
        condition_channels: What it says of each frame.
        upsampling: How that is brought to the audio rate: by ``learned`` transposed
            convolutions, or by ``linear`` resampling.
        genres: Genres that can be asked for; none by default.
        latent_dim: Width of the variational bottleneck; 0 for none.
    """

    sample_rate: int = 16_000
    channels: int = 32
    skip_channels: int = 64
    stacks: int = 3
    layers_per_stack: int = 8
    dilation_growth: int = 1
    movement: Literal["pose", "pictures", "none"] = "pose"
    movement_channels: int = 64
    movement_dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    condition_channels: int = 24
    upsampling: Literal["learned", "linear"] = "learned"
    genres: tuple[str, ...] = ()
    latent_dim: int = 0

    def __post_init__(self) -> None:
        if self.sample_rate < 8 * FRAME_RATE or self.sample_rate % FRAME_RATE:
            raise ConfigError(
                f"sample_rate is {self.sample_rate} Hz",
                f"Give a multiple of {FRAME_RATE:g} such as 16000.",
            )
        widths = "channels skip_channels stacks layers_per_stack dilation_growth"
        check_ranges(self, counts=f"{widths} movement_channels condition_channels")
        if self.layers_per_stack > 16:
            raise ConfigError(f"layers_per_stack is {self.layers_per_stack}", "Give at most 16.")
        if not self.movement_dilations or min(self.movement_dilations) < 1:
            raise ConfigError("movement_dilations are below 1", "Give at least one, from 1 on.")
        if self.latent_dim < 0 or len(set(self.genres)) < len(self.genres):
            raise ConfigError("latent_dim is negative, or a genre is there twice", "Correct it.")

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of every layer."""
        return tuple(
            self.dilation_growth**stack * 2**n
            for stack in range(self.stacks)
            for n in range(self.layers_per_stack)
        )

    @property
    def receptive_field(self) -> int:
        """Samples before a sample that it depends on."""
        return 1 + sum(self.dilations)

    @property
    def receptive_field_ms(self) -> float:
        """The same in milliseconds."""
        return 1000 * self.receptive_field / self.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples a frame of the condition."""
        return round(self.sample_rate / FRAME_RATE)

    def genre_index(self, genre: str) -> int:
        """Index of a genre; ``ANY_GENRE`` for one that cannot be asked for."""
        return self.genres.index(genre) if genre in self.genres else ANY_GENRE


class WaveNet(PretrainedModule):
    """Says how likely each class of a sample is, given the samples before it and the movement.

    Movement enters as frames at ``FRAME_RATE``: a frame of the condition is what is read of the
    movement, then the genre, then the latent vector. ``gates`` maps it to what every layer adds
    inside its gates, still at that rate; the layers bring it to theirs.

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016.
        Chorowski et al., "Unsupervised speech representation learning using WaveNet
        autoencoders", 2019 (the bottleneck; here one vector speaks for a whole piece).
    """

    MODEL, CONFIG = "wavenet", WaveNetConfig

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        self.config = config
        width, skip = config.channels, config.skip_channels
        self.embedding = nn.Embedding(N_CLASSES, width)
        self.stack = GatedStack(width, skip, config.dilations)
        self.upsampler = FrameUpsampler(config.hop_length, learned=config.upsampling == "learned")
        self.hidden = nn.Conv1d(skip, skip, 1)
        self.head = nn.Conv1d(skip, N_CLASSES, 1)
        self.reader = None if config.movement == "none" else MovementEncoder(config)
        self.unseen = nn.Parameter(torch.zeros(config.condition_channels))
        self.phase = nn.Linear(config.condition_channels, 2 * len(BEAT_HARMONICS))
        self.genre = nn.Embedding(len(config.genres) + 1, GENRE_CHANNELS)
        self.posterior = Posterior(config) if config.latent_dim else None
        entering = config.condition_channels + GENRE_CHANNELS + config.latent_dim
        self.gates = nn.Linear(entering, len(config.dilations) * 2 * width)
        nn.init.normal_(self.embedding.weight, std=0.5)

    @property
    def receptive_field(self) -> int:
        """Samples before a sample that it depends on."""
        return self.config.receptive_field

    def read(
        self, movement: Tensor, seen: Bool[Tensor, " batch"]
    ) -> Float32[Tensor, "batch condition_frames channels"]:
        """What is read of the movement, ``STEPS_PER_FRAME`` frames for each of its own.

        Args:
            movement: ``Movement`` with a batch axis.
            seen: Where the movement is to be looked at; elsewhere nothing is known of it.
        """
        n_frames = movement.shape[1] * STEPS_PER_FRAME
        unseen = self.unseen.expand(movement.shape[0], n_frames, -1)
        if self.reader is None:
            return unseen
        return torch.where(seen[:, None, None], self.reader(movement), unseen)

    def gates_of(
        self,
        read: Float32[Tensor, "batch frames channels"],
        genre: Int[Tensor, " batch"],
        latent: Float32[Tensor, "batch latent"] | None = None,
    ) -> Float32[Tensor, "batch layers twice frames"]:
        """What every layer adds inside its gates, at ``FRAME_RATE``.

        Args:
            read: What was read of the movement, from the first frame wanted to the last.
            genre: Index within ``config.genres``, or ``ANY_GENRE``.
            latent: Where there is a bottleneck.
        """
        parts = [self.genre(genre + 1), *([] if latent is None else [latent])]
        held = [part[:, None].expand(-1, read.shape[1], -1) for part in parts]
        gates = self.gates(torch.cat([read, *held], dim=-1))
        layers = len(self.config.dilations)
        return gates.unflatten(-1, (layers, -1)).permute(0, 2, 3, 1)

    def forward(
        self,
        classes: Int[Tensor, "batch samples"],
        gates: Float32[Tensor, "batch layers twice frames"],
        ahead: int = 0,
    ) -> Float32[Tensor, "batch 256 outputs"]:
        """Logits of the sample after each, from the first with a whole receptive field on.

        Args:
            classes: µ-law classes.
            gates: Of ``gates_of``, over at least the time of ``classes``.
            ahead: Samples between the last one predicted and the last frame of ``gates``, not
                counting either.

        Raises:
            InputError: If there are fewer samples than the receptive field.
        """
        require_receptive_field(self.config, classes.shape[1])
        x = self.embedding(classes.long()).transpose(1, 2)
        total = self.stack(x, gates, self.upsampler, ahead)
        return self.head(functional.relu(self.hidden(functional.relu(total))))


class MovementEncoder(nn.Module):
    """Movement to frames of the condition: a front for its kind, then convolutions in time."""

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        width, said = config.movement_channels, config.condition_channels
        self.front = PoseFront(width) if config.movement == "pose" else PictureFront(width)
        self.body = TimeConvolutions(width, config.movement_dilations)
        self.head: nn.Module
        if config.upsampling == "learned":
            taps = 2 * STEPS_PER_FRAME
            self.head = nn.ConvTranspose1d(
                width, said, taps, stride=STEPS_PER_FRAME, padding=STEPS_PER_FRAME // 2
            )
        else:
            self.head = nn.Sequential(nn.Conv1d(width, said, 1), _HeldUpsampler())

    @property
    def reach(self) -> int:
        """Frames of movement to either side that a frame of the condition depends on."""
        return self.body.reach + 2

    def forward(self, movement: Tensor) -> Float32[Tensor, "batch condition_frames channels"]:
        """``STEPS_PER_FRAME`` frames for each frame of movement."""
        return self.head(self.body(self.front(movement))).transpose(1, 2)


class PoseFront(nn.Module):
    """Every frame's pose features, each for itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv1d(POSE_FEATURES, channels, 1)

    def forward(
        self, movement: Float32[Tensor, "batch frames features"]
    ) -> Float32[Tensor, "batch channels frames"]:
        """As many frames as there are."""
        return self.expand(movement.transpose(1, 2))


class PictureFront(PoseFront):
    """Estimates from pictures what ``PoseFront`` reads, frame by frame, through a small network.

    Its inputs are how a picture differs from the mean of all, which hides what stands still, and
    how it differs from the pictures before and after, relative to how much that is usually. Bodies,
    clothes and backgrounds have least part in these.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        side = PICTURE_SIDE // 16
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 6, stride=4, padding=1), nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.GELU(),
            nn.Flatten(), nn.Linear(32 * side * side, len(LEG_SIGNALS)),
        )  # fmt: skip

    def signals(
        self, pictures: UInt8[Tensor, "batch frames side side"]
    ) -> Float32[Tensor, "batch frames signals"]:
        """Estimates of ``leg_signals``."""
        grey = pictures.float() / 255
        change = torch.diff(grey, dim=1).abs()
        inputs = [
            (grey - grey.mean(1, keepdim=True)).abs(),
            functional.pad(change, (0, 0, 0, 0, 1, 0)),
            functional.pad(change, (0, 0, 0, 0, 0, 1)),
        ]
        stacked = torch.stack(inputs, dim=2)
        usual = stacked.square().mean((1, 3, 4), keepdim=True).sqrt().clamp(min=1e-3)
        return self.layers((stacked / usual).sqrt().flatten(0, 1)).unflatten(0, pictures.shape[:2])

    def forward(self, movement: Tensor) -> Float32[Tensor, "batch channels frames"]:
        """As many frames as there are pictures, or signals that were estimated of them."""
        signals = movement if movement.is_floating_point() else self.signals(movement)
        seen = torch.ones(signals.shape[:2], dtype=torch.bool, device=signals.device)
        return super().forward(movement_features(signals, seen))


class Posterior(nn.Module):
    """What a piece is like, from a stretch of it: mean and log variance of a latent vector.

    The stretch is another than the one that is predicted, so that the vector holds what they have
    in common, such as instruments and style, and not where its onsets are.
    """

    N_FFT = 512

    window: Tensor

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        self.hop = config.hop_length
        self.register_buffer("window", torch.hann_window(self.N_FFT), persistent=False)
        width = config.movement_channels
        self.layers = nn.Sequential(
            nn.Conv1d(self.N_FFT // 2 + 1, width, 5, padding=2), nn.GELU(),
            nn.Conv1d(width, width, 5, padding=2), nn.GELU(),
        )  # fmt: skip
        self.out = nn.Linear(2 * width, 2 * config.latent_dim)
        with torch.no_grad():  # sure from the start, or what reads the vector learns to ignore it
            self.out.bias[config.latent_dim :] = -3.0

    def forward(
        self, samples: Float32[Tensor, "batch samples"]
    ) -> tuple[Float32[Tensor, "batch latent"], Float32[Tensor, "batch latent"]]:
        """Mean and log variance."""
        spectrum = torch.stft(
            samples, self.N_FFT, self.hop, window=self.window, return_complex=True
        )
        hidden = self.layers(torch.log(spectrum.abs() + 1e-3))
        mean, log_variance = self.out(torch.cat([hidden.mean(-1), hidden.amax(-1)], dim=-1)).chunk(
            2, dim=-1
        )
        return mean, log_variance.clamp(-8.0, 4.0)


class _HeldUpsampler(nn.Module):
    """Straight lines between frames; the last is held."""

    def __init__(self) -> None:
        super().__init__()
        self.upsampler = FrameUpsampler(STEPS_PER_FRAME, learned=False)

    def forward(
        self, frames: Float32[Tensor, "batch channels frames"]
    ) -> Float32[Tensor, "batch channels upsampled"]:
        return self.upsampler(torch.cat([frames, frames[..., -1:]], dim=-1))


def pose_movement(poses: PoseSequence) -> Float32[np.ndarray, "frames features"]:
    """Poses as movement, at ``MOVEMENT_FPS``: see ``pose_features``.

    Raises:
        PoseError: If there are no poses.
    """
    at_rate = resample_poses(poses, MOVEMENT_FPS)
    return pose_features(at_rate.world, at_rate.present)


def pose_features(
    world: Float32[np.ndarray, "frames 33 3"], present: Bool[np.ndarray, " frames"]
) -> Float32[np.ndarray, "frames features"]:
    """How the legs move, seen from anywhere; landmarks are at ``MOVEMENT_FPS``.

    They are the signals in which ``models.pose_encoder`` finds the beat, their changes, and
    whether they are known; those that are not are 0.

    Raises:
        PoseError: If there are no poses.
    """
    if not world.shape[0]:
        raise PoseError("there are no poses", "Give at least one frame.")
    signals = torch.from_numpy(leg_signals(world))[None]
    return movement_features(signals, torch.from_numpy(present)[None])[0].numpy()


def leg_signals(
    world: Float32[np.ndarray, "frames 33 3"],
) -> Float32[np.ndarray, "frames signals"]:
    """Those of ``rhythm_signals`` that ``LEG_SIGNALS`` names; landmarks are at ``MOVEMENT_FPS``."""
    signals = rhythm_signals(torch.from_numpy(world)[None], MOVEMENT_FPS)
    return signals[0, :, LEG_SIGNALS].numpy()


def beat_harmonics(
    phase: Float32[Tensor, "batch steps 2"],
) -> Float32[Tensor, "batch steps harmonics"]:
    """Cosine and sine of a phase to cosine and sine of each of its ``BEAT_HARMONICS``."""
    turn = torch.view_as_complex(phase.contiguous())
    turns = torch.stack([turn**n for n in BEAT_HARMONICS], dim=-1)
    return torch.view_as_real(turns).flatten(-2)


def require_receptive_field(config: WaveNetConfig, n_samples: int) -> None:
    """Refuse sound too short to say anything of the next sample.

    Raises:
        InputError: If it is.
    """
    if n_samples < config.receptive_field:
        raise InputError(
            f"{1000 * n_samples / config.sample_rate:.1f} ms are shorter than the receptive field"
            f" of {config.receptive_field_ms:.1f} ms ({config.receptive_field} samples)",
            "Give a longer stretch, or a model of fewer layers.",
        )


@torch.no_grad()
def read_movement(
    model: WaveNet, movement: Movement, *, block_s: float = 60.0
) -> Float32[Tensor, "1 condition_frames channels"]:
    """What a model reads of movement of any length, as if of all at once, block by block.

    Raises:
        InputError: If it is movement of another kind than the model knows.
    """
    kind = "pictures" if movement.dtype == np.uint8 else "pose"
    known = model.config.movement
    if known not in (kind, "none"):
        raise InputError(f"the model reads {known}, not {kind}", "Give what it reads.")
    device = model.unseen.device
    seen = torch.ones(1, dtype=torch.bool, device=device)
    reach = 0 if model.reader is None else model.reader.reach
    block = math.ceil(block_s * MOVEMENT_FPS)
    parts = []
    for start in range(0, len(movement), block):
        first = max(0, start - reach)
        part = torch.from_numpy(movement[first : start + block + reach])[None].to(device)
        read = model.read(part, seen)
        wanted = (start - first) * STEPS_PER_FRAME
        parts.append(read[:, wanted : wanted + block * STEPS_PER_FRAME])
    return torch.cat(parts, dim=1)


@torch.no_grad()
def follow_beats(
    model: WaveNet,
    read: Float32[Tensor, "1 frames channels"],
    beat_times: Float[np.ndarray, " beats"],
) -> Float32[Tensor, "1 frames channels"]:
    """What was read of a movement, changed as little as makes its beat a known one.

    Least squares: ``model.phase`` is linear, and its pseudoinverse leads from the angles that it
    finds to those that are known, of ``KNOWN_LENGTHS``. ``read`` are frames at ``FRAME_RATE``.

    Raises:
        InputError: If there are fewer than two beats.
    """
    angle = 2 * np.pi * beat_position(beat_times, np.arange(read.shape[1]) / FRAME_RATE)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)
    lengths = torch.tensor(KNOWN_LENGTHS, device=read.device).repeat_interleave(2)
    known = beat_harmonics(torch.from_numpy(circle)[None].to(read.device)) * lengths
    return read + (known - model.phase(read)) @ torch.linalg.pinv(model.phase.weight).T


def hold_frames(
    read: Float32[Tensor, "batch frames channels"], first: Int[Tensor, " batch"], n_frames: int
) -> Float32[Tensor, "batch wanted channels"]:
    """Frames from ``first`` on, of each its own; those beyond either end are the end's."""
    wanted = first[:, None] + torch.arange(n_frames, device=read.device)
    index = wanted.clamp(0, read.shape[1] - 1)[..., None].expand(-1, -1, read.shape[2])
    return read.gather(1, index)


def history_frames(config: WaveNetConfig) -> int:
    """Frames of the condition before a stretch that its receptive field reaches into."""
    return math.ceil((config.receptive_field - 1) / config.hop_length)


def draw_latent(model: WaveNet, rng: np.random.Generator) -> Float32[Tensor, "1 latent"] | None:
    """A latent vector from the prior, where the model has a bottleneck."""
    if not model.config.latent_dim:
        return None
    drawn = rng.standard_normal((1, model.config.latent_dim)).astype(np.float32)
    return torch.from_numpy(drawn).to(model.unseen.device)
