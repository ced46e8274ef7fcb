"""How sure a mean is when the dances are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000


def bootstrap_interval(
    values_per_dance: Sequence[float] | Float[np.ndarray, " dances"],
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling whole dances with replacement.

    Windows or seeds of one dance belong together: average them first, so that each value
    is one dance. NaN values are dances that could not be measured; they are left out.

    Args:
        values_per_dance: One value for each dance.
        confidence: Share of resampled means inside the interval, in (0, 1).
        seed: Makes the interval repeatable.

    Returns:
        Lower and upper end; both NaN when nothing was measured.
    """
    values = np.asarray(values_per_dance, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(values.size, size=(RESAMPLES, values.size))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values[drawn].mean(axis=1), [tail, 1.0 - tail])
    return float(low), float(high)
