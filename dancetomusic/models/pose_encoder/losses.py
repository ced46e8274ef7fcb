"""Losses of what the pose encoder estimates of the rhythm."""

from __future__ import annotations

from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from dancetomusic.models.pose_encoder.network import PoseEncoding


def rhythm_terms(
    said: PoseEncoding,
    *,
    phase: Float32[Tensor, "batch frames 2"],
    beats: Float32[Tensor, "batch frames"],
    downbeats: Float32[Tensor, "batch frames"],
    energy: Float32[Tensor, "batch frames"],
    mask: Float32[Tensor, "batch frames"],
) -> dict[str, Tensor]:
    """Losses of phase, beat, downbeat and energy over the frames where ``mask`` is 1.

    Args:
        said: What the encoder says.
        phase: Cosine and sine of the beat phase.
        beats: Probability of a beat.
        downbeats: Probability of a downbeat.
        energy: In [0, 1].
        mask: Frames that count.
    """
    share = mask / mask.sum().clamp(min=1.0)
    beat, downbeat = (
        functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        for logits, target in ((said.beat_logits, beats), (said.downbeat_logits, downbeats))
    )
    return {
        "phase": ((said.phase.float() - phase).square().sum(dim=-1) * share).sum(),
        "beat": (beat * share).sum(),
        "downbeat": (downbeat * share).sum(),
        "energy": ((said.energy.float() - energy).square() * share).sum(),
    }
