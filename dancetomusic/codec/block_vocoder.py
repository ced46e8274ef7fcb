"""The codec's decoder for an instrument: blocks of a few frames, with nothing computed twice."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from dancetomusic.codec.spectral import SpectralCodecModel
from dancetomusic.nn.convnext import ConvNeXtBlock
from dancetomusic.nn.single_frame import FrameConvNeXt, FrameLinear, FrameNorm, array_of

LEAST_OVERLAP = 0.5
"""Sum of squared windows below which the beginning of a sound fades in."""


class BlockVocoder:
    """Plays code frames as they are known, as ``SpectralCodecModel.decode`` plays all at once.

    Joined, its blocks are that sound, ``delay`` samples late.

    Args:
        model: The codec's network.
    """

    AHEAD = 2
    """Frames of the future that its first convolution sees."""

    def __init__(self, model: SpectralCodecModel) -> None:
        self._config, self._noise_frames = model.config, model.NOISE_FRAMES
        self._books = array_of(model.quantizer.codebooks)
        self._project = FrameLinear(model.quantizer.project_out)
        weight = array_of(model.expand.weight).transpose(0, 2, 1)
        self._expand = np.ascontiguousarray(weight).reshape(weight.shape[0], -1)
        self._expand_bias = array_of(model.expand.bias)
        blocks = [block for block in model.decoder if isinstance(block, ConvNeXtBlock)]
        self._blocks = [FrameConvNeXt(block) for block in blocks]
        self._norm, self._head = FrameNorm(model.norm), FrameLinear(model.head)
        self._noise, self._window = array_of(model.noise), array_of(model.window)
        self.reset()

    @property
    def delay(self) -> int:
        """Samples of fade-in before the first sample of the first code frame."""
        return (self._config.n_fft - self._config.hop_length) // 2

    def reset(self) -> None:
        """Begin a new sound."""
        config = self._config
        none = np.zeros(config.encoder_channels, np.float32)
        self._latents = [none] * self.AHEAD
        self._pasts = [block.start() for block in self._blocks]
        self._sum, self._envelope = np.zeros(config.n_fft), np.zeros(config.n_fft)
        self._frame = 0

    def push(
        self,
        codes: Int64[np.ndarray, "codebooks frames"],
        ahead: Int64[np.ndarray, "codebooks later"],
    ) -> Float32[np.ndarray, " samples"]:
        """Decode frames, given the ``AHEAD`` frames that are expected after them."""
        n_frames = codes.shape[1]
        known = [self._latent(column) for column in (*codes.T, *ahead.T)]
        seen = self._latents + known
        self._latents = seen[n_frames : n_frames + self.AHEAD]
        width = 2 * self.AHEAD + 1
        return np.concatenate([self._play(seen[at : at + width]) for at in range(n_frames)])

    def _latent(self, codes: Int64[np.ndarray, " codebooks"]) -> Float32[np.ndarray, " channels"]:
        return self._project(self._books[np.arange(codes.size), codes].sum(axis=0))

    def _play(
        self, seen: list[Float32[np.ndarray, " channels"]]
    ) -> Float32[np.ndarray, " samples"]:
        """Samples that are done when the frame in the middle of those seen is known."""
        hidden = self._expand @ np.concatenate(seen) + self._expand_bias
        for number, block in enumerate(self._blocks):
            hidden, self._pasts[number] = block(hidden, self._pasts[number])
        log_magnitude, phase = np.split(self._head(self._norm(hidden)), 2)
        phase = phase + self._noise[self._frame % self._noise_frames]
        magnitude = np.exp(np.minimum(log_magnitude, np.float32(7.0)))
        self._frame += 1
        spectrum = magnitude * (np.cos(phase) + 1j * np.sin(phase))
        return self._overlap(np.fft.irfft(spectrum, self._config.n_fft) * self._window)

    def _overlap(self, piece: np.ndarray) -> Float32[np.ndarray, " samples"]:
        hop = self._config.hop_length
        self._sum += piece
        self._envelope += self._window**2
        done = self._sum[:hop] / np.maximum(self._envelope[:hop], LEAST_OVERLAP)
        for held in (self._sum, self._envelope):
            held[:-hop] = held[hop:]
            held[-hop:] = 0.0
        return done.astype(np.float32)
