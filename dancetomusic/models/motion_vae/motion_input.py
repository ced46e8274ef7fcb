"""Movement as a segment of some columns: the small image that the sampler reads.

Both inputs, motiongrams and poses, are measured a second and by how much has moved in the last
half minute, so that neither the camera's distance nor a dancer's temper decides the sound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dancetomusic.errors import InputError
from dancetomusic.models.motion_vae.motiongram import N_BINS, MotiongramStream
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.types import PoseSequence

Source = Literal["motiongram", "poses"]
SOURCES: tuple[Source, ...] = ("motiongram", "poses")
JOINTS = (LANDMARK["nose"], *range(11, 17), *range(23, 29))
N_FEATURES: dict[Source, int] = {"motiongram": 2 * N_BINS + 1, "poses": 2 * len(JOINTS) + 1}

LEVEL_S = 20.0
"""Over how long the usual quantity of movement is taken."""

PAUSE = 0.1
"""Less than this share of the usual quantity is a pause, and no reason to expect less."""

FLOOR: dict[Source, float] = {"motiongram": 0.002, "poses": 0.05}
"""The least usual quantity: brightness a second, metres a second."""

HELD_S = 0.25
"""How long the last movement counts when no picture follows."""


@dataclass(frozen=True)
class MovementTrack:
    """Features of movement over time.

    Attributes:
        times_s: When each picture was shown, increasing.
        features: What moved since the picture before.
    """

    times_s: Float64[np.ndarray, " pictures"]
    features: Float32[np.ndarray, "pictures features"]

    def segments(
        self, at_s: Float64[np.ndarray, " segments"], segment_s: float, n_columns: int
    ) -> Float32[np.ndarray, "segments columns features"]:
        """The last ``segment_s`` before each time, in even columns; only what was known then.

        A column holds what moved between the two pictures around its end; one that is too new
        holds the last known. Nothing moves before the first picture, and ``HELD_S`` after the
        last.
        """
        offsets = segment_s * (np.arange(n_columns) + 1 - n_columns) / n_columns
        moments = at_s[:, None] + offsets
        if not self.times_s.size:
            return np.zeros((*moments.shape, self.features.shape[1]), np.float32)
        known = np.searchsorted(self.times_s, at_s + 1e-9, side="right") - 1
        index = np.minimum(np.searchsorted(self.times_s, moments - 1e-9), known[:, None])
        held = np.maximum(index, 0)
        stale = (index < 0) | (moments - self.times_s[held] > HELD_S)
        return np.where(stale[..., None], np.float32(0.0), self.features[held])


class MovementReader:
    """Features of movement as it comes, relative to how much has moved so far.

    Segments may reach ``keep_s`` back; ``None`` forgets nothing.
    """

    def __init__(self, source: Source, keep_s: float | None = None) -> None:
        self.source, self._keep_s = source, keep_s
        self._stream = MotiongramStream()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._stream.reset()
        self._joints: np.ndarray | None = None
        self._weight = self._sum = 0.0
        self._times: list[float] = []
        self._features: list[np.ndarray] = []

    def push_frame(self, frame: UInt8[np.ndarray, "height width 3"], time_s: float) -> None:
        """Take the next picture, RGB, shown at a time in seconds.

        Raises:
            InputError: If times do not increase, or poses are read.
        """
        step_s = self._step(time_s, "motiongram")
        by_row, by_column = self._stream.push(frame)
        rates = np.concatenate([by_row, by_column]) / np.float32(step_s)
        usual = self._usual(float(by_row.mean()) / step_s, step_s)
        whole = by_row.mean(keepdims=True) / np.float32(step_s)
        self._keep(time_s, np.log1p(np.concatenate([rates, whole]) / np.float32(usual)))

    def push_pose(self, world: Float32[np.ndarray, "33 3"], present: bool, time_s: float) -> None:
        """Take the next pose, landmarks in metres; an absent dancer does not move.

        Raises:
            InputError: If times do not increase, or pictures are read.
        """
        step_s = self._step(time_s, "poses")
        joints = world[list(JOINTS)] if present else None
        if joints is None or self._joints is None:
            features = np.zeros(N_FEATURES["poses"], np.float32)
        else:
            velocity = (joints - self._joints) / np.float32(step_s)
            speeds = np.linalg.norm(velocity, axis=1)
            usual = np.float32(self._usual(float(speeds.mean()), step_s))
            features = np.concatenate(
                [
                    np.log1p(speeds / usual),
                    np.arcsinh(velocity[:, 1] / usual),
                    np.log1p(speeds.mean(keepdims=True) / usual),
                ]
            )
        self._joints = joints
        self._keep(time_s, features)

    @property
    def track(self) -> MovementTrack:
        """What is remembered, the oldest first."""
        shape = (len(self._times), N_FEATURES[self.source])
        return MovementTrack(
            np.array(self._times), np.array(self._features, np.float32).reshape(shape)
        )

    def _step(self, time_s: float, source: Source) -> float:
        """Seconds since the picture before."""
        if source != self.source:
            raise InputError(
                f"{source} were given to a reader of {self.source}", "Name the other source."
            )
        if not np.isfinite(time_s):
            raise InputError(f"a picture has the time {time_s}", "Give seconds.")
        if not self._times:
            return 1.0
        step_s = time_s - self._times[-1]
        if step_s <= 0:
            raise InputError(f"time goes back by {-step_s:g} s", "Give pictures in order of time.")
        return step_s

    def _usual(self, quantity: float, step_s: float) -> float:
        """How much moves usually, this step included."""
        floor = FLOOR[self.source]
        usual = max(floor, self._sum / self._weight) if self._weight else floor
        if quantity > PAUSE * usual:
            kept = np.exp(-min(step_s, 1.0) / LEVEL_S)
            self._weight = self._weight * kept + 1.0 - kept
            self._sum = self._sum * kept + quantity * (1.0 - kept)
            usual = max(floor, self._sum / self._weight)
        return usual

    def _keep(self, time_s: float, features: Float32[np.ndarray, " features"]) -> None:
        while self._keep_s is not None and len(self._times) > 1:
            if self._times[1] > time_s - self._keep_s:
                break
            del self._times[0], self._features[0]
        self._times.append(time_s)
        self._features.append(features)


def read_poses(poses: PoseSequence) -> MovementTrack:
    """The movement of a whole dance."""
    reader = MovementReader("poses")
    for frame, (world, present) in enumerate(zip(poses.world, poses.present, strict=True)):
        reader.push_pose(world, bool(present), frame / poses.fps)
    return reader.track


def read_pictures(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], fps: float
) -> MovementTrack:
    """The movement of a whole video, the first picture at 0 s."""
    reader = MovementReader("motiongram")
    for number, frame in enumerate(frames):
        reader.push_frame(frame, number / fps)
    return reader.track
