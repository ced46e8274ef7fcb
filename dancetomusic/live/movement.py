"""How strongly somebody moves right now, on the scale of ``rhythm.energy``, from the past alone."""

from __future__ import annotations

from collections import deque

import numpy as np
from jaxtyping import Float32

from dancetomusic.rhythm.energy import FLOOR_DB, SPREAD_DB
from dancetomusic.types import POSE_FPS

MEMORY_S = 20.0
SMOOTHING_S = 0.15
"""Of the energy; what is played early cannot wait for the half second of the whole-dance one."""

ACCENT_S = 0.04
"""Of the accent, which only smooths the detector's noise."""

USUAL = 0.5
_BODY = np.r_[0, 11:33]


class MovementMeter:
    """Measures landmarks as they come."""

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=round(MEMORY_S * POSE_FPS))
        self.reset()

    def reset(self) -> None:
        """Forget where the joints were; what is usual stays known."""
        self._last: tuple[float, np.ndarray] | None = None
        self._smooth = self._quick = 0.0
        self.energy = self.accent = 0.0

    def push(self, world: Float32[np.ndarray, "33 3"], time_s: float) -> None:
        """Take the landmarks of a frame, in metres.

        Sets ``energy`` and ``accent``, both in [0, 1] with 0.5 for what was usual in the last
        20 s; the accent answers within a frame.
        """
        body = world[_BODY]
        if self._last is None:
            self._last = time_s, body
            return
        elapsed = max(time_s - self._last[0], 1e-3)
        speed = float(np.linalg.norm(body - self._last[1], axis=-1).mean()) / elapsed
        self._last = time_s, body
        self._smooth += (1 - np.exp(-elapsed / SMOOTHING_S)) * (speed - self._smooth)
        self._quick += (1 - np.exp(-elapsed / ACCENT_S)) * (speed - self._quick)
        self._levels.append(_decibels(self._smooth))
        low, high = np.percentile(self._levels, [10, 90])
        middle, spread = (low + high) / 2, max(float(high - low), SPREAD_DB)
        self.energy, self.accent = (
            float(np.clip(USUAL + 0.8 * (_decibels(speed) - middle) / spread, 0.0, 1.0))
            for speed in (self._smooth, self._quick)
        )


def _decibels(speed: float) -> float:
    return 20.0 * float(np.log10(max(speed, 10 ** (FLOOR_DB / 20))))
