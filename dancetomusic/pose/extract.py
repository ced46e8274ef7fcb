"""Dancers from the frames of a video: detect, follow, clean."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8

from dancetomusic.errors import PoseError
from dancetomusic.io.video import prefetch
from dancetomusic.pose.cleaning import MIN_DURATION_S, MIN_PRESENT_SHARE, clean, require_dancer
from dancetomusic.pose.mediapipe import Detection, detect_poses, shrink
from dancetomusic.pose.stretches import find_people
from dancetomusic.pose.tracking import track_dancers
from dancetomusic.types import POSE_FPS, PoseSequence


def extract_poses(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: float = POSE_FPS,
    *,
    num_dancers: int = 1,
    model_path: Path | str | None = None,
    overlap: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> list[PoseSequence]:
    """Poses of up to ``num_dancers`` people, the most prominent first.

    Each sequence has a row for every frame, detected or not.

    Args:
        frames: RGB pictures of one video at ``fps``.
        fps: Frames a second.
        num_dancers: People to return at most, from 1.
        model_path: A ``.task`` file to use instead of the one that comes with the package.
        overlap: Take frames in a thread of their own, so that decoding and detection overlap;
            useless where other videos keep the cores busy.
        on_progress: Called with the number of frames done after each.

    Raises:
        PoseError: If the video is shorter than a second, shows nobody, or shows its main
            dancer in less than a tenth of the frames.
        DependencyError: If MediaPipe cannot be loaded.
    """
    _check(num_dancers)
    seen = []
    small = (shrink(frame) for frame in frames)
    pictures = prefetch(small) if overlap else small
    with closing(cast(Generator, pictures)):
        for found in detect_poses(pictures, fps, num_dancers=num_dancers, model_path=model_path):
            seen.append(found)
            if on_progress is not None:
                on_progress(len(seen))
    return _follow(seen, fps, num_dancers)


def extract_video_poses(
    video: Path | str,
    fps: float = POSE_FPS,
    *,
    num_dancers: int = 1,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[PoseSequence]:
    """Poses as of ``extract_poses``, with several stretches of the video looked at at once.

    ``workers`` is as for ``find_people``: it changes nothing in the poses.

    Raises:
        VideoError: If the video cannot be read.
        PoseError: As ``extract_poses`` does.
        DependencyError: If MediaPipe cannot be loaded.
    """
    _check(num_dancers)
    seen = find_people(
        video, fps, num_dancers=num_dancers, workers=workers, on_progress=on_progress
    )
    return _follow(seen, fps, num_dancers)


def _check(num_dancers: int) -> None:
    if num_dancers < 1:
        raise PoseError(f"{num_dancers} dancers are wanted", "Ask for at least 1.")


def _follow(seen: list[list[Detection]], fps: float, num_dancers: int) -> list[PoseSequence]:
    """The dancers among the people of each frame, cleaned."""
    if len(seen) < MIN_DURATION_S * fps:
        raise PoseError(
            f"the video lasts {len(seen) / fps:.2f} s", f"Give at least {MIN_DURATION_S:g} s."
        )
    tracks = track_dancers(seen, fps)
    if not tracks:
        raise PoseError(
            f"no person was found in {len(seen)} frames",
            "Give a video in which a dancer is seen from head to feet, large enough and lit.",
        )
    dancers = [clean(track, fps) for track in tracks[:num_dancers]]
    require_dancer(dancers[0])
    return [dancer for dancer in dancers if dancer.present_share >= MIN_PRESENT_SHARE]
