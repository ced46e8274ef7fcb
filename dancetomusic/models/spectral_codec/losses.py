"""Losses of the codec's decoder: discriminators of spectra, and the buzz of smoothed noise."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional


def hop_periodicity(
    samples: Float32[Tensor, "batch samples"], sample_rate: int, hop_length: int
) -> Float32[Tensor, "batch lags"]:
    """Autocorrelation above 2 kHz at one and two hops, in [-1, 1]: the buzz of smoothed noise."""
    spectrum = torch.fft.rfft(samples)
    spectrum[:, : round(2000 / sample_rate * samples.shape[1])] = 0
    high = torch.fft.irfft(spectrum, samples.shape[1])
    power = high.square().sum(1) + 1e-4
    lags = (hop_length, 2 * hop_length)
    return torch.stack([(high[:, lag:] * high[:, :-lag]).sum(1) / power for lag in lags], dim=1)


class SpectrumDiscriminator(nn.Module):
    """One-dimensional convolutions over a complex spectrum whose bins are channels."""

    window: Tensor

    def __init__(self, n_fft: int, channels: int = 192) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft))
        widths = [n_fft + 2, channels, channels, channels]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv1d(i, o, 5, padding=2))
            for i, o in pairwise(widths)
        )
        self.score = nn.Conv1d(channels, 1, 3, padding=1)

    def forward(self, samples: Float32[Tensor, "batch samples"]) -> list[Tensor]:
        """Hidden activations and, last, the score."""
        spectrum = torch.stft(
            samples, self.n_fft, self.n_fft // 4, window=self.window, return_complex=True
        )
        compressed = spectrum * (spectrum.abs() + 1e-3).pow(-0.7)
        hidden = torch.cat([compressed.real, compressed.imag], dim=1)
        activations = []
        for layer in self.layers:
            hidden = functional.leaky_relu(layer(hidden), 0.1)
            activations.append(hidden)
        return [*activations, self.score(hidden)]


def hinge_loss(
    discriminators: Iterable[nn.Module],
    real: Float32[Tensor, "batch samples"],
    generated: Float32[Tensor, "batch samples"],
) -> Float32[Tensor, ""]:
    """Σ over discriminators of E[max(0, 1 - D(real))] + E[max(0, 1 + D(generated))]."""
    terms = [
        functional.relu(1 - d(real)[-1]).mean() + functional.relu(1 + d(generated)[-1]).mean()
        for d in discriminators
    ]
    return torch.stack(terms).sum()


def adversarial_loss(
    discriminators: Iterable[nn.Module],
    real: Float32[Tensor, "batch samples"],
    generated: Float32[Tensor, "batch samples"],
) -> Float32[Tensor, ""]:
    """Minus the scores of the generated sounds, plus relative feature matching.

    References:
        Kumar et al., "MelGAN", 2019.
    """
    total = real.new_zeros(())
    for discriminator in discriminators:
        *ours, score = discriminator(generated)
        with torch.no_grad():
            *theirs, _ = discriminator(real)
        matching = [
            (f - r).abs().mean() / (r.abs().mean() + 1e-3)
            for f, r in zip(ours, theirs, strict=True)
        ]
        total = total - score.mean() + torch.stack(matching).sum()
    return total
