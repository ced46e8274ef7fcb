"""The 33 body landmarks: names, bones, the mirror image, parts, and another frame rate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from dancetomusic.errors import PoseError
from dancetomusic.types import PoseSequence

LANDMARK_NAMES = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
"""MediaPipe's names in its order; left and right are the dancer's own."""

LANDMARK = {name: index for index, name in enumerate(LANDMARK_NAMES)}
"""Index of each landmark by its name."""

LEFT_RIGHT_PAIRS = tuple(
    (index, LANDMARK[name.replace("left", "right")])
    for index, name in enumerate(LANDMARK_NAMES)
    if "left" in name
)
"""Landmarks that change places in a mirror, (left, right)."""

SWAPPED = np.arange(len(LANDMARK_NAMES))
"""Index that exchanges left and right: ``pose[SWAPPED]``."""
for _left, _right in LEFT_RIGHT_PAIRS:
    SWAPPED[[_left, _right]] = _right, _left
SWAPPED.setflags(write=False)


def _both_sides(*bones: tuple[str, str]) -> tuple[tuple[int, int], ...]:
    return tuple(
        (LANDMARK[f"{side}_{near}"], LANDMARK[f"{side}_{far}"])
        for side in ("left", "right")
        for near, far in bones
    )


LIMBS = _both_sides(("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
"""Rigid bones of arms and legs, (near the trunk, far from it)."""

TORSO = tuple(
    LANDMARK[name] for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
)
"""Corners of the trunk."""

BONES = (
    *LIMBS,
    *_both_sides(
        ("shoulder", "hip"),
        ("wrist", "pinky"),
        ("wrist", "index"),
        ("wrist", "thumb"),
        ("pinky", "index"),
        ("ankle", "heel"),
        ("ankle", "foot_index"),
        ("heel", "foot_index"),
        ("eye", "ear"),
    ),
    (LANDMARK["left_shoulder"], LANDMARK["right_shoulder"]),
    (LANDMARK["left_hip"], LANDMARK["right_hip"]),
    (LANDMARK["nose"], LANDMARK["left_eye"]),
    (LANDMARK["nose"], LANDMARK["right_eye"]),
    (LANDMARK["mouth_left"], LANDMARK["mouth_right"]),
)
"""Pairs of landmarks that a skeleton joins."""


def mirror(world: Float32[np.ndarray, "*frames 33 3"]) -> Float32[np.ndarray, "*frames 33 3"]:
    """The same dance seen in a mirror: x changes sign, left and right change places.

    Args:
        world: Hip-centred landmarks, x right in the image.
    """
    return world[..., SWAPPED, :] * np.array([-1, 1, 1], np.float32)


def cut_poses(poses: PoseSequence, frames: slice) -> PoseSequence:
    """Some frames of a dancer, without the picture."""
    return PoseSequence(
        poses.world[frames], poses.present[frames], poses.visibility[frames], poses.fps
    )


def resample_poses(poses: PoseSequence, fps: float) -> PoseSequence:
    """The same movement at another frame rate, by linear interpolation.

    Output frame ``k`` is the pose at ``k / fps`` seconds: frame 0 is kept exactly and
    nothing is extrapolated past the last input frame. A frame is present if every input
    frame that it is made of is.

    Raises:
        PoseError: If ``fps`` is not positive or ``poses`` is empty.
    """
    if not fps > 0:
        raise PoseError(f"frame rate is {fps}", "Give a positive rate.")
    if not len(poses):
        raise PoseError("there are no poses", "Give at least one frame.")
    if fps == poses.fps:
        return poses
    last = len(poses) - 1
    n_frames = int(np.floor(last * fps / poses.fps + 1e-6)) + 1
    position = np.minimum(np.arange(n_frames) * poses.fps / fps, last)
    before = np.floor(position + 1e-6).astype(int)
    share = np.maximum(position - before, 0.0).astype(np.float32)
    share[share < 1e-5] = 0.0
    after = np.where(share > 0, np.minimum(before + 1, last), before)

    def between(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *(1,) * (values.ndim - 1))
        return values[before] + weight * (values[after] - values[before])

    return PoseSequence(
        world=between(poses.world),
        present=poses.present[before] & poses.present[after],
        visibility=between(poses.visibility),
        fps=float(fps),
        image=None if poses.image is None else between(poses.image),
        quality=poses.quality,
    )
