"""Losses of codes: cross-entropy, scheduled sampling, the sound that codes stand for, a critic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.codec.soft import SoftDecoder
from dancetomusic.training.losses import MelLoss, critic_losses


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
    """Logits given a past that is in part the model's own samples: scheduled sampling, two passes.

    The first pass reads the true codes and samples every code; the second reads the true code
    with probability ``teacher_forcing_ratio``, else the sampled one. Both run in parallel over
    time, and the gradient goes through the second alone.

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
        sampled = (first.float() + _gumbel(first)).argmax(-1)  # the Gumbel-max trick
    own = torch.rand(codes.shape, device=codes.device) >= teacher_forcing_ratio
    own &= codes != first.shape[-1]
    return logits_of(torch.where(own, sampled, codes))


def sample_straight_through(
    logits: Float[Tensor, "batch codebooks frames classes"], temperature: float = 1.0
) -> Float32[Tensor, "batch codebooks frames classes"]:
    """One sampled code at each position, one-hot, with the gradient of the softmax.

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
    """Spectral distance between the sounds of sampled and true codes.

    Sampled codes go through the codec's codebooks and its frozen decoder, and so does the
    gradient, which argmax would stop.
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
            shares = sample_straight_through(logits, self.temperature)
            with torch.no_grad():
                truth = functional.one_hot(codes.long(), logits.shape[-1]).float()
                target = self.codec.decode_latent(self.codec.embed(truth))
            return self.distance(self.codec.decode_latent(self.codec.embed(shares)), target)


class CodeCritic(nn.Module):
    """Classifies embedded codes as true music or sampled, given their rhythm."""

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


class Adversary:
    """A critic of codes, and the losses of both sides."""

    def __init__(
        self, codec: SoftDecoder, rhythm_features: int, *, penalty_weight: float = 10.0
    ) -> None:
        self.codec, self.penalty_weight = codec, penalty_weight
        self.critic = CodeCritic(codec.latent_channels, rhythm_features)

    def critic_losses(
        self,
        logits: Float[Tensor, "batch codebooks frames classes"],
        codes: Int[Tensor, "batch codebooks frames"],
        rhythm: Float32[Tensor, "batch frames features"],
    ) -> dict[str, Tensor]:
        """Losses of the critic between true codes and codes sampled from logits."""
        with torch.autocast(logits.device.type, enabled=False):
            sampled = self.codec.embed(sample_straight_through(logits))
            true = self.codec.embed(functional.one_hot(codes, logits.shape[-1]).float())
            share = 1 - torch.rand(len(true), device=true.device)
            return critic_losses(
                lambda latent: self.critic(latent, rhythm), true, sampled, share,
                self.penalty_weight,
            )  # fmt: skip

    def generator_loss(
        self,
        logits: Float[Tensor, "batch codebooks frames classes"],
        rhythm: Float32[Tensor, "batch frames features"],
    ) -> Float32[Tensor, ""]:
        """Minus the critic's mean score of codes sampled from logits."""
        with torch.autocast(logits.device.type, enabled=False):
            return -self.critic(self.codec.embed(sample_straight_through(logits)), rhythm).mean()
