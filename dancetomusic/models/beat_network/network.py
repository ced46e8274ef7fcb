"""Beat and downbeat activations of sound: a small convolutional network on mel levels.

References:
    Davies and Böck, "Temporal convolutional networks for musical audio beat tracking", 2019;
    Böck and Davies, "Deconstruct, analyse, reconstruct", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.errors import ConfigError
from dancetomusic.io.audio import resample
from dancetomusic.io.spectrum import band_power
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.types import Waveform

SAMPLE_RATE = 24_000
FRAME_RATE = 50.0
"""Frames of levels and of activations a second, in Hz."""

WINDOW = 1024
N_MELS = 64
LOWEST_HZ, HIGHEST_HZ = 30.0, 11_000.0
RANGE_DB = 60.0
"""Levels further than this below the loudest are cut."""

POOLED = 4
CHUNK_S = 120.0


@dataclass(frozen=True)
class BeatNetworkConfig:
    """Shape of a beat network.

    Attributes:
        front: Channels of the two convolutions over time and frequency.
        n_layers: Residual layers; layer ``k`` has dilation ``2**k``.
        kernel: Taps of each temporal convolution; odd.
    """

    channels: int = 48
    front: tuple[int, int] = (12, 24)
    n_layers: int = 10
    kernel: int = 5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.channels, *self.front, self.n_layers) < 1 or self.kernel % 2 == 0:
            raise ConfigError("the network has no layers", "Give positive sizes, an odd kernel.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}", "Give a share in [0, 1).")


class BeatNetwork(PretrainedModule):
    """Log-odds of a beat and of a downbeat in each frame of mel levels."""

    MODEL, CONFIG = "beat_network", BeatNetworkConfig

    def __init__(self, config: BeatNetworkConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.front
        self.front = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.ELU(),
            nn.MaxPool2d((POOLED, 1)),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ELU(),
            nn.MaxPool2d((POOLED, 1)),
        )
        self.reduce = nn.Conv1d(second * (N_MELS // POOLED**2), config.channels, 1)
        self.layers = nn.ModuleList(_Layer(config, 2**k) for k in range(config.n_layers))
        self.norm = nn.GroupNorm(1, config.channels)
        self.head = nn.Conv1d(config.channels, 2, 1)

    @property
    def reach(self) -> int:
        """Frames before and after that an activation depends on."""
        return 2 + (2**self.config.n_layers - 1) * (self.config.kernel // 2)

    def forward(
        self, levels: Float[Tensor, "batch mels frames"]
    ) -> Float[Tensor, "batch 2 frames"]:
        """Activations of whole sounds."""
        hidden = self.reduce(self.front(levels[:, None]).flatten(1, 2))
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(functional.elu(hidden))


class _Layer(nn.Module):
    """A dilated convolution and a mix of channels, beside what comes in."""

    def __init__(self, config: BeatNetworkConfig, dilation: int) -> None:
        super().__init__()
        width = config.channels
        self.wide = nn.Conv1d(
            width, width, config.kernel, padding=config.kernel // 2 * dilation, dilation=dilation
        )
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout1d(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch width frames"]
    ) -> Float[Tensor, "batch width frames"]:
        hidden = self.dropout(functional.elu(self.wide(x)))
        return x + self.mix(hidden)


def mel_power(waveform: Waveform) -> Float32[np.ndarray, "mels frames"]:
    """Power in mel bands, ``FRAME_RATE`` frames a second; frame ``k`` is around ``k / 50`` s."""
    samples = resample(waveform.to_mono(), SAMPLE_RATE).samples[0]
    hop = round(SAMPLE_RATE / FRAME_RATE)
    n_frames = -(-samples.size // hop)
    power = band_power(samples, _mel_weights(), window=WINDOW, hop=hop, n_frames=n_frames)
    return np.ascontiguousarray(power.T)


def mel_levels(
    power: Float32[np.ndarray, "mels frames"],
) -> Float32[np.ndarray, "mels frames"]:
    """What the network reads: levels in [0, 1] over ``RANGE_DB`` below the loudest frames."""
    floor = 10 ** (-RANGE_DB / 10)
    loudest = float(np.quantile(power.max(axis=0), 0.98)) if power.size else 0.0
    relative = power / max(loudest, 1e-10)
    return (1.0 + np.log10(np.clip(relative, floor, 10.0)) / (RANGE_DB / 10)).astype(np.float32)


@torch.inference_mode()
def beat_activations(
    network: BeatNetwork, power: Float32[np.ndarray, "mels frames"]
) -> Float32[np.ndarray, "2 frames"]:
    """Log-odds of a beat and of a downbeat in each frame, chunk by chunk."""
    levels = torch.from_numpy(mel_levels(power))
    n_frames, chunk = levels.shape[1], round(CHUNK_S * FRAME_RATE)
    if n_frames == 0:
        return np.zeros((2, 0), np.float32)
    parts = []
    for start in range(0, n_frames, chunk):
        first, last = max(0, start - network.reach), min(n_frames, start + chunk + network.reach)
        part = network(levels[None, :, first:last])[0]
        parts.append(part[:, start - first : start - first + min(chunk, n_frames - start)])
    return torch.cat(parts, dim=1).numpy()


@lru_cache(maxsize=8)
def load_beat_network(directory: Path) -> BeatNetwork:
    """Read a trained network, once; see ``BeatNetwork.from_pretrained``."""
    return BeatNetwork.from_pretrained(directory)


@cache
def _mel_weights() -> Float32[np.ndarray, "mels bins"]:
    """Triangles evenly spaced in mel, each of unit sum, at least one bin wide."""
    to_mel = lambda hz: 2595.0 * np.log10(1.0 + hz / 700.0)  # noqa: E731
    mels = np.linspace(to_mel(LOWEST_HZ), to_mel(HIGHEST_HZ), N_MELS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    for row, middle in zip(weights, edges[1:-1], strict=True):
        if not row.any():
            row[np.argmin(np.abs(bins - middle))] = 1.0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
