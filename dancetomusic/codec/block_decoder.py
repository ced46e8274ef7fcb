"""The spectral codec's decoder in NumPy, for blocks of a few frames.

For so few a call of torch costs more than what it computes: a block of three frames takes less
than half as long here (``benchmarks/bench_motion_vae.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from dancetomusic.codec.spectral import LEAST_OVERLAP, MOST_LOG_GAIN, SpectralCodecModel
from dancetomusic.nn.arrays import ArrayLayerNorm, ArrayLinear, Frames, array, gelu
from dancetomusic.nn.convnext import ConvNeXtBlock


class BlockState(NamedTuple):
    """What decoding carries from block to block; see ``codec.spectral.DecoderState``."""

    frame: int
    latent: Float32[np.ndarray, "past channels"]
    blocks: tuple[Float32[np.ndarray, "past_of_block width"], ...]
    overlap: Float[np.ndarray, "bands tail"]
    envelope: Float[np.ndarray, "bands tail"]


class BlockDecoder:
    """Does what ``SpectralCodecModel.stream_latent`` does, with the same weights.

    Args:
        model: The codec's network, on the CPU.
    """

    def __init__(self, model: SpectralCodecModel) -> None:
        self.lookahead, self.fade_in = model.LOOKAHEAD, model.fade_in
        self.hop_length, self._bands = model.config.hop_length, model.config.bands
        self._codebooks = array(model.quantizer.codebooks)
        self._project = ArrayLinear(model.quantizer.project_out)
        weight = array(model.expand.weight)  # [width, channels, taps]
        self._taps, self._lookback = weight.shape[2], model.expand.lookback
        self._expand = np.ascontiguousarray(weight.transpose(2, 1, 0)).reshape(-1, weight.shape[0])
        self._expand_bias = array(model.expand.bias)
        blocks = [block for block in model.decoder if isinstance(block, ConvNeXtBlock)]
        self._blocks = [_ConvNeXt(block) for block in blocks]
        self._norm, self._head = ArrayLayerNorm(model.norm), ArrayLinear(model.head)
        numbers = range(len(self._bands))
        self._windows = [array(getattr(model, f"window_{number}")) for number in numbers]
        self._noise = [array(getattr(model, f"noise_{number}")) for number in numbers]
        self._edges = np.cumsum(model.head_sizes)[:-1]
        self._gate_shares, self._gain_shares = array(model.gate_shares), array(model.gain_shares)
        self._ends = [np.cumsum(model.outputs_of(band))[:-1] for band in self._bands]

    def initial_state(self) -> BlockState:
        """The state before a sound."""
        tail = np.zeros((len(self._bands), 2 * self.fade_in))
        latent = np.zeros((self._lookback, self._expand.shape[0] // self._taps), np.float32)
        blocks = tuple(np.zeros(block.past_shape, np.float32) for block in self._blocks)
        return BlockState(0, latent, blocks, tail, tail)

    def decode(
        self, codes: Int64[np.ndarray, "codebooks frames_and_lookahead"], state: BlockState
    ) -> tuple[Float32[np.ndarray, " samples"], BlockState]:
        """Decode a block of frames, given the ``lookahead`` frames after it or a prediction.

        Returns:
            ``hop_length`` samples a frame of the block, ``fade_in`` samples late, and the
            state after the block.
        """
        n_frames = codes.shape[1] - self.lookahead
        entries = self._codebooks[np.arange(codes.shape[0])[:, None], codes]
        seen = np.concatenate([state.latent, self._project(entries.sum(axis=0))])
        taps = [seen[tap : tap + n_frames] for tap in range(self._taps)]
        hidden = np.concatenate(taps, axis=1) @ self._expand + self._expand_bias
        pasts = []
        for block, past in zip(self._blocks, state.blocks, strict=True):
            hidden, past = block(hidden, past)
            pasts.append(past)
        samples, overlap, envelope = self._synthesize(hidden, state)
        latent = seen[n_frames : n_frames + self._lookback]
        state = BlockState(state.frame + n_frames, latent, tuple(pasts), overlap, envelope)
        return samples, state

    def _synthesize(
        self, hidden: Frames, state: BlockState
    ) -> tuple[Float32[np.ndarray, " samples"], np.ndarray, np.ndarray]:
        """Inverse STFT: complete samples, and the overlap and envelope of those to come."""
        done = len(hidden) * self.hop_length
        overlap, envelope = (
            np.pad(before, ((0, 0), (0, done))) for before in (state.overlap, state.envelope)
        )
        outputs = np.split(self._head(self._norm(hidden)), self._edges, axis=1)
        for number, (band, window) in enumerate(zip(self._bands, self._windows, strict=True)):
            first = state.frame * band.per_code
            pieces = self._frames(number, outputs[number], first) * window
            for place, piece in enumerate(pieces):
                start = self.fade_in - band.lead + place * band.hop_length
                overlap[number, start : start + band.n_fft] += piece
                envelope[number, start : start + band.n_fft] += window**2
        samples = (overlap[:, :done] / np.maximum(envelope[:, :done], LEAST_OVERLAP)).sum(0)
        return samples.astype(np.float32), overlap[:, done:], envelope[:, done:]

    def _frames(self, number: int, output: Frames, first_frame: int) -> np.ndarray:
        """The frames of a band, as ``SpectralCodecModel`` makes them."""
        band = self._bands[number]
        output = output.reshape(len(output) * band.per_code, -1)
        log_magnitude, phase, gates, log_gains = np.split(output, self._ends[number], axis=1)
        noise = self._noise[number]
        noise = noise[(first_frame + np.arange(len(output))) % len(noise)]
        if gates.shape[1]:
            noise = noise * (1 / (1 + np.exp(-gates)) @ self._gate_shares)
        spectra = np.zeros((len(output), band.n_fft // 2 + 1), np.complex64)
        magnitude = np.exp(np.minimum(log_magnitude, np.float32(7.0)))
        spectra[:, band.low : band.high] = magnitude * np.exp(1j * (phase + noise))
        pieces = np.fft.irfft(spectra, band.n_fft)
        if band.n_gains:
            pieces *= np.exp(np.minimum(log_gains, np.float32(MOST_LOG_GAIN)) @ self._gain_shares)
        return pieces


class _ConvNeXt:
    """A causal ``ConvNeXtBlock``."""

    def __init__(self, block: ConvNeXtBlock) -> None:
        self._kernel = np.ascontiguousarray(array(block.depthwise.weight)[:, 0].T)
        self._bias = array(block.depthwise.bias)
        self._norm = ArrayLayerNorm(block.norm)
        self._expand, self._contract = ArrayLinear(block.expand), ArrayLinear(block.contract)
        self._scale = array(block.scale)
        self.past_shape = (len(self._kernel) - 1, self._kernel.shape[1])

    def __call__(self, x: Frames, past: np.ndarray) -> tuple[Frames, np.ndarray]:
        seen = np.concatenate([past, x])
        taps = len(self._kernel)
        mixed = np.stack(
            [(seen[at : at + taps] * self._kernel).sum(axis=0) for at in range(len(x))]
        )
        hidden = self._expand(self._norm(mixed + self._bias))
        hidden = self._contract(gelu(hidden))
        return x + hidden * self._scale, seen[len(x) :]
