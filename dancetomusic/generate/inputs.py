"""A video, a file or poses become dancers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from dancetomusic.errors import PoseError
from dancetomusic.io.video import probe_video
from dancetomusic.pose.cleaning import MIN_DURATION_S
from dancetomusic.pose.extract import extract_video_poses
from dancetomusic.pose.files import load_poses
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.types import POSE_FPS, PoseSequence

logger = logging.getLogger(__name__)

Source = Path | str | PoseSequence | Sequence[PoseSequence]
"""What music is made for: a video, poses as ``.npz``, or dancers."""


def read_dancers(
    source: Source,
    num_dancers: int = 1,
    on_progress: Callable[[float], None] = lambda share: None,
    *,
    workers: int | None = None,
) -> tuple[list[PoseSequence], Path | None]:
    """Dancers at 24 poses a second, the most prominent first, and the video that shows them.

    Args:
        source: A video, poses as ``.npz``, or the dancers themselves, of one length.
        num_dancers: People to follow at most.
        on_progress: Called with the share read.
        workers: As for ``find_people``.

    Raises:
        VideoError: If the video cannot be read.
        PoseError: If nobody dances in it, or for less than a second.
    """
    video: Path | None = None
    if isinstance(source, PoseSequence):
        source = [source]
    if not isinstance(source, str | Path):
        dancers = [resample_poses(dancer, POSE_FPS) for dancer in source]
        if len({len(dancer) for dancer in dancers}) != 1:
            raise PoseError(
                f"{len(dancers)} dancers of different lengths" if dancers else "there is no dancer",
                "Give one dancer or more, all of one length.",
            )
    elif Path(source).suffix.lower() == ".npz":
        dancers = [load_poses(source, POSE_FPS)]
    else:
        video = Path(source)
        dancers = _poses_of_video(video, num_dancers, on_progress, workers)
    _require_length(dancers[0])
    return dancers, video


def _poses_of_video(
    video: Path, num_dancers: int, report: Callable[[float], None], workers: int | None
) -> list[PoseSequence]:
    info = probe_video(video)
    if info.truncated:
        logger.warning("%s is cut short: its first %.1f s are used", video, info.duration_s)
    expected = max(1, round(info.duration_s * POSE_FPS))
    return extract_video_poses(
        video,
        POSE_FPS,
        num_dancers=num_dancers,
        workers=workers,
        on_progress=lambda done: report(min(1.0, done / expected)),
    )


def _require_length(poses: PoseSequence) -> None:
    if poses.duration_s < MIN_DURATION_S:
        raise PoseError(
            f"the dance lasts {poses.duration_s:.2f} s", f"Give at least {MIN_DURATION_S:g} s."
        )
    if not poses.present.any():
        raise PoseError("no frame has a usable pose", "Give poses without NaN.")
