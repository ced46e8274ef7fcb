"""Power of sound in frequency bands, frame by frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

_CHUNK = 1000  # frames at once, so that memory does not grow with length


def band_power(
    samples: Float32[np.ndarray, " samples"],
    weights: Float32[np.ndarray, "bands bins"],
    *,
    window: int,
    hop: int,
    n_frames: int,
) -> Float32[np.ndarray, "frames bands"]:
    """Weighted sums of the power spectrum, of Hann windows around every ``hop``-th sample.

    Frame ``k`` is centred on sample ``k * hop``; sound is silent before its start and after
    its end.

    ``weights`` are of the ``window // 2 + 1`` bins in each band; ``n_frames`` are at most those
    windows that begin within the sound.
    """
    padded = np.pad(samples, (window // 2, window + hop))
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    shape = np.hanning(window).astype(np.float32)
    power = np.empty((n_frames, weights.shape[0]), np.float32)
    for first in range(0, n_frames, _CHUNK):
        part = windows[first : min(first + _CHUNK, n_frames)] * shape
        power[first : first + len(part)] = np.abs(np.fft.rfft(part)) ** 2 @ weights.T
    return power
