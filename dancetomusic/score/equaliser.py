"""An equaliser of second-order filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.signal import sosfilt

from dancetomusic.errors import InputError
from dancetomusic.types import Waveform


@dataclass(frozen=True)
class Band:
    """One filter.

    Attributes:
        kind: Cuts fall by 12 dB an octave; shelves and peaks change the level by ``gain_db``.
        frequency_hz: Corner, or middle of a peak.
        gain_db: Of shelves and peaks, in [-24, 24].
        q: Narrowness of a peak, steepness of the others; 0.71 is flat without a bump.

    Raises:
        InputError: If a value is out of its range.
    """

    kind: Literal["low_cut", "low_shelf", "peak", "high_shelf", "high_cut"]
    frequency_hz: float
    gain_db: float = 0.0
    q: float = 0.71

    def __post_init__(self) -> None:
        if not (self.frequency_hz > 0 and self.q > 0 and abs(self.gain_db) <= 24):
            raise InputError(
                f"{self.kind} at {self.frequency_hz:g} Hz has {self.gain_db:g} dB and q {self.q:g}",
                "Give a frequency and q above 0, and -24 to 24 dB.",
            )

    def section(self, sample_rate: int) -> Float64[np.ndarray, " 6"]:
        """Coefficients ``b0 b1 b2 a0 a1 a2`` with ``a0`` = 1.

        References:
            Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients",
            W3C Note, 2021.
        """
        w = 2 * math.pi * min(self.frequency_hz / sample_rate, 0.49)
        cos, alpha = math.cos(w), math.sin(w) / (2 * self.q)
        a = 10 ** (self.gain_db / 40)
        if self.kind == "peak":
            b = [1 + alpha * a, -2 * cos, 1 - alpha * a]
            poles = [1 + alpha / a, -2 * cos, 1 - alpha / a]
        elif self.kind in ("low_cut", "high_cut"):
            sign = 1 if self.kind == "low_cut" else -1
            b = [(1 + sign * cos) / 2, -sign * (1 + sign * cos), (1 + sign * cos) / 2]
            poles = [1 + alpha, -2 * cos, 1 - alpha]
        else:  # the high shelf is the low one mirrored
            c, sign = (cos, 1) if self.kind == "low_shelf" else (-cos, -1)
            root = 2 * math.sqrt(a) * alpha
            up, down = (a + 1) - (a - 1) * c, (a + 1) + (a - 1) * c
            b = [a * (up + root), sign * 2 * a * ((a - 1) - (a + 1) * c), a * (up - root)]
            poles = [down + root, -sign * 2 * ((a - 1) + (a + 1) * c), down - root]
        return np.array([*b, *poles]) / poles[0]


def equalised(waveform: Waveform, bands: Sequence[Band]) -> Waveform:
    """The sound through all bands, one after another; without any, the sound itself."""
    if not bands:
        return waveform
    sections = np.stack([band.section(waveform.sample_rate) for band in bands])
    samples = np.empty_like(waveform.samples)
    for filtered, channel in zip(samples, waveform.samples, strict=True):
        filtered[:] = sosfilt(sections, channel)
    return Waveform(samples, waveform.sample_rate)
