"""A video, a file or poses become dancers, and dancers the rhythm that all of them show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dancetomusic.errors import PoseError
from dancetomusic.media.video import probe_video, read_frames
from dancetomusic.models.pose_encoder import (
    POSE_FPS,
    PoseEncoder,
    PoseEncoding,
    encode_poses,
    rhythm_from_encoding,
)
from dancetomusic.pose.cleaning import MIN_DURATION_S
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.files import load_poses
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.mediapipe import DETECTION_SIDE
from dancetomusic.rhythm.files import load_beats
from dancetomusic.types import PoseSequence, RhythmTrack

logger = logging.getLogger(__name__)


def read_dancers(
    source: Path | str | PoseSequence,
    num_dancers: int = 1,
    on_progress: Callable[[float], None] = lambda share: None,
) -> tuple[list[PoseSequence], Path | None]:
    """Dancers at 24 poses a second, the most prominent first, and the video that shows them.

    Args:
        source: A video, poses as ``.npz``, or a pose sequence.
        num_dancers: People to follow at most.
        on_progress: Called with the share read.

    Raises:
        VideoError: If the video cannot be read.
        PoseError: If nobody dances in it, or for less than a second.
    """
    video: Path | None = None
    if isinstance(source, PoseSequence):
        dancers = [resample_poses(source, POSE_FPS)]
    elif Path(source).suffix.lower() == ".npz":
        dancers = [load_poses(source, POSE_FPS)]
    else:
        video = Path(source)
        dancers = _poses_of_video(video, num_dancers, on_progress)
    _require_length(dancers[0])
    return dancers, video


@torch.inference_mode()
def hear_rhythm(
    encoder: PoseEncoder,
    dancers: Sequence[PoseSequence],
    *,
    bpm: float | None = None,
    beats: Path | str | None = None,
) -> tuple[PoseEncoding, RhythmTrack]:
    """What the encoder says of the dancers, and the beats that they dance.

    Args:
        encoder: In evaluation mode.
        dancers: At 24 poses a second, of one length; they steer together.
        bpm: Tempo to keep; only the phase is then read.
        beats: CSV of beats to take instead of those danced.

    Raises:
        InputError: If ``bpm`` is outside 40-240, or the beats cannot be used.
    """
    together = _together([encode_poses(encoder, dancer) for dancer in dancers], dancers)
    rhythm = rhythm_from_encoding(together, dancers[0], encoder.config.frame_rate, bpm=bpm)
    if beats is not None:
        given = load_beats(beats, rhythm.duration_s)
        rhythm = replace(given, energy=rhythm.energy, energy_rate=rhythm.energy_rate)
    return together, rhythm


def _poses_of_video(
    video: Path, num_dancers: int, report: Callable[[float], None]
) -> list[PoseSequence]:
    info = probe_video(video)
    if info.truncated:
        logger.warning("%s is cut short: its first %.1f s are used", video, info.duration_s)
    expected = max(1, round(info.duration_s * POSE_FPS))
    return extract_poses(
        read_frames(video, POSE_FPS, max_side=DETECTION_SIDE),
        POSE_FPS,
        num_dancers=num_dancers,
        on_progress=lambda done: report(min(1.0, done / expected)),
    )


def _require_length(poses: PoseSequence) -> None:
    if poses.duration_s < MIN_DURATION_S:
        raise PoseError(
            f"the dance lasts {poses.duration_s:.2f} s", f"Give at least {MIN_DURATION_S:g} s."
        )
    if not poses.present.any():
        raise PoseError("no frame has a usable pose", "Give poses without NaN.")


def _together(encodings: Sequence[PoseEncoding], dancers: Sequence[PoseSequence]) -> PoseEncoding:
    """The first dancer's memory with the rhythm that all show, each weighted by presence."""
    if len(encodings) == 1:
        return encodings[0]
    weights = torch.tensor([dancer.present_share for dancer in dancers])
    weights = weights / weights.sum()
    values = (
        sum(w * getattr(e, name) for w, e in zip(weights, encodings, strict=True))
        for name in ("phase", "beat_logits", "downbeat_logits", "energy", "tempo_logits")
    )
    first = encodings[0]
    return PoseEncoding(first.memory, first.memory_mask, *values)
