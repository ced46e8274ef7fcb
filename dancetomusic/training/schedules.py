"""Learning-rate schedules."""

from __future__ import annotations

import math


def cosine_rate(peak: float, step: int, steps: int, warmup: int) -> float:
    """Learning rate of a step, from 0: linear warm-up to ``peak``, under a cosine to 0.

    Args:
        peak: The highest rate; met only as far as the cosine is still near 1 after warm-up.
        step: Which step.
        steps: All steps.
        warmup: Steps of warm-up; 0 for none.

    Example:
        >>> [round(cosine_rate(1.0, step, 100, 10), 2) for step in (0, 9, 50, 99)]
        [0.1, 0.98, 0.5, 0.0]
    """
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return peak * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
