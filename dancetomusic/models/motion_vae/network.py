"""The motiongram sampler: movement and sound share a latent space, movement alone plays it.

Segments of movement and of sound are encoded into one space. A recurrent decoder turns its
points and the beat into codes of the embedded codec and a level; past codes are no input of it,
with which it would follow itself more than the dancer and fall into a drone. In
training the movement is written back too; to perform, the sound's encoder and that output are
not needed.

References:
    Kingma and Welling, "Auto-encoding variational Bayes", 2014;
    Sohn, Lee and Yan, "Learning structured output representation using deep conditional
    generative models", 2015 (the latent space is learned from sound, its position from movement).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.config import check_ranges
from dancetomusic.errors import ConfigError
from dancetomusic.models.motion_vae.motion_input import N_FEATURES, SOURCES, Source
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.rhythm.features import RHYTHM_FEATURES, features_at
from dancetomusic.types import RhythmTrack

BEAT_FEATURES = (
    "known", "beat_cos", "beat_sin", "bar_cos", "bar_sin", "log2_tempo", "triple_metre"
)  # fmt: skip
_RHYTHM_COLUMNS = [RHYTHM_FEATURES.index(name) for name in BEAT_FEATURES[1:]]
LEVEL_DB, LEVEL_SPREAD_DB = -26.0, 8.0
"""Levels are learned in units of the spread, from the first on."""

LEVELLED_DB = -20.0
"""Root mean square of the sound that codes stand for, in dB below full scale."""


@dataclass(frozen=True)
class MotionVaeConfig:
    """Shape of a motiongram sampler.

    Raises:
        ConfigError: If a value is out of range.
    """

    codec_id: str
    """Identity of the codec whose codes are played."""
    frame_rate: float = 75.0
    """Code frames a second; the codec's."""
    n_codebooks: int = 2
    codebook_size: int = 1024
    code_channels: int = 128
    """Width of the codec's latent."""
    segment_s: float = 0.1
    """Movement and sound that one point of the latent space stands for."""
    n_columns: int = 4
    """Columns of a segment of movement."""
    block_frames: int = 2
    """Code frames from one point to the next: segments overlap."""
    latent: int = 16
    hidden: int = 128
    """Width of the encoders."""
    memory: int = 320
    """Width of the recurrent decoder of codes."""
    level_memory: int = 48
    """Width of the recurrent decoder of the level, which does not see the codes."""
    code_width: int = 96
    """Width of an embedded code."""

    def __post_init__(self) -> None:
        sizes = "n_columns block_frames latent hidden memory level_memory code_width"
        check_ranges(self, counts=f"{sizes} codebook_size n_codebooks")
        if self.segment_frames < self.block_frames:
            raise ConfigError(
                f"segments of {self.segment_s:g} s are shorter than a block",
                "Lengthen segment_s or lower block_frames.",
            )

    @property
    def segment_frames(self) -> int:
        """Code frames of a segment."""
        return max(1, round(self.segment_s * self.frame_rate))

    @property
    def block_s(self) -> float:
        """Length of a block in seconds."""
        return self.block_frames / self.frame_rate


class DiagonalGaussian(NamedTuple):
    """Where in the latent space segments lie: Gaussians with independent axes."""

    mean: Float[Tensor, "batch blocks latent"]
    log_deviation: Float[Tensor, "batch blocks latent"]

    def sample(self, noise: Float[Tensor, "batch blocks latent"]) -> Float[Tensor, ...]:
        """Points, given standard Gaussian noise."""
        return self.mean + self.log_deviation.exp() * noise


class Played(NamedTuple):
    """What the decoder says of each code frame; levels in units of ``LEVEL_SPREAD_DB``."""

    logits: Float[Tensor, "batch codebooks frames entries"]
    level: Float[Tensor, "batch frames"]


