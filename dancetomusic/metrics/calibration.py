"""Whether confidence means what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dancetomusic.errors import InputError
from dancetomusic.metrics.beats import BEAT_TOLERANCE_S, Times

BINS = 5


@dataclass(frozen=True)
class CalibrationBin:
    """Beats of about one confidence."""

    confidence: float
    right: float
    count: int


def beats_right(
    reference: Times, estimated: Times, tolerance_s: float = BEAT_TOLERANCE_S
) -> Bool[np.ndarray, " _estimated"]:
    """Which estimated beats lie within ``tolerance_s`` of an annotated one."""
    if reference.size == 0 or estimated.size == 0:
        return np.zeros(estimated.size, bool)
    right: Bool[np.ndarray, " _estimated"] = (
        np.abs(estimated[:, None] - reference[None]).min(axis=1) <= tolerance_s
    )
    return right


def calibration_curve(
    confidence: Float[np.ndarray, " beats"], right: Bool[np.ndarray, " beats"], bins: int = BINS
) -> list[CalibrationBin]:
    """Beats in order of confidence, cut into parts of equal number, least confident first.

    A usable confidence rises from part to part; a calibrated one equals the share right. Fewer
    parts where there are fewer beats.

    Raises:
        InputError: If a confidence is not finite.

    References:
        Guo et al., "On calibration of modern neural networks", 2017.
    """
    if not np.isfinite(confidence).all():
        raise InputError("a confidence is not finite", "Give finite values.")
    order = np.argsort(confidence, kind="stable")
    return [
        CalibrationBin(float(confidence[part].mean()), float(right[part].mean()), int(part.size))
        for part in np.array_split(order, bins)
        if part.size
    ]


def calibration_error(curve: Sequence[CalibrationBin]) -> float:
    """Mean distance of confidence from the share right, weighted by count; NaN without beats."""
    total = sum(part.count for part in curve)
    if total == 0:
        return float("nan")
    return sum(part.count * abs(part.confidence - part.right) for part in curve) / total
