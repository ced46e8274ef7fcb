"""The floor under hip-centred poses: where the dancer goes, if the lower foot stands still."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter1d

from dancetomusic.pose.landmarks import LANDMARK

SOLES = tuple(
    LANDMARK[f"{side}_{part}"] for side in ("left", "right") for part in ("heel", "foot_index")
)
"""Points of the feet that can touch the floor."""

BEARING_M = 0.01
"""Height over which the weight passes from one sole point to another."""


def walk(
    world: Float32[np.ndarray, "frames 33 3"],
) -> Float32[np.ndarray, "frames 33 3"]:
    """Poses in the room: the lowest landmark touches the floor (y = 0), what bears does not slide.

    Hip-centred poses do not say where the dancer goes. Whatever point of the soles is lowest
    bears the weight; the hips move as they must for it to stay in place, and points that bear
    together share it. The path starts above x = z = 0.

    Args:
        world: In metres, y down.
    """
    soles = world[:, SOLES].astype(np.float64)
    above = soles[..., 1].max(axis=1, keepdims=True) - soles[..., 1]
    bearing = np.exp(-above / BEARING_M)
    bearing = bearing[1:] * bearing[:-1]
    bearing /= bearing.sum(axis=1, keepdims=True)
    steps = -(bearing[..., None] * np.diff(soles, axis=0)).sum(axis=1)
    path = np.zeros((len(world), 3))
    path[1:] = np.cumsum(steps, axis=0)
    path[:, 1] = -world[..., 1].max(axis=1)
    return (world + path[:, None]).astype(np.float32)


def follow(
    room: Float32[np.ndarray, "frames 33 3"], fps: float, *, lag_s: float = 2.0
) -> Float32[np.ndarray, "frames 33 3"]:
    """Seen by a camera that goes along slowly: steps stay, a long way across the floor does not.

    ``lag_s`` is the standard deviation of the time over which the camera follows.
    """
    hips = room[:, [LANDMARK["left_hip"], LANDMARK["right_hip"]]].mean(axis=1)
    way = gaussian_filter1d(hips, lag_s * fps, axis=0, mode="nearest")
    way[:, 1] = 0.0
    return (room - way[:, None]).astype(np.float32)
