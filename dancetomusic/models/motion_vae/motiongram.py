"""Motiongrams: where in the picture something moves, as one row and one column a picture.

References:
    Jensenius, "Some video abstraction techniques for displaying body movement in analysis and
    performance", Leonardo 46 (1), 2013.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from dancetomusic.errors import InputError

N_BINS = 24
BIN_PIXELS = 4
NOISE = 10
"""Changes of a pixel up to this, of 255, are the camera's."""


class MotiongramStream:
    """Takes pictures one by one, as a camera gives them.

    Args:
        n_bins: Bands in each direction.

    Raises:
        InputError: If ``n_bins`` is below 1.

    Example:
        >>> stream = MotiongramStream()
        >>> black, white = (np.full((90, 120, 3), level, np.uint8) for level in (0, 255))
        >>> [float(np.mean(stream.push(picture))) for picture in (black, black, white)]
        [0.0, 0.0, 1.0]
    """

    def __init__(self, n_bins: int = N_BINS) -> None:
        if n_bins < 1:
            raise InputError(f"a motiongram of {n_bins} bands has none", "Give at least 1.")
        self.n_bins = n_bins
        self.reset()

    def reset(self) -> None:
        """Forget the last picture: the next is the first again."""
        self._last: np.ndarray | None = None

    def push(
        self, frame: UInt8[np.ndarray, "height width 3"]
    ) -> tuple[Float32[np.ndarray, " bins"], Float32[np.ndarray, " bins"]]:
        """What moved since the picture before, by row and by column; nothing at the first.

        Args:
            frame: RGB, of any size; of each picture only ``BIN_PIXELS`` pixels a band count.

        Returns:
            Mean absolute change of brightness, in [0, 1], in even bands from the top down (how
            high something moves) and from left to right (where across the picture).
        """
        import cv2

        side = self.n_bins * BIN_PIXELS
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
        change = cv2.absdiff(grey, grey if self._last is None else self._last)
        self._last = grey
        change = np.where(change > NOISE, change, 0).astype(np.float32) / 255
        cells = change.reshape(self.n_bins, BIN_PIXELS, self.n_bins, BIN_PIXELS)
        return cells.mean(axis=(1, 2, 3)), cells.mean(axis=(0, 1, 3))
