"""Losses of the codec's decoder: discriminators, and the buzz of smoothed noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

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
    """Two-dimensional convolutions over a complex spectrum, in four bands of their own.

    References:
        Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023.
    """

    EDGES = (0.0, 0.125, 0.25, 0.5, 1.0)
    window: Tensor

    def __init__(self, n_fft: int, channels: int = 12) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        bins = n_fft // 2 + 1
        self.edges = [round(edge * bins) for edge in self.EDGES]
        widths = [2, channels, channels, channels, channels]
        self.bands = nn.ModuleList(
            nn.ModuleList(_conv(i, o, (3, 7), (1, 2)) for i, o in pairwise(widths))
            for _ in pairwise(self.edges)
        )
        self.score = _conv(channels, 1, (3, 3), (1, 1))

    def forward(self, samples: Float32[Tensor, "batch samples"]) -> list[Tensor]:
        """Hidden activations and, last, the scores."""
        spectrum = torch.stft(
            samples, self.n_fft, self.n_fft // 4, window=self.window, return_complex=True
        )
        compressed = torch.view_as_real(spectrum * (spectrum.abs() + 1e-3).pow(-0.7))
        activations, last = [], []
        for layers, (low, high) in zip(self.bands, pairwise(self.edges), strict=True):
            hidden = compressed[:, low:high].permute(0, 3, 2, 1)  # [batch, 2, frames, bins]
            for layer in cast(nn.ModuleList, layers):
                hidden = functional.leaky_relu(layer(hidden), 0.1)
                activations.append(hidden)
            last.append(hidden)
        return [*activations, self.score(torch.cat(last, dim=3))]


class PeriodDiscriminator(nn.Module):
    """Convolutions over samples that are a period apart.

    References:
        Kong et al., "HiFi-GAN", 2020.
    """

    WIDTHS = (1, 8, 16, 32)

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        self.layers = nn.ModuleList(_conv(i, o, (5, 1), (3, 1)) for i, o in pairwise(self.WIDTHS))
        self.score = _conv(self.WIDTHS[-1], 1, (3, 1), (1, 1))

    def forward(self, samples: Float32[Tensor, "batch samples"]) -> list[Tensor]:
        """Hidden activations and, last, the scores."""
        whole = samples.shape[1] // self.period * self.period
        hidden = samples[:, :whole].unflatten(1, (-1, self.period))[:, None]
        activations = []
        for layer in self.layers:
            hidden = functional.leaky_relu(layer(hidden), 0.1)
            activations.append(hidden)
        return [*activations, self.score(hidden)]


def _conv(ins: int, outs: int, kernel: tuple[int, int], stride: tuple[int, int]) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(ins, outs, kernel, stride, padding))


def hinge_loss(
    discriminators: Sequence[nn.Module],
    real: Float32[Tensor, "batch samples"],
    generated: Float32[Tensor, "batch samples"],
) -> Float32[Tensor, ""]:
    """Mean over discriminators of E[max(0, 1 - D(real))] + E[max(0, 1 + D(generated))]."""
    terms = [
        functional.relu(1 - d(real)[-1]).mean() + functional.relu(1 + d(generated)[-1]).mean()
        for d in discriminators
    ]
    return torch.stack(terms).mean()


def adversarial_losses(
    discriminators: Sequence[nn.Module],
    real: Float32[Tensor, "batch samples"],
    generated: Float32[Tensor, "batch samples"],
) -> tuple[Float32[Tensor, ""], Float32[Tensor, ""]]:
    """Minus the scores of the generated sounds, and the relative distance of features.

    Means over discriminators, and over layers.

    References:
        Kumar et al., "MelGAN", 2019.
    """
    scores, distances = [], []
    for discriminator in discriminators:
        *ours, score = discriminator(generated)
        with torch.no_grad():
            *theirs, _ = discriminator(real)
        scores.append(score.mean())
        distances += [
            (f - r).abs().mean() / (r.abs().mean() + 1e-3)
            for f, r in zip(ours, theirs, strict=True)
        ]
    return -torch.stack(scores).mean(), torch.stack(distances).mean()
