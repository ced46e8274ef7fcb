"""Swing: off-beats played later than half-way between the beats."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dancetomusic.errors import InputError


def offbeat_position(swing: float) -> float:
    """Where in a beat its off-beat is played: 1/2 without swing, 2/3 with all of it.

    Args:
        swing: 0 for straight eighths to 1 for triplet swing.

    Raises:
        InputError: If ``swing`` is outside [0, 1].
    """
    if not 0.0 <= swing <= 1.0:
        raise InputError(f"swing is {swing:g}", "Give 0 (straight) to 1 (triplets).")
    return 0.5 + swing / 6.0


def swing_beats(beats: Float[np.ndarray, "*n"], swing: float) -> Float[np.ndarray, "*n"]:
    """Positions in beats as they are played: each half of a beat is stretched or squeezed evenly.

    Args:
        beats: Positions as they are written.
        swing: As for ``offbeat_position``.
    """
    offbeat = offbeat_position(swing)
    whole = np.floor(beats)
    return whole + np.interp(beats - whole, [0.0, 0.5, 1.0], [0.0, offbeat, 1.0])


def straighten_beats(beats: Float[np.ndarray, "*n"], swing: float) -> Float[np.ndarray, "*n"]:
    """Positions in beats as they are written, from those played: undoes ``swing_beats``."""
    offbeat = offbeat_position(swing)
    whole = np.floor(beats)
    return whole + np.interp(beats - whole, [0.0, offbeat, 1.0], [0.0, 0.5, 1.0])
