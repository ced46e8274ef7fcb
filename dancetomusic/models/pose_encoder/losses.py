"""Losses of what the pose encoder estimates of the rhythm."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding
from dancetomusic.models.pose_encoder.tempo import rhythm_signals
from dancetomusic.models.pose_encoder.training_data import RhythmBatch
from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.training.losses import with_total
from dancetomusic.types import POSE_FPS

TEMPO_SPREAD_OCTAVES = 0.03
"""Standard deviation of the target about the true tempo."""


def rhythm_terms(
    estimate: PoseEncoding,
    *,
    phase: Float32[Tensor, "batch frames 2"],
    beats: Float32[Tensor, "batch frames"],
    downbeats: Float32[Tensor, "batch frames"],
    energy: Float32[Tensor, "batch frames"],
    mask: Float32[Tensor, "batch frames"],
) -> dict[str, Tensor]:
    """Losses of phase, beat, downbeat and energy over the frames where ``mask`` is 1.

    The phase is given as cosine and sine, beats and downbeats as probabilities.
    """
    share = mask / mask.sum().clamp(min=1.0)
    beat, downbeat = (
        functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        for logits, target in ((estimate.beat_logits, beats), (estimate.downbeat_logits, downbeats))
    )
    return {
        "phase": ((estimate.phase.float() - phase).square().sum(dim=-1) * share).sum(),
        "beat": (beat * share).sum(),
        "downbeat": (downbeat * share).sum(),
        "energy": ((estimate.energy.float() - energy).square() * share).sum(),
    }


def rhythm_loss(
    encoder: PoseEncoder,
    batch: RhythmBatch,
    *,
    phase_weight: float = 1.0,
    beat_weight: float = 1.0,
    downbeat_weight: float = 1.0,
    energy_weight: float = 1.0,
    tempo_weight: float = 0.3,
) -> dict[str, Tensor]:
    """Weighted loss terms over the frames in which the dancer is seen; ``total`` is their sum."""
    estimate = encoder(batch.world, batch.present)
    terms = rhythm_terms(
        estimate,
        phase=batch.phase,
        beats=batch.beats,
        downbeats=batch.downbeats,
        energy=batch.energy,
        mask=batch.mask,
    )
    terms["tempo"] = _tempo_loss(encoder, estimate.tempo_logits, batch)
    weights = {
        "phase": phase_weight,
        "beat": beat_weight,
        "downbeat": downbeat_weight,
        "energy": energy_weight,
        "tempo": tempo_weight,
    }
    terms = {name: weights[name] * value for name, value in terms.items()}
    return with_total(terms)


def _tempo_loss(
    encoder: PoseEncoder, logits: Float[Tensor, "batch tempi"], batch: RhythmBatch
) -> Float[Tensor, ""]:
    """Cross-entropy of the tempo, estimated from the whole crop and from each window.

    Crops count by the frames in which the dancer is seen, as in the other terms.
    """
    # Target: a Gaussian about the true tempo, on the logarithm.
    candidates = torch.from_numpy(TEMPI_BPM).float().to(batch.bpm.device)
    octaves = torch.log2(candidates / batch.bpm[:, None])
    near = torch.softmax(-0.5 * (octaves / TEMPO_SPREAD_OCTAVES).square(), dim=1)
    # Estimates: of the encoder for the crop, of its tempo head alone for each window.
    signals = rhythm_signals(batch.world, POSE_FPS)
    estimates = [logits]
    estimates += [
        encoder.tempo(signals, window, POSE_FPS) for window in batch.windows.unbind(dim=1)
    ]
    misses = torch.stack([-(near * each.log_softmax(dim=1)).sum(dim=1) for each in estimates])
    share = batch.mask.sum(dim=1) / batch.mask.sum().clamp(min=1.0)
    return (misses.mean(dim=0) * share).sum()
