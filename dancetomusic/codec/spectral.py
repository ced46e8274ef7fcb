"""The embedded drum-and-bass codec: spectrum in, 75 code frames a second, inverse STFT out.

References:
    Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders", 2023.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.codec.base import Codec
from dancetomusic.codec.quantizer import ResidualQuantizer
from dancetomusic.errors import ConfigError
from dancetomusic.nn.convnext import ConvNeXtBlock
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.nn.streaming import StreamingConv1d
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import CodeSequence, Waveform

LEAST_OVERLAP = 0.5
"""Sum of squared synthesis windows below which the beginning of a sound fades in."""

MOST_LOG_GAIN = 3.0
"""Of a gain within a frame, natural logarithm."""


@dataclass(frozen=True)
class SpectralCodecConfig:
    """Sizes of the codec."""

    sample_rate: int = 24_000
    """In Hz."""
    hop_length: int = 320
    """Samples a code frame."""
    n_fft: int = 1280
    """Window of analysis and synthesis, in samples."""
    n_mels: int = 96
    """Log-mel bands that the encoder sees."""
    n_low_bins: int = 40
    """Lowest complex bins that the encoder sees, for the phase of the bass."""
    encoder_channels: int = 128
    encoder_blocks: int = 4
    decoder_channels: int = 192
    decoder_blocks: int = 6
    code_dim: int = 32
    """Width in which the codebooks measure distance."""
    n_codebooks: int = 4
    """Codebooks trained; fewer can be used."""
    codebook_size: int = 1024
    phase_noise: float = 0.5
    """Random phase added above 3.5 kHz at synthesis, as a share of ±π; against hop-rate buzz."""
    fine_from_bin: int = 0
    """From this bin of the spectrum on, two frames a code are synthesised, each half as long, for
    attacks; their share of random phase is then the decoder's to choose. 0 for one frame a code."""
    n_gains: int = 0
    """Gains over the time of each frame of the fine band, evenly spaced, that its samples are
    multiplied by: an attack within a frame. 0 for none."""

    def __post_init__(self) -> None:
        if self.n_fft % self.hop_length or (self.n_fft - self.hop_length) % 2:
            raise ConfigError(
                f"n_fft {self.n_fft} and hop {self.hop_length} do not fit",
                "Make n_fft an even number of hops longer than one hop.",
            )
        if not 0 <= self.fine_from_bin < self.n_fft // 2 or self.fine_from_bin % 2:
            raise ConfigError(
                f"fine_from_bin is {self.fine_from_bin}", "Give an even bin of the spectrum."
            )

    @property
    def bands(self) -> tuple[SynthesisBand, ...]:
        """How a sound is synthesised, from the lowest band up."""
        n_fft, hop, cut = self.n_fft, self.hop_length, self.fine_from_bin
        if not cut:
            return (SynthesisBand(n_fft, hop, 0, n_fft // 2 + 1, 1),)
        return (
            SynthesisBand(n_fft, hop, 0, cut, 1),
            SynthesisBand(n_fft // 2, hop // 2, cut // 2, n_fft // 4 + 1, 2, self.n_gains),
        )


@dataclass(frozen=True)
class SynthesisBand:
    """A range of frequencies that is synthesised by an inverse STFT of its own.

    Attributes:
        low: Its first bin.
        high: The bin after its last.
        per_code: Frames a code.
        n_gains: Gains over the time of a frame.
    """

    n_fft: int
    hop_length: int
    low: int
    high: int
    per_code: int
    n_gains: int = 0

    @property
    def bins(self) -> int:
        """How many bins it has."""
        return self.high - self.low

    @property
    def lead(self) -> int:
        """Samples of the first frame's window before the first sample of the sound."""
        return (self.n_fft - self.hop_length) // 2


@dataclass(frozen=True)
class DecoderState:
    """What decoding carries from block to block."""

    frame: Int64[Tensor, "#batch 1"]
    """Number of the next frame in its sound: the phase noise depends on it."""
    latent: Float32[Tensor, "batch channels past"] | None
    """Past of the first convolution; ``None`` before the first frame."""
    blocks: tuple[Float32[Tensor, "batch width past_of_block"] | None, ...]
    """Past of each ConvNeXt block."""
    overlap: Float32[Tensor, "bands _ tail"]
    """Sum of the windowed frames so far, from the first sample that is not complete on."""
    envelope: Float32[Tensor, "bands 1 tail"]
    """Sum of their squared windows."""

    def tail(self) -> Float32[Tensor, "#batch tail"]:
        """The incomplete samples, if no frame follows."""
        return (self.overlap / self.envelope.clamp(min=LEAST_OVERLAP)).sum(0)


class SpectralCodecModel(PretrainedModule):
    """Encoder, quantiser and decoder; all of them at the code frame rate.

    Frame ``t`` is centred on its own samples ``[t * hop, (t + 1) * hop)``. The decoder's first
    convolution sees ``LOOKAHEAD`` frames ahead, and the synthesis windows overlap: a sample is
    complete when the frames are known whose window it lies in.
    """

    NOISE_FRAMES = 1024
    LOOKAHEAD = 2
    NOISE_GATES = 24
    """Neighbouring bins of the fine band share a gate of random phase."""

    window_0: Tensor
    mel: Tensor
    gate_shares: Tensor
    gain_shares: Tensor

    MODEL, CONFIG = "codec", SpectralCodecConfig

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer(
            "mel", mel_filters(config.sample_rate, config.n_fft, config.n_mels), persistent=False
        )
        for number, band in enumerate(config.bands):
            window = torch.hann_window(band.n_fft)
            self.register_buffer(f"window_{number}", window, persistent=False)
            self.register_buffer(f"noise_{number}", self._make_noise(band), persistent=False)
        gates = torch.zeros(self.NOISE_GATES, config.bands[-1].bins)
        octaves = torch.linspace(1, 16, gates.shape[1]).log2() / 4 * (self.NOISE_GATES - 1)
        gates.scatter_(0, octaves.round().long()[None], 1.0)
        self.register_buffer("gate_shares", gates, persistent=False)
        fine = config.bands[-1]
        self.register_buffer(
            "gain_shares", interpolation(fine.n_gains, fine.n_fft), persistent=False
        )
        width = config.encoder_channels
        self.analyse = nn.Conv1d(config.n_mels + 2 * config.n_low_bins, width, 5, padding=2)
        self.encoder = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(config.encoder_blocks)))
        self.quantizer = ResidualQuantizer(
            width,
            n_codebooks=config.n_codebooks,
            codebook_size=config.codebook_size,
            code_dim=config.code_dim,
        )
        wide = config.decoder_channels
        self.expand = StreamingConv1d(width, wide, 5, lookahead=self.LOOKAHEAD)
        self.decoder = nn.Sequential(
            *(ConvNeXtBlock(wide, lookahead=0) for _ in range(config.decoder_blocks))
        )
        self.norm = nn.LayerNorm(wide)
        self.head = nn.Linear(wide, sum(self.head_sizes))

    @property
    def fade_in(self) -> int:
        """Samples that decoding gives before the first sample of the first frame."""
        return (self.config.n_fft - self.config.hop_length) // 2

    @property
    def head_sizes(self) -> list[int]:
        """Outputs of the last layer for each band."""
        return [band.per_code * sum(self.outputs_of(band)) for band in self.config.bands]

    def outputs_of(self, band: SynthesisBand) -> list[int]:
        """Outputs for each frame: magnitudes, phases and, if fine, gates and logarithmic gains."""
        return [band.bins, band.bins, self.NOISE_GATES * (band.per_code > 1), band.n_gains]

    def _make_noise(self, band: SynthesisBand) -> Float32[Tensor, "frames bins"]:
        """Random phase of each frame: what is added, or of a fine band the most that can be."""
        generator = torch.Generator().manual_seed(0)
        uniform = torch.rand(self.NOISE_FRAMES, band.bins, generator=generator) * 2 - 1
        if band.per_code > 1:
            return uniform * torch.pi
        frequency = torch.arange(band.bins) * (self.config.sample_rate / band.n_fft)
        ramp = ((frequency - 2000) / 1500).clamp(0, 1) * torch.pi * self.config.phase_noise
        return uniform * ramp

    def encode_latent(
        self, samples: Float32[Tensor, "batch samples"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """Latent per code frame; the last frame is filled with silence."""
        config = self.config
        frames = -(-samples.shape[1] // config.hop_length)
        side = (config.n_fft - config.hop_length) // 2
        missing = frames * config.hop_length - samples.shape[1]
        padded = functional.pad(samples, (side, side + missing))
        spectrum = torch.stft(
            padded, config.n_fft, config.hop_length, window=self.window_0, center=False,
            return_complex=True,
        )  # fmt: skip
        log_mel = (torch.log(self.mel @ spectrum.abs() + 1e-4) + 3) / 3
        low = spectrum[:, : config.n_low_bins]
        low = low * (low.abs() + 1e-3).pow(-0.6)
        features = torch.cat([log_mel, low.real * 0.5, low.imag * 0.5], dim=1)
        return self.encoder(self.analyse(features)).transpose(1, 2)

    def initial_state(self, first_frame: int | Int64[Tensor, " batch"] = 0) -> DecoderState:
        """The state before a sound, or before frame ``first_frame`` of it."""
        n_bands = len(self.config.bands)
        tail = self.window_0.new_zeros(n_bands, 1, self.config.n_fft - self.config.hop_length)
        frame = torch.as_tensor(first_frame, device=tail.device).reshape(-1, 1)
        return DecoderState(frame, None, (None,) * self.config.decoder_blocks, tail, tail)

    def stream_latent(
        self,
        latent: Float32[Tensor, "batch frames_and_lookahead channels"],
        state: DecoderState,
    ) -> tuple[Float32[Tensor, "batch samples"], DecoderState]:
        """Decode a block of frames, given the ``LOOKAHEAD`` frames after it.

        Args:
            latent: The block and what follows it, which may be a prediction: it only colours
                the block, and is given again when its turn comes.
            state: What the call before returned.

        Returns:
            ``hop_length`` samples a frame of the block, ``fade_in`` samples late, and the
            state after the block.
        """
        hidden, past = self.expand.stream(latent.transpose(1, 2), state.latent)
        pasts = []
        for block, past_of_block in zip(self.decoder, state.blocks, strict=True):
            hidden, seen = cast(ConvNeXtBlock, block).stream(hidden, past_of_block)
            pasts.append(seen)
        outputs = self.head(self.norm(hidden.transpose(1, 2))).split(self.head_sizes, dim=-1)
        done = hidden.shape[2] * self.config.hop_length
        overlaps, envelopes = [], []
        for number, (band, output) in enumerate(zip(self.config.bands, outputs, strict=True)):
            window = cast(Tensor, getattr(self, f"window_{number}"))
            pieces = self._frames(number, output, state.frame)
            squares = window.square().expand(1, pieces.shape[1], -1)
            overlaps.append(self._overlap_add(band, pieces * window, state.overlap[number]))
            envelopes.append(self._overlap_add(band, squares, state.envelope[number]))
        overlap, envelope = torch.stack(overlaps), torch.stack(envelopes)
        samples = overlap[..., :done] / envelope[..., :done].clamp(min=LEAST_OVERLAP)
        frame = state.frame + hidden.shape[2]
        return samples.sum(0), DecoderState(
            frame, past, tuple(pasts), overlap[..., done:], envelope[..., done:]
        )

    def _frames(
        self,
        number: int,
        output: Float32[Tensor, "batch codes outputs"],
        first_frame: Int64[Tensor, "#batch 1"],
    ) -> Float32[Tensor, "batch frames n_fft"]:
        """The frames of a band from what the last layer says of it, not windowed."""
        band = self.config.bands[number]
        frames = output.shape[1] * band.per_code
        log_magnitude, phase, gates, log_gains = (
            output.unflatten(2, (band.per_code, -1))
            .flatten(1, 2)
            .split(self.outputs_of(band), dim=-1)
        )
        numbers = first_frame * band.per_code + torch.arange(frames, device=output.device)
        noise = cast(Tensor, getattr(self, f"noise_{number}"))[numbers % self.NOISE_FRAMES]
        if gates.shape[-1]:
            noise = noise * (gates.sigmoid() @ self.gate_shares)
        spectrum = torch.polar(log_magnitude.clamp(max=7.0).exp(), phase + noise)
        above = band.n_fft // 2 + 1 - band.high
        pieces = torch.fft.irfft(functional.pad(spectrum, (band.low, above)), band.n_fft)
        if band.n_gains:
            pieces = pieces * (log_gains.clamp(max=MOST_LOG_GAIN) @ self.gain_shares).exp()
        return pieces

    def _overlap_add(
        self,
        band: SynthesisBand,
        pieces: Float32[Tensor, "batch frames n_fft"],
        before: Float32[Tensor, "#batch tail"],
    ) -> Float32[Tensor, "batch samples"]:
        """Sum of windows a hop apart, and of what those before them left."""
        done = pieces.shape[1] * band.hop_length
        total = done + band.n_fft - band.hop_length
        summed = functional.fold(
            pieces.transpose(1, 2), (1, total), (1, band.n_fft), stride=(1, band.hop_length)
        )[:, 0, 0]
        # Shorter windows begin later, and end earlier.
        spare = self.fade_in - band.lead
        return functional.pad(summed, (spare, spare)) + functional.pad(before, (0, done))

    def decode_latent(
        self,
        latent: Float32[Tensor, "batch frames channels"],
        first_frame: int | Int64[Tensor, " batch"] = 0,
    ) -> Float32[Tensor, "batch samples"]:
        """Samples of a whole latent whose first frame is number ``first_frame`` of its sound."""
        followed = functional.pad(latent, (0, 0, 0, self.LOOKAHEAD))
        samples, state = self.stream_latent(followed, self.initial_state(first_frame))
        whole = torch.cat([samples, state.tail()], dim=1)
        return whole[:, self.fade_in : self.fade_in + samples.shape[1]]

    def encode(
        self, samples: Float32[Tensor, "batch samples"], n_codebooks: int
    ) -> Int64[Tensor, "batch codebooks frames"]:
        """Codes of a sound."""
        return self.quantizer.encode(self.encode_latent(samples), n_codebooks)

    def decode(
        self, codes: Int64[Tensor, "batch codebooks frames"], first_frame: int = 0
    ) -> Float32[Tensor, "batch samples"]:
        """Sound of codes, ``hop_length`` samples a frame."""
        return self.decode_latent(self.quantizer.decode(codes), first_frame)


class SpectralCodec(Codec):
    """The embedded codec with its weights."""

    def __init__(self, model: SpectralCodecModel, *, n_codebooks: int = 2) -> None:
        if not 1 <= n_codebooks <= model.config.n_codebooks:
            raise ConfigError(
                f"{n_codebooks} codebooks were asked for",
                f"Choose 1 to {model.config.n_codebooks}.",
            )
        self.model = model.eval().requires_grad_(False)
        self.n_codebooks = n_codebooks
        self.sample_rate, self.hop_length = model.config.sample_rate, model.config.hop_length
        self.codebook_size = model.config.codebook_size
        self.latent_channels = model.config.encoder_channels
        self.identity = f"spectral:{_digest_of_codes(model)}"
        """``spectral:`` and a digest of encoder and codebooks; the decoder may be retrained."""

    @classmethod
    def from_pretrained(
        cls, directory: Path | str = "codec", *, n_codebooks: int = 2
    ) -> SpectralCodec:
        """Load a checkpoint by its directory or released name.

        Raises:
            CheckpointError: If it is missing, corrupted or foreign.
        """
        model = SpectralCodecModel.from_pretrained(locate_checkpoint(directory))
        return cls(model, n_codebooks=n_codebooks)

    def to(self, device: str) -> SpectralCodec:
        """The same codec with its weights on a device."""
        self.model.to(device)
        return self

    def embed(
        self, shares: Float32[Tensor, "batch codebooks frames entries"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """The expected latent of codes sampled by their shares; differentiable."""
        return self.model.quantizer.expected(shares)

    def decode_latent(
        self, latent: Float32[Tensor, "batch frames channels"]
    ) -> Float32[Tensor, "batch samples"]:
        """Sound of a latent; differentiable."""
        return self.model.decode_latent(latent)

    @torch.inference_mode()
    def encode(self, waveform: Waveform) -> CodeSequence:
        """Codes of a sound; other rates and channel counts are converted first."""
        from dancetomusic.io.audio import resample

        mono = resample(waveform.to_mono(), self.sample_rate)
        codes = self.model.encode(torch.from_numpy(mono.samples), self.n_codebooks)
        return CodeSequence(codes[0].numpy(), self.frame_rate, self.identity)

    def decoder_stream(self) -> SpectralDecoderStream:
        """A decoder that takes its codes in chunks."""
        return SpectralDecoderStream(self.model)


class SpectralDecoderStream:
    """Decodes codes that arrive in chunks; joined they equal one offline decode."""

    def __init__(self, model: SpectralCodecModel) -> None:
        self._model = model
        self._reset()

    def _reset(self) -> None:
        self._state = self._model.initial_state()
        self._waiting = self._model.window_0.new_zeros(1, 0, self._model.config.encoder_channels)
        self._fade_in = self._model.fade_in

    @torch.inference_mode()
    def push(self, codes: Int[np.ndarray, "codebooks frames"]) -> Float32[np.ndarray, " samples"]:
        """Take more code frames; return the samples that can no longer change."""
        latent = self._model.quantizer.decode(torch.from_numpy(codes.astype(np.int64)[None]))
        known = torch.cat([self._waiting, latent], dim=1)
        self._waiting = known[:, max(0, known.shape[1] - self._model.LOOKAHEAD) :]
        if known.shape[1] <= self._model.LOOKAHEAD:
            return np.zeros(0, np.float32)
        samples, self._state = self._model.stream_latent(known, self._state)
        return self._without_fade_in(samples)

    @torch.inference_mode()
    def flush(self) -> Float32[np.ndarray, " samples"]:
        """Return the samples still held back and start again."""
        samples = self._waiting.new_zeros(1, 0)
        if self._waiting.shape[1]:
            followed = functional.pad(self._waiting, (0, 0, 0, self._model.LOOKAHEAD))
            samples, state = self._model.stream_latent(followed, self._state)
            samples = torch.cat([samples, state.tail()[:, : self._model.fade_in]], dim=1)
        last = self._without_fade_in(samples)
        self._reset()
        return last

    def _without_fade_in(
        self, samples: Float32[Tensor, "1 samples"]
    ) -> Float32[np.ndarray, " rest"]:
        skipped = min(self._fade_in, samples.shape[1])
        self._fade_in -= skipped
        return samples[0, skipped:].numpy()


def interpolation(n_values: int, length: int) -> Float32[Tensor, "values length"]:
    """Shares of evenly spaced values in a line from each to the next; level before and after."""
    place = (torch.arange(length) + 0.5) / length * n_values - 0.5
    place = place.clamp(0, max(n_values - 1, 0))
    return (1 - (place - torch.arange(n_values)[:, None]).abs()).clamp(min=0)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> Float32[Tensor, "mels bins"]:
    """Triangular filters, evenly spaced in mel (HTK formula), each summing to one."""
    frequency = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, n_mels + 2) / 2595) - 1)
    # A band narrower than a bin would be empty: widen the lowest ones to reach one bin.
    width = sample_rate / n_fft
    low = torch.minimum(edges[:-2], edges[1:-1] - width)
    high = torch.maximum(edges[2:], edges[1:-1] + width)
    up = (frequency - low[:, None]) / (edges[1:-1] - low)[:, None]
    down = (high[:, None] - frequency) / (high - edges[1:-1])[:, None]
    filters = torch.minimum(up, down).clamp_min(0)
    return filters / filters.sum(1, keepdim=True)


def _digest_of_codes(model: SpectralCodecModel) -> str:
    """Digest of all tensors that decide the codes, in the precision they are stored in."""
    digest = hashlib.sha256()
    for part in (model.analyse, model.encoder, model.quantizer.project_in):
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(name.encode() + tensor.half().cpu().numpy().tobytes())
    digest.update(model.quantizer.codebooks.half().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
