"""Drums and bass by harmonic-percussive separation, where no trained separator is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dancetomusic.stems.base import Mix, Separator, SeparatorIdentity
from dancetomusic.types import Waveform

BASS_LIMIT_HZ = 180.0
_VERSION = "1"  # of the method: another output needs another number
_WINDOW = 2048
_HOP = 1024
_FRAMES_HARMONIC = 31
_BINS_PERCUSSIVE = 17


@dataclass(frozen=True)
class HpssSeparator(Separator):
    """The percussive part of a mix, and all of it below 180 Hz.

    A rough separation: vocal consonants stay in, and drums lose their sustained tones. Each
    point of the spectrogram is weighed by a soft mask of two medians: over the time around it
    (what lasts) and over the frequencies around it (what strikes). Needs no further package.

    References:
        Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """

    @property
    def identity(self) -> SeparatorIdentity:
        """The name and version of the method."""
        return SeparatorIdentity("hpss", _VERSION)

    def drum_and_bass(self, mixes: Sequence[Mix]) -> list[Waveform]:
        """Drums plus bass of each mix: one channel, rate, length and level of the mix."""
        return [_separate(mix.waveform) for mix in mixes]


def _separate(sound: Waveform) -> Waveform:
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    mono = sound.to_mono().samples[0]
    window = hann(_WINDOW, sym=False).astype(np.float32)
    transform = ShortTimeFFT(window, _HOP, sound.sample_rate)
    padded = np.pad(mono, (0, max(0, _WINDOW - mono.size)))
    spectrum = transform.stft(padded)
    magnitude = np.abs(spectrum)
    first = int(np.searchsorted(transform.f, BASS_LIMIT_HZ))  # the first bin above the bass
    below = max(0, first - _BINS_PERCUSSIVE // 2)
    lasting = _medians(magnitude[first:], _FRAMES_HARMONIC) ** 2
    striking = _medians(magnitude[below:].T, _BINS_PERCUSSIVE).T[first - below :] ** 2
    spectrum[first:] *= striking / (striking + lasting + np.finfo(np.float32).tiny)
    part = transform.istft(spectrum, k1=padded.size)[: mono.size]
    return Waveform(part[None].astype(np.float32), sound.sample_rate)


def _medians(
    rows: Float[np.ndarray, "rows columns"], size: int
) -> Float[np.ndarray, "rows columns"]:
    """The running median along each row, mirrored at its ends."""
    from scipy.ndimage import median_filter

    margin = size // 2
    mirrored = np.pad(rows, ((0, 0), (margin, margin)), mode="symmetric")
    # One long row: scipy filters one dimension in O(log size) a value, two in O(size).
    filtered: Float[np.ndarray, " values"] = median_filter(mirrored.ravel(), size=size)
    return filtered.reshape(mirrored.shape)[:, margin:-margin]
