"""µ-law companding: sound as 256 classes, finer where it is soft (ITU-T G.711)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, UInt8

from dancetomusic.errors import InputError

N_CLASSES = 256
MU = float(N_CLASSES - 1)
SILENCE = 128
"""The class of a sample of 0."""


def encode_mulaw(samples: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Compand samples and take the nearest of 256 evenly spaced levels.

    Args:
        samples: Amplitude; what is outside [-1, 1] is clipped.

    Raises:
        InputError: If a sample is not finite.

    Example:
        >>> encode_mulaw(np.array([-1.0, -0.001, 0.0, 0.001, 1.0])).tolist()
        [0, 122, 128, 133, 255]

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, section 2.2.
    """
    if not np.isfinite(samples).all():
        raise InputError("sound has samples that are not finite", "Remove NaN and inf.")
    clipped = np.clip(samples.astype(np.float64), -1.0, 1.0)
    companded = np.sign(clipped) * np.log1p(MU * np.abs(clipped)) / np.log1p(MU)
    return np.floor((companded + 1) / 2 * MU + 0.5).astype(np.uint8)


def decode_mulaw(classes: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The amplitude in the middle of each class, in [-1, 1].

    Example:
        >>> decode_mulaw(np.array([0, 128, 255], np.uint8)).astype(float).round(4).tolist()
        [-1.0, 0.0001, 1.0]
    """
    return _LEVELS[classes]


def _levels() -> Float32[np.ndarray, " classes"]:
    companded = 2 * np.arange(N_CLASSES) / MU - 1
    levels = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(MU)) / MU
    return levels.astype(np.float32)


_LEVELS = _levels()
