"""What every codec offers; all other modules know only this."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int

from dancetomusic.errors import CheckpointError
from dancetomusic.types import CodeSequence, Waveform

DECODED_AT_ONCE_S = 30.0
"""Length of the chunks in which long sounds are decoded, in constant memory."""


@runtime_checkable
class DecoderStream(Protocol):
    """Decodes codes that arrive in chunks; the chunks joined equal one offline decode."""

    def push(self, codes: Int[np.ndarray, "codebooks frames"]) -> Float32[np.ndarray, " samples"]:
        """Take more code frames; return the samples that can no longer change."""
        ...

    def flush(self) -> Float32[np.ndarray, " samples"]:
        """Return the samples still held back and start again."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Sound as residual-quantiser indices.

    Code frame ``t`` covers the samples from ``t * hop_length``; ``decode`` returns exactly
    ``frames * hop_length`` samples, and ``encode`` rounds the frame count up.
    """

    identity: str
    """Name and digest of the weights: codes mean nothing to another codec."""
    sample_rate: int
    """In Hz."""
    hop_length: int
    """Samples a code frame."""
    n_codebooks: int
    """Codebooks used for encoding."""
    codebook_size: int
    """Entries in each codebook."""

    @property
    def frame_rate(self) -> float:
        """Code frames a second."""
        return self.sample_rate / self.hop_length

    def encode(self, waveform: Waveform) -> CodeSequence:
        """Codes of a sound; other rates and channel counts are converted first."""
        ...

    def decoder_stream(self) -> DecoderStream:
        """A decoder that takes its codes in chunks."""
        ...

    def decode(self, codes: CodeSequence) -> Waveform:
        """Mono sound of the codes.

        Raises:
            CheckpointError: If another codec made the codes.
        """
        if codes.codec_id != self.identity:
            raise CheckpointError(
                f"codes were made by codec {codes.codec_id}, not {self.identity}",
                "Decode them with their own codec.",
            )
        stream = self.decoder_stream()
        step = round(DECODED_AT_ONCE_S * self.frame_rate)
        starts = range(0, codes.codes.shape[1], step)
        chunks = [stream.push(codes.codes[:, start : start + step]) for start in starts]
        return Waveform(np.concatenate([*chunks, stream.flush()])[None], self.sample_rate)
