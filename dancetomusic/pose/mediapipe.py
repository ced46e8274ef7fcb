"""MediaPipe's pose landmarker on a video: its model, its quirks, its silence."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from dancetomusic.errors import DependencyError, InputError, OutputError
from dancetomusic.io.cache import cache_directory
from dancetomusic.pose.landmarks import TORSO
from dancetomusic.released import released_folder

DETECTION_SIDE = 640
"""Longer side, in pixels, of the pictures that MediaPipe sees.

It shrinks each picture to 224 pixels without averaging, so a dancer in a 1080p studio
shot is missed in most frames unless the picture is averaged down before.
"""

CROWD = 4
"""People looked for, at least, where more than one is in the picture."""

SCOUT_INTERVAL_S = 2.0
"""How often a video of one dancer is checked for a second person."""

SCOUT_CONFIDENCE = 0.3
"""Detection confidence in that check; a mistake costs time only."""

FIRST_THAT_REPORTS = (0, 10, 34)
"""From this version on MediaPipe sends statistics of its use over the network, and cannot be told
not to; nothing here may do so without being asked."""

_INSTALL = "pip install 'mediapipe>=0.10.14,<0.10.34'"

SAME_BODY = 0.5
"""Two detections closer than this many torso lengths are of one body."""


@dataclass(frozen=True)
class Detection:
    """One person in one frame, as the detector sees them.

    Attributes:
        image: x and y as a share of the picture's width and height, z on the scale of x.
        world: Metres, hip-centred, x right in the image, y down, z away from the camera.
        visibility: In [0, 1].
        aspect: Width of the picture divided by its height.
    """

    image: Float32[np.ndarray, "33 3"]
    world: Float32[np.ndarray, "33 3"]
    visibility: Float32[np.ndarray, " 33"]
    aspect: float

    @property
    def points(self) -> Float32[np.ndarray, "33 2"]:
        """Positions in the picture in units of its height, so that both axes measure alike."""
        return self.image[:, :2] * np.array([self.aspect, 1.0], np.float32)

    @property
    def torso(self) -> float:
        """Body scale in picture heights: the largest side or diagonal of the trunk."""
        corners = self.points[list(TORSO)]
        sides = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
        return max(float(sides.max()), 1e-3)

    @property
    def height(self) -> float:
        """Extent of the body inside the picture, as a share of the picture's height."""
        y = np.clip(self.image[:, 1], 0.0, 1.0)
        return float(y.max() - y.min())


def body_distance(a: Detection, b: Detection) -> float:
    """Mean distance between the trunk corners of two bodies, in torso lengths."""
    corners = list(TORSO)
    gap = np.linalg.norm(a.points[corners] - b.points[corners], axis=-1).mean()
    return float(gap) / max(a.torso, b.torso)


def detect_poses(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: float,
    *,
    num_dancers: int = 1,
    model_path: Path | str | None = None,
) -> Iterator[list[Detection]]:
    """Find the people in each frame of one video; one list per frame, empty for nobody.

    ``frames`` are RGB pictures; the other arguments, and errors, are those of ``PoseDetector``.
    """
    with PoseDetector(fps, num_dancers=num_dancers, model_path=model_path) as detector:
        for frame in frames:
            yield detector.detect(frame)


