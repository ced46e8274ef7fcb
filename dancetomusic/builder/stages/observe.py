"""What is estimated from a clip: its poses, its sound, and how far both can be trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dancetomusic.builder.picture_watch import PictureWatch
from dancetomusic.builder.quality import measure_quality
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.stages.cut import ClipTask
from dancetomusic.builder.stages.standardise import read_part
from dancetomusic.data.clip import MIX_FILE, POSES_FILE, ClipQuality
from dancetomusic.errors import PoseError, VideoError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import read_flac, write_flac
from dancetomusic.io.video import read_frames
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.files import save_poses
from dancetomusic.pose.mediapipe import DETECTION_SIDE

QUALITY_FILE = "quality.json"
MAX_MISSING = 2
"""Pictures that may be missing at the end of a clip; the last one is shown on."""


def observe(task: ClipTask, work: Path, settings: BuildSettings) -> ClipQuality:
    """Write the poses and the mix of a clip into ``work``, and say how good they are.

    What is there already is kept. A clip without a dancer has no poses, one without sound no
    mix.

    Raises:
        VideoError: If the video cannot be read, or ends before the clip does.
        DependencyError: If MediaPipe cannot be loaded.
        OutputError: If ``work`` cannot be written.
    """
    done = work / QUALITY_FILE
    if done.is_file():
        return ClipQuality(**json.loads(done.read_text(encoding="utf-8")))
    start_s = task.start_s - task.offset_s
    mix = None
    if task.sound is not None:
        write_flac(work / MIX_FILE, read_part(Path(task.sound), start_s, settings.n_samples))
        mix = read_flac(work / MIX_FILE)
    watch = PictureWatch()
    pictures = read_frames(
        task.media,
        settings.fps,
        max_side=DETECTION_SIDE,
        start_s=start_s,
        n_frames=settings.n_frames,
    )
    poses = None
    with suppress(PoseError):  # nobody there: the gate will say so
        poses = extract_poses(
            _watched(_complete(pictures, settings.n_frames), watch),
            settings.fps,
            model_path=settings.pose_model,
            overlap=False,
        )[0]
        save_poses(work / POSES_FILE, poses)
    quality = measure_quality(poses, mix, watch)
    with atomic_output(done) as temporary:
        temporary.write_text(json.dumps(asdict(quality), sort_keys=True), encoding="utf-8")
    return quality


def _watched(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], watch: PictureWatch
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    for frame in frames:
        watch.add(frame)
        yield frame


def _complete(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], n_frames: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Exactly ``n_frames`` of them."""
    count = 0
    for count, frame in enumerate(frames, start=1):  # noqa: B007
        yield frame
    if count < n_frames - MAX_MISSING or not count:
        raise VideoError(
            f"the video ends {n_frames - count} pictures before the clip",
            "Give a complete video, or an earlier end.",
        )
    for _ in range(n_frames - count):
        yield frame
