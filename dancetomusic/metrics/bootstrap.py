"""Means of few dances, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Float

S = TypeVar("S")

RESAMPLES = 10_000


def known_mean(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN without any."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def mean_scores(scores: Sequence[S]) -> S:
    """Scores of several runs or windows, averaged field by field by :func:`known_mean`."""
    names = [field.name for field in fields(cast(Any, scores[0]))]
    return type(scores[0])(*(known_mean([getattr(each, n) for each in scores]) for n in names))


def bootstrap_interval(
    values_per_dance: Sequence[float] | Float[np.ndarray, " dances"],
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling whole dances with replacement.

    Windows or seeds of one dance belong together: average them first, so that each value
    is one dance. NaN values are dances that could not be measured; they are left out.

    Returns:
        Lower and upper end; both NaN when nothing was measured.
    """
    values = np.asarray(values_per_dance, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    sampled = np.random.default_rng(seed).integers(values.size, size=(RESAMPLES, values.size))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values[sampled].mean(axis=1), [tail, 1.0 - tail])
    return float(low), float(high)


def bootstrap_score(
    score: Callable[[np.ndarray], float], per_dance: Sequence[np.ndarray], resamples: int
) -> tuple[float, float, float]:
    """A score ≥ 0 of all rows together, with its 95 % interval over dances.

    Whole dances are resampled with replacement. That makes sets poorer and distances between
    them larger, so the spread about its own median is centred on the score itself.

    Returns:
        The score, and the lower and upper end of its interval.
    """
    rng = np.random.default_rng(0)
    whole = score(np.concatenate(per_dance))
    n_dances = len(per_dance)
    sampled = [
        score(np.concatenate([per_dance[k] for k in rng.integers(n_dances, size=n_dances)]))
        for _ in range(resamples)
    ]
    low, middle, high = np.quantile(sampled, [0.025, 0.5, 0.975])
    return whole, max(0.0, whole + float(low - middle)), max(0.0, whole + float(high - middle))
