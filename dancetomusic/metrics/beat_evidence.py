"""Whether movement, read by a network that never saw it, has its beats where the music has them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from dancetomusic.metrics.beats import Times


def beat_evidence(phase: Float32[np.ndarray, "frames 2"], rate: float, beat_times: Times) -> float:
    """Mean cosine of the beat phase that movement shows at the beats of a music, in [-1, 1].

    1: every beat lies where the movement has its own; 0: chance; -1: half a beat off. Weak:
    use it on whole dances. NaN without beats.

    ``phase`` is cosine and sine of the beat phase, 0 at the beat, ``rate`` values a second,
    predicted from movement by a network that never saw these dances.
    """
    frames = np.rint(beat_times * rate).astype(int)
    frames = frames[(frames >= 0) & (frames < phase.shape[0])]
    if frames.size == 0:
        return float("nan")
    lengths = np.linalg.norm(phase[frames], axis=1)
    known: Float[np.ndarray, " known"] = phase[frames, 0][lengths > 1e-6] / lengths[lengths > 1e-6]
    return float(known.mean()) if known.size else float("nan")
