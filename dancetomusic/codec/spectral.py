"""The embedded drum-and-bass codec: spectrum in, 75 code frames a second, inverse STFT out.

References:
    Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders", 2023.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.checkpoint import load_module, save_checkpoint
from dancetomusic.codec.quantizer import ResidualQuantizer
from dancetomusic.config import config_from_dict, config_to_dict
from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.nn.convnext import ConvNeXtBlock
from dancetomusic.types import CodeSequence, Waveform

MODEL = "codec"


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
    """Width in which the books measure distance."""
    n_codebooks: int = 4
    """Books trained; fewer can be used."""
    codebook_size: int = 1024
    phase_noise: float = 0.5
    """Random phase added above 3.5 kHz at synthesis, as a share of ±π; against hop-rate buzz."""

    def __post_init__(self) -> None:
        if self.n_fft % self.hop_length or (self.n_fft - self.hop_length) % 2:
            raise ConfigError(
                f"n_fft {self.n_fft} and hop {self.hop_length} do not fit",
                "Make n_fft an even number of hops longer than one hop.",
            )


class SpectralCodecModel(nn.Module):
    """Encoder, quantiser and decoder; all of them at the code frame rate.

    Frame ``t`` is centred on its own samples ``[t * hop, (t + 1) * hop)``. The decoder looks
    ``LOOKAHEAD`` frames ahead and ``context`` back, so it can run on a stream of codes.
    """

    NOISE_FRAMES = 1024
    LOOKAHEAD = 4
    """Two frames in the first convolution, two in the overlap of the synthesis windows."""

    window: Tensor
    mel: Tensor
    noise: Tensor

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.n_fft // 2 + 1
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer(
            "mel", mel_filters(config.sample_rate, config.n_fft, config.n_mels), persistent=False
        )
        self.register_buffer("noise", self._make_noise(bins), persistent=False)
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
        self.expand = nn.Conv1d(width, wide, 5, padding=2)
        self.decoder = nn.Sequential(
            *(ConvNeXtBlock(wide, lookahead=0) for _ in range(config.decoder_blocks))
        )
        self.norm = nn.LayerNorm(wide)
        self.head = nn.Linear(wide, 2 * bins)

    @property
    def context(self) -> int:
        """Past code frames that a decoded sample depends on."""
        return 2 + 2 + (ConvNeXtBlock.KERNEL - 1) * self.config.decoder_blocks

    def _make_noise(self, bins: int) -> Float32[Tensor, "frames bins"]:
        generator = torch.Generator().manual_seed(0)
        frequency = torch.linspace(0, self.config.sample_rate / 2, bins)
        ramp = ((frequency - 2000) / 1500).clamp(0, 1) * torch.pi * self.config.phase_noise
        uniform = torch.rand(self.NOISE_FRAMES, bins, generator=generator) * 2 - 1
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
            padded, config.n_fft, config.hop_length, window=self.window, center=False,
            return_complex=True,
        )  # fmt: skip
        log_mel = (torch.log(self.mel @ spectrum.abs() + 1e-4) + 3) / 3
        low = spectrum[:, : config.n_low_bins]
        low = low * (low.abs() + 1e-3).pow(-0.6)
        features = torch.cat([log_mel, low.real * 0.5, low.imag * 0.5], dim=1)
        return self.encoder(self.analyse(features)).transpose(1, 2)

    def decode_latent(
        self,
        latent: Float32[Tensor, "batch frames channels"],
        first_frame: int | Int64[Tensor, " batch"] = 0,
    ) -> Float32[Tensor, "batch samples"]:
        """Samples of a latent whose first frame is number ``first_frame`` of its sound."""
        hidden = self.decoder(self.expand(latent.transpose(1, 2)))
        log_magnitude, phase = self.head(self.norm(hidden.transpose(1, 2))).chunk(2, dim=-1)
        start = torch.as_tensor(first_frame, device=latent.device).reshape(-1, 1)
        number = start + torch.arange(latent.shape[1], device=latent.device)
        phase = phase + self.noise[number % self.NOISE_FRAMES]
        magnitude = log_magnitude.clamp(max=7.0).exp()
        return self._overlap_add(torch.polar(magnitude, phase))

    def _overlap_add(
        self,
        spectrum: Tensor,  # complex, [batch, frames, bins]
    ) -> Float32[Tensor, "batch samples"]:
        config = self.config
        pieces = torch.fft.irfft(spectrum, config.n_fft) * self.window
        frames = pieces.shape[1]
        total = (frames - 1) * config.hop_length + config.n_fft
        side = (config.n_fft - config.hop_length) // 2

        def fold(columns: Tensor) -> Tensor:
            return functional.fold(
                columns, (1, total), (1, config.n_fft), stride=(1, config.hop_length)
            )[:, 0, 0, side : total - side]

        sound = fold(pieces.transpose(1, 2))
        envelope = fold(self.window.square()[None, :, None].expand(1, -1, frames))
        return sound / envelope

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


class SpectralCodec:
    """The embedded codec with its weights; see ``dancetomusic.codec.base.Codec``.

    Args:
        model: The network.
        n_codebooks: Books to encode with.
    """

    def __init__(self, model: SpectralCodecModel, *, n_codebooks: int = 2) -> None:
        if not 1 <= n_codebooks <= model.config.n_codebooks:
            raise ConfigError(
                f"{n_codebooks} codebooks were asked for",
                f"Choose 1 to {model.config.n_codebooks}.",
            )
        self.model = model.eval().requires_grad_(False)
        self._n_codebooks = n_codebooks
        self._identity = f"spectral:{_digest_of_codes(model)}"

    @classmethod
    def from_pretrained(cls, directory: Path | str, *, n_codebooks: int = 2) -> SpectralCodec:
        """Load a checkpoint directory.

        Raises:
            CheckpointError: If it is missing, corrupted or foreign.
        """
        model = load_module(
            directory,
            model=MODEL,
            build=lambda config: SpectralCodecModel(config_from_dict(SpectralCodecConfig, config)),
        )
        return cls(model, n_codebooks=n_codebooks)

    def save_pretrained(self, directory: Path | str, metadata: dict[str, Any]) -> None:
        """Write a checkpoint directory, in float16."""
        save_checkpoint(
            directory,
            model=MODEL,
            config=config_to_dict(self.model.config),
            tensors=self.model.state_dict(),
            metadata=metadata,
        )

    @property
    def identity(self) -> str:
        """``spectral:`` and a digest of encoder and books; the decoder may be retrained."""
        return self._identity

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.model.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples a code frame."""
        return self.model.config.hop_length

    @property
    def frame_rate(self) -> float:
        """Code frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def n_codebooks(self) -> int:
        """Codebooks used for encoding."""
        return self._n_codebooks

    @property
    def codebook_size(self) -> int:
        """Entries in each codebook."""
        return self.model.config.codebook_size

    @property
    def latent_channels(self) -> int:
        """Width of an embedded code frame."""
        return self.model.config.encoder_channels

    def to(self, device: str) -> SpectralCodec:
        """The same codec with its weights on a device."""
        self.model.to(device)
        return self

    def embed(
        self, shares: Float32[Tensor, "batch codebooks frames entries"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """The expected latent when each code is drawn by its shares; differentiable."""
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
        codes = self.model.encode(torch.from_numpy(mono.samples), self._n_codebooks)
        return CodeSequence(codes[0].numpy(), self.frame_rate, self.identity)

    @torch.inference_mode()
    def decode(self, codes: CodeSequence) -> Waveform:
        """Mono sound of the codes.

        Raises:
            CheckpointError: If another codec made them.
        """
        if codes.codec_id != self.identity:
            raise CheckpointError(
                f"codes were made by codec {codes.codec_id}, not {self.identity}",
                "Decode them with their own codec.",
            )
        stream = self.decoder_stream()
        step = 30 * round(self.frame_rate)  # constant memory for long sounds
        chunks = [
            stream.push(codes.codes[:, start : start + step])
            for start in range(0, codes.codes.shape[1], step)
        ]
        samples = np.concatenate([*chunks, stream.flush()])
        return Waveform(samples[None], self.sample_rate)

    def decoder_stream(self) -> SpectralDecoderStream:
        """A decoder that takes its codes in chunks."""
        return SpectralDecoderStream(self.model)


class SpectralDecoderStream:
    """Decodes chunks with enough context that joined they equal one offline decode."""

    def __init__(self, model: SpectralCodecModel) -> None:
        self._model = model
        self._reset()

    def _reset(self) -> None:
        self._held = np.zeros((0, 0), np.int64)  # codes that samples still to come depend on
        self._first = 0  # number of the first held frame
        self._done = 0  # frames emitted

    @torch.inference_mode()
    def push(self, codes: Int[np.ndarray, "codebooks frames"]) -> Float32[np.ndarray, " samples"]:
        """Take more code frames; return the samples that can no longer change."""
        self._append(codes)
        return self._emit(self._first + self._held.shape[1] - self._model.LOOKAHEAD)

    @torch.inference_mode()
    def flush(self) -> Float32[np.ndarray, " samples"]:
        """Return the samples still held back and start anew."""
        tail = self._emit(self._first + self._held.shape[1])
        self._reset()
        return tail

    def _append(self, codes: Int[np.ndarray, "codebooks frames"]) -> None:
        fresh = codes.astype(np.int64)
        self._held = np.concatenate([self._held, fresh], 1) if self._held.size else fresh

    def _emit(self, until: int) -> Float32[np.ndarray, " samples"]:
        if until <= self._done:
            return np.zeros(0, np.float32)
        hop = self._model.config.hop_length
        samples = self._model.decode(torch.from_numpy(self._held[None]), self._first)[0]
        ready = samples[(self._done - self._first) * hop : (until - self._first) * hop].numpy()
        self._done = until
        keep_from = max(0, until - self._model.context)
        self._held = self._held[:, keep_from - self._first :]
        self._first = keep_from
        return ready


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
