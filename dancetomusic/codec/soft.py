"""What a codec offers so that a gradient can go through it: shares of codes in, sound out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float32
from torch import Tensor


@runtime_checkable
class SoftDecoder(Protocol):
    """A codec with differentiable codebooks and decoder; its own weights are frozen."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        ...

    @property
    def latent_channels(self) -> int:
        """Width of an embedded code frame."""
        ...

    def to(self, device: str) -> SoftDecoder:
        """The same codec with its weights on a device such as ``cuda:0``."""
        ...

    def embed(
        self, shares: Float32[Tensor, "batch codebooks frames entries"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """The expected latent when each code is drawn by its shares, which sum to 1."""
        ...

    def decode_latent(
        self, latent: Float32[Tensor, "batch frames channels"]
    ) -> Float32[Tensor, "batch samples"]:
        """Sound of a latent."""
        ...
