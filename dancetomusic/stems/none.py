"""The mix itself as its stem, for music that is drums and bass already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dancetomusic.stems.base import Mix, Separator, SeparatorIdentity
from dancetomusic.types import Waveform


@dataclass(frozen=True)
class NoSeparator(Separator):
    """Takes nothing away."""

    @property
    def identity(self) -> SeparatorIdentity:
        """The name alone."""
        return SeparatorIdentity("none", "")

    def drum_and_bass(self, mixes: Sequence[Mix]) -> list[Waveform]:
        """Each mix as one channel."""
        return [mix.waveform.to_mono() for mix in mixes]
