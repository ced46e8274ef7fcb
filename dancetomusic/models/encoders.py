"""Pose encoders of checkpoints of either kind, for estimating beats from movement."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dancetomusic.checkpoint import checkpoint_family, load_checkpoint, load_into
from dancetomusic.config import config_from_dict
from dancetomusic.errors import CheckpointError
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.models.registry import READER, families
from dancetomusic.released import locate_checkpoint

_WITHIN = "encoder."
"""Before the names of an encoder's tensors in a ``pose2audio`` checkpoint."""


@lru_cache(maxsize=4)
def load_encoder(checkpoint: str | None = None) -> PoseEncoder:
    """The pose encoder of a checkpoint, in evaluation mode.

    Args:
        checkpoint: Directory or released name of a ``pose_encoder`` as training writes it, or of a
            ``pose2audio`` model, which holds one; the released ``pose2audio`` by default.

    Raises:
        CheckpointError: If it cannot be loaded.
    """
    return open_encoder(checkpoint or READER)[0]


def open_encoder(checkpoint: Path | str) -> tuple[PoseEncoder, dict[str, Any]]:
    """A pose encoder of its own, to be trained further, and what its checkpoint says of it.

    Raises:
        CheckpointError: If the checkpoint is missing, corrupted, or holds no pose encoder.
    """
    directory = locate_checkpoint(checkpoint)
    family = checkpoint_family(directory)
    if family not in families() or not families()[family].reads_beats:
        raise CheckpointError(
            f"{directory} holds a {family!r} model, which has no pose encoder",
            "Name a checkpoint of pose_encoder or pose2audio.",
        )
    held = load_checkpoint(directory, model=family)
    metadata = held.metadata
    if _WITHIN.rstrip(".") in held.config:
        own = {name: t for name, t in held.tensors.items() if name.startswith(_WITHIN)}
        held = replace(
            held,
            config=held.config[_WITHIN.rstrip(".")],
            tensors={name.removeprefix(_WITHIN): tensor for name, tensor in own.items()},
        )
        metadata = metadata.get("pose_encoder", metadata)
    encoder = PoseEncoder(config_from_dict(PoseEncoderConfig, held.config))
    load_into(encoder, held, directory)
    return encoder.eval(), metadata
