"""Learning-rate schedules, and the test that finds a rate to give them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def cosine_rate(peak: float, step: int, steps: int, warmup: int) -> float:
    """Learning rate of a step, from 0: linear warm-up to ``peak``, under a cosine to 0.

    ``peak`` is reached only as far as the cosine is still near 1 after ``warmup``.

    Example:
        >>> [round(cosine_rate(1.0, step, 100, 10), 2) for step in (0, 9, 50, 99)]
        [0.1, 0.98, 0.5, 0.0]
    """
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return peak * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle_rate(peak: float, step: int, steps: int) -> float:
    """Learning rate of a step, from 0: up to ``peak``, then down to almost nothing, by cosines.

    The way up takes three steps in ten. It begins at a 25th of ``peak`` and ends at a
    ten-thousandth of where it began.

    Example:
        >>> [round(one_cycle_rate(1.0, step, 101), 3) for step in (0, 15, 30, 65, 100)]
        [0.04, 0.52, 1.0, 0.5, 0.0]

    References:
        Smith and Topin, "Super-Convergence", 2018.
    """
    top = 0.3 * max(steps - 1, 1)
    first = peak / 25
    if step <= top:
        return _between(first, peak, step / max(top, 1.0))
    return _between(peak, first / 10_000, (step - top) / max(steps - 1 - top, 1.0))


def step_rate(peak: float, step: int, *, every: int, factor: float) -> float:
    """``peak``, multiplied by ``factor`` after every ``every`` steps.

    Example:
        >>> [step_rate(1.0, step, every=10, factor=0.5) for step in (0, 9, 10, 25)]
        [1.0, 1.0, 0.5, 0.25]
    """
    return peak * factor ** (step // every)


def cyclic_rate(low: float, peak: float, step: int, *, half_cycle: int) -> float:
    """Straight up from ``low`` to ``peak`` in ``half_cycle`` steps, as long down, and again.

    Example:
        >>> [cyclic_rate(0.0, 1.0, step, half_cycle=4) for step in (0, 2, 4, 6, 8, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks", 2017.
    """
    phase = step % (2 * half_cycle)
    return low + (peak - low) * min(phase, 2 * half_cycle - phase) / half_cycle


def range_test_rate(low: float, peak: float, step: int, steps: int) -> float:
    """From ``low`` to ``peak``, each step by the same factor.

    Example:
        >>> [round(range_test_rate(0.001, 10.0, step, 5), 3) for step in range(5)]
        [0.001, 0.01, 0.1, 1.0, 10.0]
    """
    return low * (peak / low) ** (step / max(steps - 1, 1))


def steepest_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate of a range test at which the loss fell fastest: a peak that is worth a trial.

    The losses are smoothed, and what comes after the lowest of them is left out: the loss rises
    there.

    Args:
        rates: Rising learning rates.
        losses: The loss at each; at least ten.

    Example:
        >>> rates = [range_test_rate(1e-5, 1.0, step, 51) for step in range(51)]
        >>> losses = [5 - 2 / (1 + (1e-3 / rate) ** 2) + max(0.0, rate - 0.1) for rate in rates]
        >>> 3e-4 < steepest_rate(rates, losses) < 2e-3
        True
    """
    width = max(3, len(losses) // 10) | 1
    padded = np.pad(np.asarray(losses, np.float64), width // 2, mode="edge")
    smooth = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    lowest = max(int(smooth.argmin()), 2)
    slopes = np.gradient(smooth[: lowest + 1], np.log(np.asarray(rates[: lowest + 1])))
    return float(rates[int(slopes.argmin())])


def _between(first: float, last: float, share: float) -> float:
    """From one to the other along half a cosine."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
