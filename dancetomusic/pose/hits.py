"""Moments at which movement is seen to hit: sharp stops, landings, accents of arms and legs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy.ndimage import binary_erosion, gaussian_filter1d, maximum_filter1d

from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.types import PoseSequence

SMOOTHING_FRAMES = 1.25
"""Standard deviation, in frames, by which joints are smoothed: detectors jitter from frame to
frame, and what they add must not make a tempo."""

HITS_PER_S = 0.35
"""Most hits kept a second: about two in three bars."""

HIT_APART_S = 0.45
"""Least time between two hits."""

HIT_EXCESS = 1.7
"""How many times its mean the slowing must be at a hit."""

LEVEL_WEIGHT = 3.0
"""Weight of the body's rise and fall among the joints: one of them, but all of the dancer."""

REST_S = 0.45
"""Least time for which movement freezes in a rest."""

REST_SPEED, REST_SHARE = 0.12, 0.2
"""Speed of the joints below which a dancer rests: in m/s, or as a share of the usual speed."""

EDGE_FRAMES = 4
"""Frames beside an absence in which no hit is read: what is seen there is a jump of the poses."""

_HIT_JOINTS = (0, 11, 12, 13, 14, 15, 16, 25, 26, 27, 28, 31, 32)
_HIPS = (LANDMARK["left_hip"], LANDMARK["right_hip"])
_FEET = tuple(range(LANDMARK["left_ankle"], len(LANDMARK)))


@dataclass(frozen=True)
class Hits:
    """The strongest hits of a dance, in order of time.

    Attributes:
        times: In seconds.
        strengths: In (0, 1]; the strongest of the dance has 1.
    """

    times: Float64[np.ndarray, " hits"]
    strengths: Float64[np.ndarray, " hits"]

    def __len__(self) -> int:
        return int(self.times.size)


def visible_hits(dancers: Sequence[PoseSequence]) -> Float[np.ndarray, " poses"]:
    """How sharply movement is seen to stop at each pose, 1 on average.

    The mean deceleration of the joints, speeding up left out: stops, landings and accents.
    """
    total = np.zeros(len(dancers[0]))
    for poses in dancers:
        if len(poses) >= 2:
            _add(total, joint_slowing(poses)[:, :-1].mean(axis=1))
    return total / max(float(total.mean()), 1e-9)


def find_hits(dancers: Sequence[PoseSequence]) -> Hits:
    """The strongest moments of slowing, of a single limb as of the whole body.

    Joints are pooled by the root of their mean square, so that an arm that stops dead counts
    beside a body that slows down; the height of the hips above the feet counts for landings and
    changes of level. Peaks are at least ``HIT_APART_S`` apart.

    Args:
        dancers: On one clock, the most prominent first.
    """
    if not dancers or len(dancers[0]) < 3:
        return Hits(np.zeros(0), np.zeros(0))
    fps = dancers[0].fps
    slowing = np.zeros(len(dancers[0]))
    for poses in dancers:
        if len(poses) >= 2:
            known = binary_erosion(poses.present, iterations=EDGE_FRAMES, border_value=1)
            _add(slowing, np.sqrt((joint_slowing(poses) ** 2).mean(axis=1)) * known)
    slowing /= max(float(slowing.mean()), 1e-9)
    # Local maxima clearly above the mean.
    reach = 2 * max(1, round(HIT_APART_S / 2 * fps)) + 1
    peak = (slowing == maximum_filter1d(slowing, reach)) & (slowing >= HIT_EXCESS)
    frames = np.flatnonzero(peak)
    most = max(1, round(HITS_PER_S * dancers[0].duration_s))
    # The strongest first, none near a stronger one.
    kept: list[int] = []
    for frame in frames[np.argsort(-slowing[frames], kind="stable")]:
        if all(abs(frame - other) >= HIT_APART_S * fps for other in kept):
            kept.append(int(frame))
    chosen = np.sort(np.array(kept[:most], np.int64))
    strengths = slowing[chosen]
    return Hits(chosen / fps, strengths / max(float(strengths.max(initial=0.0)), 1e-9))


def find_rests(dancers: Sequence[PoseSequence]) -> Float64[np.ndarray, "rests 2"]:
    """Start and end in seconds of each moment in which all dancers freeze for ``REST_S`` or more.

    Those at the very start and end of the dance are no rests but before and after it.

    Args:
        dancers: On one clock, the most prominent first; who is absent does not count.
    """
    if not dancers or len(dancers[0]) < 3:
        return np.zeros((0, 2))
    fps = dancers[0].fps
    still, seen = np.ones(len(dancers[0]) - 1, bool), np.zeros(len(dancers[0]) - 1, bool)
    for poses in dancers:
        speeds = joint_speeds(poses)[: still.size]
        known = np.isfinite(speeds)
        if not known.any():
            continue
        limit = max(REST_SPEED, REST_SHARE * float(np.median(speeds[known])))
        still[: speeds.size] &= ~known | (np.where(known, speeds, 0.0) < limit)
        seen[: speeds.size] |= known
    frozen = np.concatenate([[False], still & seen, [False]])
    edges = np.flatnonzero(np.diff(frozen.astype(np.int8))).reshape(-1, 2)
    inside = (edges[:, 0] > 0) & (edges[:, 1] < still.size)
    long_enough = (edges[:, 1] - edges[:, 0]) >= REST_S * fps
    return edges[inside & long_enough] / fps


def joint_slowing(poses: PoseSequence) -> Float64[np.ndarray, "poses joints"]:
    """Deceleration of each joint against the hips in m/s², 0 while it speeds up.

    The last column is that of the hips' height above the lower foot, times ``LEVEL_WEIGHT``.
    """
    hips = poses.world[:, _HIPS].mean(axis=1)
    world = poses.world[:, _HIT_JOINTS] - hips[:, None]
    smooth = gaussian_filter1d(world.astype(np.float64), SMOOTHING_FRAMES, axis=0)
    speed = np.linalg.norm(np.gradient(smooth, axis=0), axis=-1) * poses.fps
    height = poses.world[:, _FEET, 1].max(axis=1) - hips[:, 1]
    level = gaussian_filter1d(height.astype(np.float64), 2 * SMOOTHING_FRAMES)
    rise = LEVEL_WEIGHT * np.abs(np.gradient(level)) * poses.fps
    slowing = -np.gradient(np.column_stack([speed, rise]), axis=0)
    return np.maximum(slowing, 0.0) * poses.present[:, None]


def _add(total: np.ndarray, values: np.ndarray) -> None:
    n_frames = min(total.size, values.size)
    total[:n_frames] += values[:n_frames]
