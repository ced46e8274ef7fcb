"""Losses: of codes, of the sound that they stand for, and of a critic.

Each is a mean over its batch and can be switched off by its weight in the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.codec.soft import SoftDecoder
from dancetomusic.codec.spectral import mel_filters


def codebook_losses(
    logits: Float[Tensor, "batch codebooks frames classes"],
    codes: Int[Tensor, "batch codebooks frames"],
) -> Float[Tensor, " codebooks"]:
    """Mean cross-entropy of each codebook, in nats a code.

    Codes equal to the number of classes are padding.
    """
    losses = functional.cross_entropy(
        logits.float().flatten(0, 2),
        codes.flatten(),
        ignore_index=logits.shape[-1],
        reduction="none",
    ).view(codes.shape)
    known = (codes != logits.shape[-1]).sum((0, 2)).clamp(min=1)
    return losses.sum((0, 2)) / known


def scheduled_logits(
    logits_of: Callable[[Tensor], Tensor],
    codes: Int[Tensor, "batch codebooks frames"],
    teacher_forcing_ratio: float,
) -> Float[Tensor, "batch codebooks frames classes"]:
    """Logits after a past that is in part the model's own: scheduled sampling in two passes.

    The first pass reads the true codes and draws a code at every place; the second reads the
    true code with probability ``teacher_forcing_ratio``, else the drawn one. Both run in
    parallel over time, and the gradient goes through the second alone.

    Args:
        logits_of: Gives the logits of all codes from the codes before them, as
            ``TokenDecoder`` does.
        codes: The true codes, padded at the end with the number of classes.
        teacher_forcing_ratio: In [0, 1]; at 1 there is one pass.

    References:
        Mihaylova and Martins, "Scheduled Sampling for Transformers", 2019;
        Bengio et al., "Scheduled Sampling for Sequence Prediction", 2015.
    """
    if teacher_forcing_ratio == 1:
        return logits_of(codes)
    with torch.no_grad():
        first = logits_of(codes)
        drawn = (first.float() + _gumbel(first)).argmax(-1)
    own = torch.rand(codes.shape, device=codes.device) >= teacher_forcing_ratio
    own &= codes != first.shape[-1]
    return logits_of(torch.where(own, drawn, codes))


def draw_shares(
    logits: Float[Tensor, "batch codebooks frames classes"], temperature: float = 1.0
) -> Float32[Tensor, "batch codebooks frames classes"]:
    """One code drawn at each place, as shares of 0 and 1 with the gradient of soft shares.

    References:
        Jang et al., "Categorical Reparameterization with Gumbel-Softmax", 2017.
    """
    noisy = logits.float() + _gumbel(logits)
    soft = (noisy / temperature).softmax(-1)
    hard = functional.one_hot(noisy.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return hard + (soft - soft.detach())


def _gumbel(like: Tensor) -> Tensor:
    return -torch.empty(like.shape, device=like.device).exponential_().clamp_min(1e-20).log()


class PerceptualLoss(nn.Module):
    """How far the sound of drawn codes is from that of the true ones, to the ear.

    The drawn codes go through the codec's books and its frozen decoder, and so does the
    gradient, which argmax would stop.

    Args:
        codec: Its own weights stay as they are.
        temperature: Of ``draw_shares``.
    """

    def __init__(self, codec: SoftDecoder, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.codec = codec
        self.temperature = temperature
        self.distance = MelLoss(codec.sample_rate)

    def forward(
        self,
        logits: Float[Tensor, "batch codebooks frames classes"],
        codes: Int[Tensor, "batch codebooks frames"],
    ) -> Float32[Tensor, ""]:
        """Multi-resolution mel distance; ``codes`` without padding."""
        with torch.autocast(logits.device.type, enabled=False):
            shares = draw_shares(logits, self.temperature)
            with torch.no_grad():
                truth = functional.one_hot(codes.long(), logits.shape[-1]).float()
                target = self.codec.decode_latent(self.codec.embed(truth))
            return self.distance(self.codec.decode_latent(self.codec.embed(shares)), target)


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


class CodeCritic(nn.Module):
    """Tells embedded codes of true music from drawn ones, given the rhythm that they play on.

    Args:
        latent_channels: Width of the codec's embedding.
        rhythm_features: Columns of the rhythm features.
        channels: Width of the critic.

    References:
        Arjovsky et al., "Wasserstein GAN", 2017.
    """

    def __init__(self, latent_channels: int, rhythm_features: int, channels: int = 128) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(inputs, channels, 9, stride=3, padding=4)
            for inputs in (latent_channels + rhythm_features, channels, channels)
        )
        self.score = nn.Conv1d(channels, 1, 3, padding=1)

    def forward(
        self,
        latent: Float32[Tensor, "batch frames channels"],
        rhythm: Float32[Tensor, "batch frames features"],
    ) -> Float32[Tensor, " batch"]:
        """A score without bounds, the higher the truer."""
        hidden = torch.cat([latent, rhythm], dim=-1).transpose(1, 2)
        for layer in self.layers:
            hidden = functional.leaky_relu(layer(hidden), 0.2)
        return self.score(hidden).mean((1, 2))


def critic_loss(
    critic: CodeCritic,
    true: Float32[Tensor, "batch frames channels"],
    drawn: Float32[Tensor, "batch frames channels"],
    rhythm: Float32[Tensor, "batch frames features"],
    *,
    penalty_weight: float = 10.0,
) -> dict[str, Tensor]:
    """What a WGAN-GP critic is to lower: score of drawn minus true, and the gradient penalty.

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs", 2017.
    """
    true, drawn = true.detach(), drawn.detach()
    share = torch.rand(len(true), 1, 1, device=true.device)
    between = torch.lerp(true, drawn, share).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between, rhythm).sum(), between, create_graph=True)
    norm = (gradient.square().sum((1, 2)) + 1e-12).sqrt()
    penalty = (norm - 1).square().mean()
    distance = critic(true, rhythm).mean() - critic(drawn, rhythm).mean()
    return {
        "total": penalty_weight * penalty - distance,
        "distance": distance,
        "gradient_penalty": penalty,
    }
