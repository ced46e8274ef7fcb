"""What every separator offers; all other modules know only this."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dancetomusic.errors import InputError
from dancetomusic.types import Waveform


@dataclass(frozen=True)
class SeparatorIdentity:
    """What made a stem, so that it can be distinguished from another's.

    Attributes:
        name: ``spleeter``, ``demucs``, ``hpss``, ``none`` or ``stems_dir``.
        version: Of its package or program.
        weights: SHA-256 of its weights; empty if it has none.
    """

    name: str
    version: str
    weights: str = ""


@dataclass(frozen=True)
class Mix:
    """A sound to separate.

    Attributes:
        key: Names it within one call: letters, digits and hyphens only.
        waveform: The sound; at least one sample.

    Raises:
        InputError: If the key has other characters, or there is no sound.
    """

    key: str
    waveform: Waveform

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", self.key):
            raise InputError(f"mix has the key {self.key!r}", "Use letters, digits and hyphens.")
        if not self.waveform.samples.size:
            raise InputError(f"mix {self.key} has no samples", "Leave it out.")


class Separator(ABC):
    """Takes drums and bass out of mixes; a mix's stem does not depend on the rest of a call."""

    batch_size: ClassVar[int] = 1
    """Mixes a call that pay off: 1 where a call has no cost of its own."""

    @property
    @abstractmethod
    def identity(self) -> SeparatorIdentity:
        """What makes the stems.

        Raises:
            DependencyError: If its program, package or weights are not to be had.
        """

    @abstractmethod
    def drum_and_bass(self, mixes: Sequence[Mix]) -> list[Waveform]:
        """Drums plus bass of each mix: one channel, rate and length of the mix.

        Raises:
            DependencyError: If its program, package or weights are not to be had.
            InputError: If a ready stem is missing or does not fit its mix.
        """
