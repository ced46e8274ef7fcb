"""Learning-rate schedules."""

from __future__ import annotations

import math

import torch


def set_cosine_rate(
    optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int, warmup: int
) -> None:
    """Linear warm-up to ``peak`` over ``warmup`` steps, and a cosine to 0 over all of them."""
    rate = peak * min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = rate
