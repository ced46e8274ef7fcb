"""Beat scores logged during training, where the packages that score are installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float

from dancetomusic.metrics.beats import score_beats


def beat_scores(
    reference: Float[np.ndarray, " reference"], estimated: Float[np.ndarray, " estimated"]
) -> dict[str, float]:
    """Beat F-measure (±70 ms) and whether the tempo is right; empty without ``mir_eval``."""
    if find_spec("mir_eval") is None:
        return {}
    scores = score_beats(reference, estimated)
    return {"beat_f": scores.f, "tempo": scores.tempo}


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric."""
    return {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}
