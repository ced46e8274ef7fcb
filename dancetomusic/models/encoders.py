"""Pose encoders of checkpoints of either kind, for estimating beats from movement."""

from __future__ import annotations

from functools import lru_cache

from dancetomusic.checkpoint import checkpoint_family
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.models.registry import READER
from dancetomusic.released import locate_checkpoint


@lru_cache(maxsize=4)
def load_encoder(checkpoint: str | None = None) -> PoseEncoder:
    """The pose encoder of a checkpoint, in evaluation mode.

    Args:
        checkpoint: Directory or released name of a ``pose_encoder`` as training writes it, or of a
            ``pose2audio`` model, which holds one; the released ``pose2audio`` by default.

    Raises:
        CheckpointError: If it cannot be loaded.
    """
    directory = locate_checkpoint(checkpoint or READER)
    if checkpoint_family(directory) == "pose_encoder":
        return PoseEncoder.from_pretrained(directory)
    return Pose2Audio.from_pretrained(directory).eval().encoder
