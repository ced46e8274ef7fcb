from __future__ import annotations

import numpy as np

from dancetomusic.pose.draw import LEFT, RIGHT, draw_skeleton
from dancetomusic.pose.landmarks import LANDMARK


def standing_in_picture() -> np.ndarray:
    image = np.full((33, 3), 0.5, np.float32)
    for side, x in (("left", 0.7), ("right", 0.3)):
        for part, y in {"shoulder": 0.3, "elbow": 0.4, "wrist": 0.5, "pinky": 0.52}.items():
            image[LANDMARK[f"{side}_{part}"], :2] = x, y
        for part, y in {"hip": 0.55, "knee": 0.7, "ankle": 0.85, "heel": 0.87}.items():
            image[LANDMARK[f"{side}_{part}"], :2] = x, y
    return image


def test_sides_have_their_colours_and_the_frame_stays() -> None:
    frame = np.full((360, 480, 3), 90, np.uint8)
    drawn = draw_skeleton(frame, standing_in_picture())
    assert (frame == 90).all() and drawn.shape == frame.shape
    assert tuple(drawn[int(0.4 * 360), int(0.7 * 480)]) == LEFT
    assert tuple(drawn[int(0.4 * 360), int(0.3 * 480)]) == RIGHT
    assert (drawn[:20] == 90).all()


def test_landmarks_outside_the_picture_do_no_harm() -> None:
    frame = np.zeros((90, 160, 3), np.uint8)
    image = standing_in_picture() * np.float32(1e6)
    assert draw_skeleton(frame, image).shape == frame.shape
