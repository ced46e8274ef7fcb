"""A dancer as a plain figure: thousands of small pictures a second, to learn motiongrams from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from dancetomusic.pose.landmarks import LANDMARK, LIMBS, TORSO

SIDE = 96
VIEW_M = 2.6
"""Height and width that the picture shows, in metres."""

LIMB_M, HEAD_M = 0.10, 0.11


def draw_silhouettes(
    world: Float32[np.ndarray, "frames 33 3"],
    rng: np.random.Generator,
    *,
    place_m: Float32[np.ndarray, "frames 2"] | None = None,
) -> Iterator[UInt8[np.ndarray, "side side 3"]]:
    """Draw each frame from the front, in colours that are drawn once.

    ``rng`` chooses the colours of background, trunk, limbs and head, and how far away the camera
    is; ``place_m`` is where the hips are, right and down of the picture's middle.
    """
    import cv2

    colours = rng.integers(0, 256, (3 + len(LIMBS), 3)).tolist()
    background, trunk, head, *limbs = colours
    scale = SIDE / (VIEW_M * rng.uniform(0.8, 1.3))
    centre = np.float32(SIDE / 2)
    flat = world[..., :2] if place_m is None else world[..., :2] + place_m[:, None]
    points = np.round(np.clip(flat * scale + centre, -SIDE, 2 * SIDE)).astype(np.int32)
    left_shoulder, right_shoulder, left_hip, right_hip = TORSO
    outline = [left_shoulder, right_shoulder, right_hip, left_hip]
    width, radius = max(1, round(LIMB_M * scale)), max(1, round(HEAD_M * scale))
    for joints in points:
        picture = np.empty((SIDE, SIDE, 3), np.uint8)
        picture[:] = background
        cv2.fillConvexPoly(picture, cv2.convexHull(joints[outline]), trunk)
        for (near, far), colour in zip(LIMBS, limbs, strict=True):
            cv2.line(picture, joints[near].tolist(), joints[far].tolist(), colour, width)
        cv2.circle(picture, joints[LANDMARK["nose"]].tolist(), radius, head, -1)
        yield picture
