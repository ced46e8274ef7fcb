"""What every codec offers; all other modules know only this."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int

from dancetomusic.types import CodeSequence, Waveform


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

    @property
    def identity(self) -> str:
        """Name and digest of the weights: codes mean nothing to another codec."""
        ...

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples a code frame."""
        ...

    @property
    def frame_rate(self) -> float:
        """Code frames a second."""
        ...

    @property
    def n_codebooks(self) -> int:
        """Codebooks used for encoding."""
        ...

    @property
    def codebook_size(self) -> int:
        """Entries in each codebook."""
        ...

    def encode(self, waveform: Waveform) -> CodeSequence:
        """Codes of a sound; other rates and channel counts are converted first."""
        ...

    def decode(self, codes: CodeSequence) -> Waveform:
        """Mono sound of the codes.

        Raises:
            CheckpointError: If another codec made the codes.
        """
        ...

    def decoder_stream(self) -> DecoderStream:
        """A decoder that takes its codes in chunks."""
        ...
