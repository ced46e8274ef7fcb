"""A skeleton over the picture of a dancer."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from dancetomusic.pose.landmarks import BONES, LANDMARK_NAMES

LEFT = (255, 138, 61)
"""Colour (RGB) of the dancer's left side, orange."""

RIGHT = (56, 189, 248)
"""Colour (RGB) of the dancer's right side, blue."""

MIDDLE = (255, 255, 255)
"""Colour (RGB) of bones that join both sides."""

_FRACTION_BITS = 4


def draw_skeleton(
    frame: UInt8[np.ndarray, "height width 3"], image: Float32[np.ndarray, "33 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture with bones and joints over it; ``frame`` itself stays as it is.

    Landmarks are shares of the picture's width and height.
    """
    import cv2

    height, width = frame.shape[:2]
    # Points far outside are as good as just outside, and do not overflow.
    shares = np.clip(image[:, :2], -2.0, 3.0)
    points = np.round(shares * (width, height) * (1 << _FRACTION_BITS)).astype(int)
    thickness = max(2, round(min(height, width) / 180))
    drawn = frame.copy()
    style = {"lineType": cv2.LINE_AA, "shift": _FRACTION_BITS}
    for colour_of, extra in ((lambda *_: (0, 0, 0), 2), (_colour, 0)):
        for a, b in BONES:
            start, end = points[a].tolist(), points[b].tolist()
            cv2.line(drawn, start, end, colour_of(a, b), thickness + extra, **style)
    radius = round(0.9 * thickness * (1 << _FRACTION_BITS))
    rim = 1 << _FRACTION_BITS
    for joint in range(11, len(LANDMARK_NAMES)):
        centre = points[joint].tolist()
        cv2.circle(drawn, centre, radius + rim, (0, 0, 0), -1, **style)
        cv2.circle(drawn, centre, radius, _colour(joint, joint), -1, **style)
    return drawn


def _colour(a: int, b: int) -> tuple[int, int, int]:
    names = LANDMARK_NAMES[a], LANDMARK_NAMES[b]
    if all("left" in name for name in names):
        return LEFT
    if all("right" in name for name in names):
        return RIGHT
    return MIDDLE
