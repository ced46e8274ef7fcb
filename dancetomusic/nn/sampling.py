"""Classifier-free guidance of logits, and sampling of classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dancetomusic.errors import InputError


@dataclass(frozen=True)
class SamplingConfig:
    """How classes are sampled from logits.

    Raises:
        InputError: If a value is out of range.
    """

    temperature: float = 1.0
    """Divides the logits, at least 0: above 1 bolder, below 1 safer; 0 takes the likeliest."""
    top_k: int | None = None
    """Keep only this many likeliest classes, at least 1."""
    top_p: float | None = None
    """Keep only the likeliest classes that together reach this probability, in (0, 1]."""
    cfg_scale: float = 1.0
    """Classifier-free guidance, at least 0; 1 is none, more follows the conditions harder."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature}", "Give 0 (greedy) or more.")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k is {self.top_k}", "Give at least 1, or none.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}", "Give a probability above 0, at most 1.")
        if not (math.isfinite(self.cfg_scale) and self.cfg_scale >= 0):
            raise InputError(f"cfg_scale is {self.cfg_scale}", "Give 0 or more; 1 is no guidance.")

    def replace(self, **values: Any) -> SamplingConfig:
        """A copy with some values set otherwise.

        Raises:
            InputError: If one is out of range.
        """
        return replace(self, **values)


SAMPLING_FIELDS = tuple(field.name for field in fields(SamplingConfig))


def classifier_free_guidance(
    uncond: Float[Tensor, "batch codebooks classes"],
    cond: Float[Tensor, "batch codebooks classes"],
    scale: float,
    n_guided: int = 1,
) -> Float[Tensor, "batch codebooks classes"]:
    """Extrapolate logits from unconditional ones past conditional ones.

    Only the first ``n_guided`` codebooks are: the first says which onset it is, the others how it
    sounds. Where the conditions say nothing of that (a rhythm alone), those settle on few codes and
    hiss when guided.

    The result is ``uncond + scale * (cond - uncond)``; a scale of 1 is no guidance.

    References:
        Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022.
    """
    guided = torch.lerp(uncond[:, :n_guided], cond[:, :n_guided], scale)
    return torch.cat([guided, cond[:, n_guided:]], dim=1)


def sample(
    logits: Float[Tensor, "*lead classes"],
    sampling: SamplingConfig,
    *,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "*lead"]:
    """Sample one class for each leading position, independently.

    The likeliest class always stays, and guidance is not applied here. The global generator is the
    source of the noise by default.

    References:
        Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019 (top-p).
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    top_p = sampling.top_p
    n_classes = logits.shape[-1]
    n_kept = min(sampling.top_k or n_classes, n_classes)
    order = None
    if n_kept < n_classes or top_p is not None:
        logits, order = logits.topk(n_kept)
    probabilities = torch.softmax(logits / sampling.temperature, -1)
    if top_p is not None:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    # The smallest of exponential waiting times falls on each class by its probability.
    waiting = torch.empty_like(probabilities).exponential_(generator=generator)
    drawn = (probabilities / waiting).argmax(-1)
    return drawn if order is None else order.gather(-1, drawn[..., None])[..., 0]