class MotionVae(PretrainedModule):
    """Encoders of movement and sound, decoders of both."""

    MODEL, CONFIG = "motion_vae", MotionVaeConfig

    def __init__(self, config: MotionVaeConfig) -> None:
        super().__init__()
        self.config = config
        width, latent = config.hidden, config.latent
        self.movement_encoders = nn.ModuleDict(
            {
                source: nn.Sequential(
                    nn.Linear(config.n_columns * N_FEATURES[source], width),
                    nn.GELU(),
                    nn.Linear(width, width),
                    nn.GELU(),
                    nn.Linear(width, 2 * latent),
                )
                for source in SOURCES
            }
        )
        self.sound_encoder = nn.Sequential(
            nn.Conv1d(config.code_channels + 1, width, config.segment_frames, config.block_frames),
            nn.GELU(),
            nn.Conv1d(width, width, 1),
            nn.GELU(),
            nn.Conv1d(width, 2 * latent, 1),
        )
        self.movement_decoder = nn.Sequential(
            nn.Linear(latent, width),
            nn.GELU(),
            nn.Linear(width, config.n_columns * N_FEATURES["motiongram"]),
        )
        self.condition = nn.Sequential(
            nn.Linear(latent + len(BEAT_FEATURES), width), nn.GELU(), nn.Linear(width, width)
        )
        self.memory = nn.GRU(width, config.memory, batch_first=True)
        self.norm = nn.LayerNorm(config.memory)
        self.directly = nn.Linear(width, config.memory)
        self.code_heads = nn.ModuleList(
            nn.Linear(config.memory, config.codebook_size) for _ in range(config.n_codebooks)
        )
        self.code_before = nn.ModuleList(
            nn.Sequential(
                nn.Embedding(config.codebook_size, config.code_width),
                nn.Linear(config.code_width, config.memory),
            )
            for _ in range(config.n_codebooks - 1)
        )
        self.level_memory = nn.GRU(width, config.level_memory, batch_first=True)
        self.level_head = nn.Linear(config.level_memory + width, 1)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.3)

    def encode_movement(
        self, source: Source, segments: Float[Tensor, "batch blocks columns features"]
    ) -> DiagonalGaussian:
        """Where segments of movement lie; see ``MovementReader.segments``."""
        return _gaussian(self.movement_encoders[source](segments.flatten(2)))

    def encode_sound(
        self, latent: Float[Tensor, "batch frames channels"], level: Float[Tensor, "batch frames"]
    ) -> DiagonalGaussian:
        """Where segments of sound lie; the last frames of each are those of its block.

        Latents are of whole blocks; the level is in units of ``LEVEL_SPREAD_DB``.
        """
        config = self.config
        frames = torch.cat([latent, level[..., None]], dim=-1).transpose(1, 2)
        before = config.segment_frames - config.block_frames
        hidden = self.sound_encoder(functional.pad(frames, (before, 0)))
        return _gaussian(hidden.transpose(1, 2))

    def decode_movement(
        self, points: Float[Tensor, "batch blocks latent"]
    ) -> Float[Tensor, "batch blocks columns features"]:
        """The motiongram's segments that points stand for."""
        return self.movement_decoder(points).unflatten(2, (self.config.n_columns, -1))

    def decode(
        self,
        points: Float[Tensor, "batch blocks latent"],
        beats: Float[Tensor, "batch frames features"],
        codes: Int[Tensor, "batch codebooks frames"],
    ) -> Played:
        """Logits of each code, and the level.

        ``points`` are one a block, ``beats`` one row a frame (see ``beat_features``); later
        codebooks are conditioned on earlier ones of ``codes``.
        """
        spread = points.repeat_interleave(self.config.block_frames, dim=1)
        condition = self.condition(torch.cat([spread, beats], dim=-1))
        memory, _ = self.memory(condition)
        hidden = self.norm(memory) + self.directly(condition)
        logits = []
        for head, earlier, code in zip_longest(self.code_heads, self.code_before, codes.unbind(1)):
            logits.append(head(hidden))
            if earlier is not None:
                hidden = hidden + earlier(code)
        level_memory, _ = self.level_memory(condition)
        level = self.level_head(torch.cat([level_memory, condition], dim=-1))[..., 0]
        return Played(torch.stack(logits, dim=1), level)


def beat_features(
    track: RhythmTrack | None, at_s: Float[np.ndarray, " frames"]
) -> Float32[np.ndarray, "frames features"]:
    """The rhythm at given times, in the columns ``BEAT_FEATURES``; zeros where none is known.

    See ``rhythm.features.features_at``. Fewer than two beats are as good as none.
    """
    columns = np.zeros((at_s.size, len(BEAT_FEATURES)), np.float32)
    if track is not None and track.beat_times.size >= 2:
        columns[:, 0] = 1.0
        columns[:, 1:] = features_at(track, at_s)[:, _RHYTHM_COLUMNS]
    return columns


def _gaussian(values: Tensor) -> DiagonalGaussian:
    mean, log_deviation = values.chunk(2, dim=-1)
    return DiagonalGaussian(mean, (log_deviation - 1.0).clip(-5.0, 2.0))
