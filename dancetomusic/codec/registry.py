"""Any codec by its name."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.codec.base import Codec
from dancetomusic.codec.encodec import EncodecCodec, is_encodec
from dancetomusic.codec.spectral import SpectralCodec


def load_codec(name: Path | str = "codec", n_codebooks: int = 2) -> Codec:
    """A codec by a directory, a released name, or an EnCodec hub id.

    Raises:
        CheckpointError: If it is missing, corrupted, or has fewer codebooks.
        DependencyError: If a hub id cannot be reached.
    """
    if is_encodec(name):
        return EncodecCodec.from_pretrained(name, n_codebooks=n_codebooks)
    return SpectralCodec.from_pretrained(name, n_codebooks=n_codebooks)
