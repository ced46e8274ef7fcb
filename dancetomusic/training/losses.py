"""Losses that several models share: spectra, and critics with a gradient penalty."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from dancetomusic.codec.spectral import mel_filters


def with_total(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of a loss, and their sum as ``total``."""
    return {"total": torch.stack(list(terms.values())).sum(), **terms}


class MelLoss(nn.Module):
    """Distance of log-mel spectra at several resolutions, with the bass in complex values.

    Args:
        sample_rate: Of the sounds, in Hz.
    """

    RESOLUTIONS = ((128, 20), (512, 48), (1024, 80), (2048, 128))

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.low_bins = math.ceil(300 * 2048 / sample_rate)
        for n_fft, n_mels in self.RESOLUTIONS:
            self.register_buffer(f"mel_{n_fft}", mel_filters(sample_rate, n_fft, n_mels))
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft))

    def forward(
        self, estimate: Float32[Tensor, "batch samples"], target: Float32[Tensor, "batch samples"]
    ) -> Float32[Tensor, ""]:
        """Mean over resolutions, plus the relative complex error below 300 Hz."""
        total = estimate.new_zeros(())
        both = torch.cat([estimate, target])
        for n_fft, _ in self.RESOLUTIONS:
            spectrum = torch.stft(
                both, n_fft, n_fft // 4, window=getattr(self, f"window_{n_fft}"),
                return_complex=True,
            )  # fmt: skip
            power = spectrum.real.square() + spectrum.imag.square()
            mel = getattr(self, f"mel_{n_fft}") @ (power + 1e-9).sqrt()
            ours, theirs = mel.chunk(2)
            log_distance = (torch.log(ours + 1e-3) - torch.log(theirs + 1e-3)).abs().mean()
            convergence = (ours - theirs).norm(dim=(1, 2)) / (theirs.norm(dim=(1, 2)) + 1e-2)
            total = total + log_distance + 0.5 * convergence.mean()
            if n_fft == 2048:
                ours, theirs = spectrum[:, : self.low_bins].chunk(2)
                error = (ours - theirs).abs().sum((1, 2)) / (theirs.abs().sum((1, 2)) + 1.0)
                total = total + 0.3 * error.mean()
        return total


def gradient_penalty(
    critic: Callable[[Tensor], Float[Tensor, " batch"]],
    real: Float[Tensor, "batch ..."],
    generated: Float[Tensor, "batch ..."],
    share: Float[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean of (‖∇critic(x)‖ - 1)², at points x between real and generated examples.

    ``critic`` scores each example by itself; ``share``, in [0, 1], is that of the real example in
    x.

    References:
        Gulrajani et al., "Improved training of Wasserstein GANs", 2017.
    """
    weight = share.reshape(-1, *(1,) * (real.dim() - 1))
    between = (weight * real.detach() + (1 - weight) * generated.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def critic_losses(
    critic: Callable[[Tensor], Float[Tensor, " batch"]],
    real: Float[Tensor, "batch ..."],
    generated: Float[Tensor, "batch ..."],
    share: Float[Tensor, " batch"],
    penalty_weight: float,
) -> dict[str, Tensor]:
    """Losses of a WGAN-GP critic: the weighted gradient penalty minus the Wasserstein distance.

    The arguments are those of ``gradient_penalty``, which counts ``penalty_weight`` times in
    ``total``.

    References:
        Arjovsky et al., "Wasserstein GAN", 2017.
    """
    real, generated = real.detach(), generated.detach()
    penalty = gradient_penalty(critic, real, generated, share)
    distance = critic(real).mean() - critic(generated).mean()
    return {
        "total": penalty_weight * penalty - distance,
        "distance": distance,
        "gradient_penalty": penalty,
    }
