"""What is estimated from a clip: its poses, its sound, and how far both can be trusted."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Sequence
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
from dancetomusic.data.clip import MIX_FILE, PICTURES_FILE, POSES_FILE, ClipQuality, shown_moments
from dancetomusic.errors import PoseError, VideoError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import read_flac, write_flac
from dancetomusic.io.video import read_frames
from dancetomusic.pose.draw import draw_skeleton
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.files import save_poses
from dancetomusic.pose.mediapipe import DETECTION_SIDE
from dancetomusic.types import PoseSequence

QUALITY_FILE = "quality.json"
PICTURE_SIDE = 160
"""Longer side of a picture that is kept, in pixels."""
JPEG_QUALITY = 70
"""Of the kept pictures, as OpenCV has it."""
MAX_MISSING = 2
"""Pictures that may be missing at the end of a clip; the last one is shown on."""


def observe(task: ClipTask, work: Path, settings: BuildSettings) -> ClipQuality:
    """Write poses, mix and some pictures of a clip into ``work``, and say how good they are.

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
    shown: list[UInt8[np.ndarray, "height width 3"]] = []
    moments = set(shown_moments(settings.n_frames))
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
            _watched(_complete(pictures, settings.n_frames), watch, moments, shown),
            settings.fps,
            model_path=settings.pose_model,
            overlap=False,
        )[0]
        save_poses(work / POSES_FILE, poses)
    save_pictures(work / PICTURES_FILE, shown, poses, settings.n_frames)
    quality = measure_quality(poses, mix, task.beats, watch)
    with atomic_output(done) as temporary:
        temporary.write_text(json.dumps(asdict(quality), sort_keys=True), encoding="utf-8")
    return quality


def save_pictures(
    path: Path,
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    poses: PoseSequence | None,
    n_frames: int,
) -> None:
    """Write pictures of a clip with the dancer's skeleton over them, as one JPEG.

    Upright ones stand side by side, wide ones in two rows.

    ``frames`` are those at the ``shown_moments`` of the clip, which has ``n_frames`` in all.

    Raises:
        OutputError: If they cannot be written.
    """
    import cv2

    height, width = frames[0].shape[:2]
    scale = PICTURE_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = []
    for moment, frame in zip(shown_moments(n_frames), frames, strict=True):
        if poses is not None and poses.image is not None and poses.present[moment]:
            frame = draw_skeleton(frame, poses.image[moment])
        small.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    n_rows = 2 if width >= height and len(small) % 2 == 0 else 1
    rows = np.split(np.stack(small), n_rows)
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, content = cv2.imencode(".jpg", sheet[..., ::-1], options)
    with atomic_output(path) as temporary:
        temporary.write_bytes(content.tobytes())


def _watched(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    watch: PictureWatch,
    moments: Container[int],
    shown: list[UInt8[np.ndarray, "height width 3"]],
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The same frames; those at ``moments`` are added to ``shown``."""
    for number, frame in enumerate(frames):
        watch.add(frame)
        if number in moments:
            shown.append(frame)
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
