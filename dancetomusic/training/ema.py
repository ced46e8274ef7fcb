"""Exponential moving averages (EMA) of weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Averages of weights over the steps of training.

    After ``n`` steps the decay is at most ``(1 + n) / (10 + n)``: early weights, close to the
    random initialisation, are forgotten faster.

    Args:
        weights: What to average while it is trained.
        decay: Share that an average keeps at each step, in [0, 1); 0 for no averaging.
    """

    def __init__(self, weights: Iterable[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.weights: list[Tensor] = list(weights) if decay else []
        self.averages = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Average in the weights after step number ``step``, from 0."""
        if self.weights:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.averages, self.weights, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange the weights for their averages during the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in zip(self.weights, self.averages, strict=True):
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)

    @torch.no_grad()
    def load(self, averages: list[Tensor]) -> None:
        """Copy the ``averages`` of another."""
        for ours, theirs in zip(self.averages, averages, strict=True):
            ours.copy_(theirs)
