"""How a dancer moves through the picture: how fast, and where no body can."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from dancetomusic.pose.landmarks import LANDMARK, TORSO
from dancetomusic.pose.tracking import MAX_REACH, REACH, REACH_PER_S
from dancetomusic.types import PoseSequence

SWAP_S = 0.17
"""Apart of the sights compared: longer than smoothing spreads a jump, 4 frames at 24 fps."""

SWAP_SIZE_RATIO = 1.8
"""Within that time the trunk in the picture grows or shrinks by less than this."""

BODY = np.r_[LANDMARK["nose"], LANDMARK["left_shoulder"] : len(LANDMARK)]
"""Landmarks that move with the body: the face counts once."""

_LIMBS = [LANDMARK[f"{s}_{p}"] for s in ("left", "right") for p in ("wrist", "knee", "ankle")]
_HIPS = (LANDMARK["left_hip"], LANDMARK["right_hip"])


def joint_speeds(poses: PoseSequence) -> Float64[np.ndarray, " steps"]:
    """Mean speed of the joints from each frame to the next, in metres a second.

    The movement of the hips across the picture counts, where there is a picture. NaN where
    the dancer is absent before or after.
    """
    positions = poses.world[:, BODY].astype(np.float64)
    points = _points_m(poses)
    if points is not None:
        positions[..., :2] += points[:, _HIPS].mean(axis=1)[:, None]
    speeds = np.linalg.norm(np.diff(positions, axis=0), axis=-1).mean(axis=1) * poses.fps
    return np.where(poses.present[1:] & poses.present[:-1], speeds, np.nan)


def mean_speed(poses: PoseSequence) -> float:
    """Mean of :func:`joint_speeds` over frames with a dancer; 0 without."""
    speeds = joint_speeds(poses)
    known = np.isfinite(speeds)
    return float(speeds[known].mean()) if known.any() else 0.0


def limb_range(poses: PoseSequence) -> float:
    """How far a limb gets, in metres: the largest range of wrists, knees and ankles.

    The range is from the 5th to the 95th percentile of a joint's position beside the hips, on
    each axis, and the length of these together. Unlike a speed it does not add up jitter: a
    photograph that is filmed by hand has less than anyone who dances.
    """
    if not poses.present.any():
        return 0.0
    low, high = np.percentile(poses.world[poses.present][:, _LIMBS], [5, 95], axis=0)
    return float(np.linalg.norm(high - low, axis=-1).max())


def count_swaps(poses: PoseSequence) -> int:
    """Moments at which the dancer followed becomes another, or the camera is cut.

    Between two sights a sixth of a second apart, or across an absence, the hips in the
    picture go farther than ``REACH`` and ``REACH_PER_S`` torso lengths, the limits by which
    dancers are distinguished while tracking, or the trunk changes its size. 0 without a picture.
    """
    points = _points_m(poses)
    seen = np.flatnonzero(poses.present)
    apart = max(1, round(SWAP_S * poses.fps))
    if points is None or len(seen) <= apart:
        return 0
    corners = points[:, list(TORSO)]
    sides = np.linalg.norm(corners[:, :, None] - corners[:, None], axis=-1)
    torso = np.maximum(sides.max(axis=(1, 2)), 1e-3)
    hips = points[:, _HIPS].mean(axis=1)
    before, after = seen[:-apart], seen[apart:]
    larger = np.maximum(torso[before], torso[after])
    smaller = np.minimum(torso[before], torso[after])
    distance = np.linalg.norm(hips[after] - hips[before], axis=-1) / larger
    reach = np.minimum(REACH + REACH_PER_S * (after - before) / poses.fps, MAX_REACH)
    broken = np.flatnonzero((distance > reach) | (larger > SWAP_SIZE_RATIO * smaller))
    return int(broken.size > 0) + int((np.diff(broken) > apart).sum())


def _points_m(poses: PoseSequence) -> Float64[np.ndarray, "frames 33 2"] | None:
    """Positions in the picture in metres at the dancer's usual distance.

    The scale of each axis is the one that maps the world landmarks onto the picture best, a
    weak perspective, so the picture's aspect need not be known.
    """
    if poses.image is None or not poses.present.any():
        return None
    image = poses.image[..., :2].astype(np.float64)
    body = image - image[:, _HIPS].mean(axis=1)[:, None]
    world = poses.world[..., :2].astype(np.float64)
    there = poses.present
    share_per_m = (body[there] * world[there]).sum(axis=(0, 1)) / np.maximum(
        (world[there] ** 2).sum(axis=(0, 1)), 1e-9
    )
    return image / np.maximum(share_per_m, 1e-3)
