"""Distance between two sets of embeddings, each taken as a normal distribution."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dancetomusic.errors import InputError
from dancetomusic.types import Waveform

SHARES = (0.4, 0.55, 0.7, 0.85, 1.0)
"""Sample sizes that are extrapolated from, as shares of all embeddings."""

DRAWS = 3
LEVEL_DBFS = -20.0


def at_common_level(waveform: Waveform) -> Waveform:
    """The sound at -20 dBFS root mean square, so that gain is no difference; silence stays."""
    rms = float(np.sqrt(np.mean(waveform.samples.astype(np.float64) ** 2))) if (
        waveform.samples.size
    ) else 0.0  # fmt: skip
    if rms < 1e-6:
        return waveform
    gain = np.float32(10 ** (LEVEL_DBFS / 20) / rms)
    return Waveform(waveform.samples * gain, waveform.sample_rate)


def pool_windows(
    frames: Float[np.ndarray, "frames channels"], per_window: int
) -> Float[np.ndarray, "windows channels"]:
    """Means over windows side by side; an incomplete last one is left out."""
    n_windows = frames.shape[0] // per_window
    cut = frames[: n_windows * per_window]
    return cut.reshape(n_windows, per_window, frames.shape[1]).mean(axis=1)


def frechet_distance(
    reference: Float[np.ndarray, "_windows channels"], other: Float[np.ndarray, "_others channels"]
) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), ≥ 0; in squared units of the embedding.

    Biased upward by about a constant over the number of embeddings; see
    :func:`frechet_distance_unbiased`.

    Raises:
        InputError: If a set has fewer than two embeddings or one is not finite.

    References:
        Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
        equilibrium", 2017; Kilgour et al., "Fréchet audio distance", 2019.
    """
    for name, values in (("reference", reference), ("other", other)):
        if values.shape[0] < 2 or not np.isfinite(values).all():
            raise InputError(
                f"the {name} set has {values.shape[0]} embeddings, or one is not finite",
                "Give at least two finite embeddings a set.",
            )
    mean_a, root_a, trace_a = _moments(reference)
    return _distance(mean_a, root_a, trace_a, other)


def frechet_distance_unbiased(
    reference: Float[np.ndarray, "_windows channels"], other: Float[np.ndarray, "_others channels"]
) -> float:
    """The distance extrapolated to infinitely many embeddings of ``other``.

    Distances of growing random parts are fitted by a line in one over their size; its value
    at 0 is given, at least 0. NaN where a set has fewer than 8 embeddings.

    References:
        Chong and Forsyth, "Effectively unbiased FID and Inception score", 2020; Gui et al.,
        "Adapting Fréchet audio distance for generative music evaluation", 2023.
    """
    if min(reference.shape[0], other.shape[0]) < 8:
        return float("nan")
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        raise InputError("an embedding is not finite", "Remove NaN and inf.")
    moments = _moments(reference)
    rng = np.random.default_rng(0)
    inverse, distances = [], []
    for share in SHARES:
        size = max(4, round(share * other.shape[0]))
        for _ in range(DRAWS if share < 1 else 1):
            part = other[rng.permutation(other.shape[0])[:size]]
            inverse.append(1.0 / size)
            distances.append(_distance(*moments, part))
    _, at_infinity = np.polyfit(inverse, distances, 1)
    return max(0.0, float(at_infinity))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, square root of the covariance, and its trace."""
    covariance = np.cov(values.astype(np.float64), rowvar=False)
    covariance = np.atleast_2d(covariance)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    return values.mean(axis=0, dtype=np.float64), root, float(np.trace(covariance))


def _distance(mean: np.ndarray, root: np.ndarray, trace: float, other: np.ndarray) -> float:
    covariance = np.atleast_2d(np.cov(other.astype(np.float64), rowvar=False))
    shared = np.linalg.eigvalsh(root @ covariance @ root)
    distance = float(np.sum((mean - other.mean(axis=0, dtype=np.float64)) ** 2))
    distance += trace + float(np.trace(covariance)) - 2.0 * float(
        np.sqrt(np.maximum(shared, 0.0)).sum()
    )  # fmt: skip
    return max(0.0, distance)
