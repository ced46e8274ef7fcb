"""How alike the bars of a piece are: one loop, human variation, or chance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

STEPS_PER_BEAT = 4
FRAME_RATE = 100.0


def bar_patterns(
    onsets: Float[np.ndarray, "bands frames"],
    beat_times: Float[np.ndarray, " beats"],
    beat_numbers: Int[np.ndarray, " beats"],
    *,
    steps_per_beat: int = STEPS_PER_BEAT,
    early: float = 0.5,
) -> Float[np.ndarray, "bars steps"]:
    """The pattern of each whole bar: mean onset strength in every sixteenth, by band.

    Bars of the most frequent length run from one beat 1 to the next. No row without any.

    Args:
        onsets: Onset strength, or another feature, 100 frames a second.
        beat_times: In seconds, increasing.
        beat_numbers: Position in the bar, from 1.
        steps_per_beat: 4 for sixteenths.
        early: How much of a step lies before its time; none of it where notes are held.
    """
    openings = np.flatnonzero(beat_numbers == 1)
    lengths = np.diff(openings)
    if lengths.size == 0:
        return np.zeros((0, 0))
    length = int(np.bincount(lengths).argmax())
    rows = []
    cumulated = np.concatenate([np.zeros((onsets.shape[0], 1)), np.cumsum(onsets, axis=1)], axis=1)
    for opening in openings[:-1][lengths == length]:
        count = np.arange(length * steps_per_beat + 1) / steps_per_beat
        times = np.interp(count, np.arange(length + 1), beat_times[opening : opening + length + 1])
        before = (times[1] - times[0]) * early
        edges = np.clip((times - before) * FRAME_RATE, 0, onsets.shape[1])
        sums = np.diff(np.stack([np.interp(edges, np.arange(c.size), c) for c in cumulated]))
        rows.append((sums / np.maximum(np.diff(edges), 1e-6)).ravel())
    return np.array(rows)


def self_similarity(bars: Float[np.ndarray, "bars steps"]) -> float:
    """Mean correlation of all pairs of bars, in [-1, 1].

    1 is one bar repeated, about 0 are bars that have nothing in common. NaN below two bars
    with anything in them.
    """
    unit = _unit(bars)
    if unit.shape[0] < 2:
        return float("nan")
    products = unit @ unit.T
    return float(products[np.triu_indices(unit.shape[0], 1)].mean())


def lag_similarity(bars: Float[np.ndarray, "bars steps"], lag: int) -> float:
    """Mean correlation of bars that are ``lag`` bars apart, in [-1, 1]; NaN without any."""
    return pairwise_similarity(bars[:-lag], bars[lag:])


def pairwise_similarity(
    bars: Float[np.ndarray, "_bars steps"], others: Float[np.ndarray, "_others steps"]
) -> float:
    """Mean correlation of each bar with the same bar of another piece on the same beats.

    1 is the same music; as different as two bars of one piece are, it equals
    :func:`self_similarity`. NaN without common bars.
    """
    n = min(bars.shape[0], others.shape[0])
    if n == 0 or bars.shape[1:] != others.shape[1:]:
        return float("nan")
    known = (np.ptp(bars[:n], axis=1) > 0) & (np.ptp(others[:n], axis=1) > 0)
    if not known.any():
        return float("nan")
    return float((_unit(bars[:n][known]) * _unit(others[:n][known])).sum(axis=1).mean())


def _unit(bars: np.ndarray) -> np.ndarray:
    if bars.size == 0:
        return np.zeros((0, 0))
    centred = bars - bars.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return (centred / np.maximum(norms, 1e-9))[norms[:, 0] > 1e-6]
