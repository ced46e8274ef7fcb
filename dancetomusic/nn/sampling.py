"""Guide logits, and draw classes from them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dancetomusic.errors import InputError


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse settings with which ``sample`` has no meaning.

    Raises:
        InputError: If a value is out of the range that ``sample`` names.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise InputError(f"temperature is {temperature}", "Give 0 (greedy) or more.")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is {top_k}", "Give at least 1, or none.")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top_p is {top_p}", "Give a probability above 0, at most 1.")


def check_guidance(scale: float) -> None:
    """Refuse a scale of guidance that has no meaning.

    Raises:
        InputError: If it is negative or not finite.
    """
    if not (math.isfinite(scale) and scale >= 0):
        raise InputError(f"cfg_scale is {scale}", "Give 0 or more; 1 is no guidance.")


def guide(
    without: Float[Tensor, "batch codebooks classes"],
    given: Float[Tensor, "batch codebooks classes"],
    scale: float,
) -> Float[Tensor, "batch codebooks classes"]:
    """Classifier-free guidance of the first codebook; the others keep the logits given.

    The first codebook says what is struck, the others how it sounds. Pushed away from what is
    usual, they settle on few codes and hiss.

    Args:
        without: Logits without conditions.
        given: Logits with them.
        scale: How far the first book is taken from ``without`` past ``given``, at least 0; 1 is
            no guidance.

    References:
        Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022.
    """
    first = torch.lerp(without[:, :1], given[:, :1], scale)
    return torch.cat([first, given[:, 1:]], dim=1)


def sample(
    logits: Float[Tensor, "*lead classes"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "*lead"]:
    """Draw one class for each leading position, independently.

    Args:
        logits: Unnormalised log-probabilities.
        temperature: Divides the logits, at least 0; 0 takes the likeliest class.
        top_k: Keep only this many likeliest classes, at least 1.
        top_p: Keep only the likeliest classes that together reach this probability, in
            (0, 1]; the first one always stays.
        generator: Source of the noise; the global one by default.

    References:
        Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019 (top-p).
    """
    if temperature == 0:
        return logits.argmax(-1)
    n_classes = logits.shape[-1]
    n_kept = min(top_k or n_classes, n_classes)
    order = None
    if n_kept < n_classes or top_p is not None:
        logits, order = logits.topk(n_kept)
    probabilities = torch.softmax(logits / temperature, -1)
    if top_p is not None:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    # The smallest of exponential waiting times falls on each class by its probability.
    waiting = torch.empty_like(probabilities).exponential_(generator=generator)
    drawn = (probabilities / waiting).argmax(-1)
    return drawn if order is None else order.gather(-1, drawn[..., None])[..., 0]
