"""What the pictures of a clip show apart from the dancer: standstill, and who is a copy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

SIDE = 32
"""Pictures are compared as this many by this many gray cells."""

STILL_LEVELS = 1
"""Two pictures are equal if no cell differs by more than this many of 256 levels."""

HASH_BITS = 512
"""Length of the hash: signs of the slowest and coarsest changes."""

_SPATIAL = 9  # patterns along each side of the picture
_TEMPORAL = 10  # patterns over time, up to 1 Hz for five seconds
_PER_PERIOD = 0.9  # half a period more in time ranks as this many more along a side


class PictureWatch:
    """Looks at each picture of a clip once, at a tenth of a millisecond each.

    The hash is that of the changes over time, not of the scene: a fixed camera on one dancer
    gives every clip another hash. It stays nearly the same under another size, frame rate,
    codec, brightness or contrast, not under mirroring, cropping or a shift in time.

    References:
        Coskun, Sankur & Memon, "Spatio-Temporal Transform Based Video Hashing", IEEE
        Transactions on Multimedia, 2006: signs of a video's low three-dimensional cosine
        coefficients.
    """

    def __init__(self) -> None:
        self._cells: list[UInt8[np.ndarray, "side side"]] = []
        self._n_still = 0

    def add(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Look at the next picture (RGB, any size, the same rate throughout)."""
        cells = _to_cells(frame)
        if self._cells:
            difference = cells.astype(np.int16) - self._cells[-1]
            self._n_still += bool(np.abs(difference).max() <= STILL_LEVELS)
        self._cells.append(cells)

    @property
    def still_share(self) -> float:
        """Pictures that equal the one before, in [0, 1]; 1 for a single picture."""
        n_pairs = len(self._cells) - 1
        return self._n_still / n_pairs if n_pairs > 0 else 1.0

    @property
    def picture_hash(self) -> str:
        """``HASH_BITS`` bits in hexadecimal; empty where nothing moves."""
        if self.still_share == 1.0:
            return ""
        return _hash_changes(np.stack(self._cells).astype(np.float32))


def _to_cells(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "side side"]:
    """Means of the green channel, which carries most of the brightness."""
    import cv2

    step = max(1, min(frame.shape[:2]) // (4 * SIDE))
    green = np.ascontiguousarray(frame[::step, ::step, 1])
    cells: UInt8[np.ndarray, "side side"] = cv2.resize(
        green, (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    return cells


def _hash_changes(cells: Float32[np.ndarray, "frames side side"]) -> str:
    """Signs of the lowest cosine coefficients that are not constant in time."""
    from scipy.fft import dct

    slow = dct(cells, axis=0, norm="ortho")[1 : _TEMPORAL + 1]
    slow = np.pad(slow, ((0, _TEMPORAL - len(slow)), (0, 0), (0, 0)))
    coarse = dct(dct(slow, axis=1, norm="ortho"), axis=2, norm="ortho")[:, :_SPATIAL, :_SPATIAL]
    period, y, x = np.indices(coarse.shape)
    order = _PER_PERIOD * period + y + x
    lowest = np.argsort(order, axis=None, kind="stable")[:HASH_BITS]
    return np.packbits(coarse.ravel()[lowest] > 0).tobytes().hex()
