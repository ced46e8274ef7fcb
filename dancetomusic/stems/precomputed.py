"""Stems that were made elsewhere, read from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dancetomusic.errors import InputError
from dancetomusic.io.audio import fit_length, read_audio
from dancetomusic.stems.base import Mix, Separator, SeparatorIdentity
from dancetomusic.types import Waveform

SUFFIXES = (".flac", ".wav")
_TOLERANCE_S = 0.1  # encoders round lengths


@dataclass(frozen=True)
class PrecomputedStems(Separator):
    """Finds the drums and bass of mix ``KEY`` in ``DIRECTORY/KEY.flac`` or ``KEY.wav``.

    The keys are those of the clips: build a set with the separator ``none``, separate each
    ``clips/KK/KEY/mix.flac`` with a tool of choice, and name the results by key.

    Attributes:
        directory: The folder of stems; any rate and number of channels.
    """

    directory: Path

    @property
    def identity(self) -> SeparatorIdentity:
        """The name alone: who made the stems is not known here."""
        return SeparatorIdentity("stems_dir", "")

    def drum_and_bass(self, mixes: Sequence[Mix]) -> list[Waveform]:
        """The ready stem of each mix: one channel, rate and length of the mix.

        Raises:
            InputError: If a stem is missing, unreadable, or more than 0.1 s longer or shorter
                than its mix.
        """
        return [self._read(mix) for mix in mixes]

    def _read(self, mix: Mix) -> Waveform:
        path = next(
            (
                path
                for suffix in SUFFIXES
                if (path := self.directory / f"{mix.key}{suffix}").is_file()
            ),
            None,
        )
        if path is None:
            raise InputError(
                f"{self.directory} has no stem of {mix.key}",
                f"Add {mix.key}{SUFFIXES[0]} or {mix.key}{SUFFIXES[1]}.",
            )
        stem = read_audio(path, mix.waveform.sample_rate)
        if stem is None:
            raise InputError(f"{path} has no sound", "Make the stem again.")
        if abs(stem.duration_s - mix.waveform.duration_s) > _TOLERANCE_S:
            raise InputError(
                f"{path} lasts {stem.duration_s:.2f} s, its mix {mix.waveform.duration_s:.2f} s",
                "Make the stem of the whole mix.",
            )
        return fit_length(stem, mix.waveform.samples.shape[1])