class PoseDetector(contextlib.AbstractContextManager):
    """Finds the people in the frames of one video, given one after the other.

    Looking for several people costs two to three times as much as for one, so with
    ``num_dancers=1`` the video is followed with one, and looked at for others every two
    seconds; from where others are seen, all are reported.

    A few more people than wanted are reported where they are seen; ``model_path`` is a ``.task``
    file to use instead of the one that comes with the package.

    Raises:
        DependencyError: If MediaPipe or a system library that it needs is missing.
        InputError: If ``model_path`` is not a pose landmarker model.
    """

    def __init__(
        self, fps: float, *, num_dancers: int = 1, model_path: Path | str | None = None
    ) -> None:
        self._vision = _import_vision()
        # MediaPipe 0.10.14 causes this one with every result.
        warnings.filterwarnings("ignore", message=r"SymbolDatabase\.GetPrototype")
        self._model = Path(model_path) if model_path is not None else default_model()
        self._fps = fps
        self._crowd = max(CROWD, num_dancers + 2)
        self._n_frames = 0
        self._fresh = True
        self._open = contextlib.ExitStack()
        self.looks_for_many = num_dancers > 1
        if not self.looks_for_many:
            still = self._vision.RunningMode.IMAGE
            self._scout = self._landmarker(still, CROWD, SCOUT_CONFIDENCE)
        self._follow(self._crowd if self.looks_for_many else 1)

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def detect(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
        """The people in the next frame (RGB); large pictures are averaged down first."""
        picture = shrink(frame)
        aspect = picture.shape[1] / picture.shape[0]
        image = _to_mediapipe(picture)
        scouting = self._n_frames % max(1, round(SCOUT_INTERVAL_S * self._fps)) == 0
        if scouting and not self.looks_for_many:
            with _silence() if self._fresh else contextlib.nullcontext():
                seen = _to_detections(self._scout.detect(image), aspect)
            if len(seen) > 1:
                self.looks_for_many = True
                self._follow(self._crowd)
        time_ms = round(self._n_frames * 1000 / self._fps)
        with _silence() if self._fresh else contextlib.nullcontext():
            result = self._landmarker_of_video.detect_for_video(image, time_ms)
        self._fresh = False
        self._n_frames += 1
        return _to_detections(result, aspect)

    def _follow(self, num_poses: int) -> None:
        """From now on, follow that many people."""
        self._landmarker_of_video = self._landmarker(self._vision.RunningMode.VIDEO, num_poses)
        self._fresh = True

    def _landmarker(self, mode: Any, num_poses: int, confidence: float = 0.5) -> Any:
        """An open landmarker, closed with this."""
        if not self._model.is_file():
            raise InputError(f"pose model {self._model} does not exist", "Name a .task file.")
        from mediapipe.tasks.python import BaseOptions

        options = self._vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self._model)),
            running_mode=mode,
            num_poses=num_poses,
            min_pose_detection_confidence=confidence,
        )
        try:
            with _silence():
                landmarker = self._vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{self._model} is not a pose landmarker model",
                "Name MediaPipe's pose_landmarker_*.task.",
            ) from error
        return self._open.enter_context(landmarker)


def shrink(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height2 width2 3"]:
    """The picture averaged down to what the detector needs; small ones as they are."""
    height, width = frame.shape[:2]
    scale = DETECTION_SIDE / max(height, width)
    if scale >= 1:
        return frame
    import cv2

    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def default_model() -> Path:
    """The landmarker that comes with the package, of MediaPipe's model "full".

    Raises:
        CheckpointError: If the package came without it.
    """
    return released_folder("pose_landmarker") / "pose_landmarker_full.task"


def _import_vision() -> ModuleType:
    with contextlib.suppress(OutputError):  # Matplotlib, which MediaPipe loads, keeps a list there
        os.environ.setdefault("MPLCONFIGDIR", str(cache_directory() / "matplotlib"))
    try:
        with _silence():
            from mediapipe import __version__ as version
            from mediapipe.tasks.python import vision
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"the package {error.name} is not installed", f"Run: {_INSTALL}"
        ) from error
    except ImportError as error:
        raise DependencyError(
            f"MediaPipe cannot be loaded ({error})",
            "Run: apt-get install libgl1 libglib2.0-0",
        ) from error
    if tuple(int(part) for part in version.split(".")[:3]) >= FIRST_THAT_REPORTS:
        raise DependencyError(
            f"mediapipe {version} reports its use to its makers", f"Run: {_INSTALL}"
        )
    return vision


def _to_mediapipe(picture: UInt8[np.ndarray, "height width 3"]) -> Any:
    import mediapipe

    return mediapipe.Image(
        image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
    )


def _to_detections(result: Any, aspect: float) -> list[Detection]:
    """Arrays from MediaPipe's result, each body once: it often reports one body twice."""
    found = [
        Detection(
            image=np.array([(p.x, p.y, p.z) for p in image], np.float32),
            world=np.array([(p.x, p.y, p.z) for p in world], np.float32),
            visibility=np.clip(np.array([p.visibility for p in image], np.float32), 0, 1),
            aspect=aspect,
        )
        for image, world in zip(result.pose_landmarks, result.pose_world_landmarks, strict=True)
    ]
    return distinct_bodies(found)


def distinct_bodies(found: list[Detection]) -> list[Detection]:
    """Of detections on the same body, the most visible."""
    kept: list[Detection] = []
    for person in sorted(found, key=lambda person: -float(person.visibility.mean())):
        if all(body_distance(person, other) > SAME_BODY for other in kept):
            kept.append(person)
    return kept


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what C++ libraries print at start from the user; exceptions pass."""
    sys.stderr.flush()
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
