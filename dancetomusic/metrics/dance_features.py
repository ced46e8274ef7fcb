"""What a stretch of dance is like: its energies, its geometry, and what no body does.

Poses are hip-centred landmarks in metres, y down; stretches are ``WINDOW_S`` long.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from dancetomusic.pose.floor import SOLES, walk
from dancetomusic.pose.landmarks import LANDMARK, LIMBS
from dancetomusic.pose.skeleton import heading_of

WINDOW_S = 5.0
HOP_S = 2.5
KINETIC_JOINTS = (
    LANDMARK["nose"],
    *(
        LANDMARK[f"{side}_{part}"]
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot_index")
        for side in ("left", "right")
    ),
)
"""One point for each part of the body that moves by itself."""

TOUCHING_M = 0.03
"""A sole point lower than this above the floor touches it."""

FAST_M_PER_S = 1.0
STEP_M_PER_S = 0.3


def cut_windows(
    world: Float32[np.ndarray, "frames 33 3"], fps: float
) -> Float32[np.ndarray, "windows window_frames 33 3"]:
    """Stretches of 5 s, each 2.5 s after the one before; none of a shorter dance."""
    size, hop = round(WINDOW_S * fps), round(HOP_S * fps)
    starts = range(0, len(world) - size + 1, hop)
    return np.stack([world[s : s + size] for s in starts]) if starts else world[:0, None]


def kinetic_features(
    world: Float32[np.ndarray, "frames 33 3"], fps: float
) -> Float[np.ndarray, " features"]:
    """For each of ``KINETIC_JOINTS``: horizontal and vertical energy, and mean acceleration.

    Mean squared speeds in (m/s)², and the mean size of acceleration in m/s².

    References:
        Onuma, Faloutsos and Hodgins, "FMDistance: a fast and effective distance function for
        motion capture data", Eurographics 2008.
    """
    speed = np.diff(world[:, KINETIC_JOINTS].astype(np.float64), axis=0) * fps
    change = np.diff(speed, axis=0) * fps
    across = (speed[..., [0, 2]] ** 2).sum(axis=-1).mean(axis=0)
    upwards = (speed[..., 1] ** 2).mean(axis=0)
    return np.stack([across, upwards, np.linalg.norm(change, axis=-1).mean(axis=0)], 1).ravel()


def geometric_features(
    world: Float32[np.ndarray, "frames 33 3"], fps: float
) -> Float[np.ndarray, " features"]:
    """Shares of the time in which each of 30 relations between parts of the body holds.

    Planes through the trunk, distances and angles of limbs, and how hands and feet move, with
    thresholds in the body's own measures.

    References:
        Müller, Röder and Clausen, "Efficient content-based retrieval of motion capture data",
        ACM Transactions on Graphics 24(3), 2005.
    """
    return np.stack(_relations(world.astype(np.float64), fps), axis=1).mean(axis=0)


def _relations(world: np.ndarray, fps: float) -> list[Bool[np.ndarray, " frames"]]:
    def at(name: str) -> np.ndarray:
        return world[:, LANDMARK[name]]

    def middle(name: str) -> np.ndarray:
        return (at(f"left_{name}") + at(f"right_{name}")) / 2

    def velocity(points: np.ndarray) -> np.ndarray:
        return np.gradient(points, 1 / fps, axis=0)

    def along(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
        return (vectors * axis).sum(axis=1)

    neck, root = middle("shoulder"), middle("hip")
    up = _unit(neck - root)
    left = _unit(at("left_shoulder") - at("right_shoulder"))
    ahead = _unit(np.cross(left, up))
    trunk = float(np.linalg.norm(neck - root, axis=1).mean())
    hip_width = float(np.linalg.norm(at("left_hip") - at("right_hip"), axis=1).mean())
    floor = world[:, SOLES, 1].max(axis=1)
    found = []
    for side, outwards in (("left", left), ("right", -left)):
        wrist, elbow, shoulder = (at(f"{side}_{part}") for part in ("wrist", "elbow", "shoulder"))
        hip, knee, ankle = (at(f"{side}_{part}") for part in ("hip", "knee", "ankle"))
        hand, foot = velocity(wrist), velocity(ankle)
        found += [
            along(wrist - neck, ahead) > 0.3 * trunk,
            along(hand, ahead) > STEP_M_PER_S,
            along(hand, up) > STEP_M_PER_S,
            along(wrist - neck, up) > 0.0,
            along(wrist - shoulder, outwards) > 0.5 * trunk,
            np.linalg.norm(hand, axis=1) > FAST_M_PER_S,
            _angle(shoulder, elbow, wrist) < np.radians(110),
            _angle(neck, shoulder, elbow) > np.radians(115),
            along(ankle - root, ahead) > 0.2 * trunk,
            along(ankle - root, ahead) < -0.2 * trunk,
            floor - ankle[:, 1] > 0.35 * trunk,
            _angle(hip, knee, ankle) < np.radians(150),
            np.linalg.norm(foot, axis=1) > FAST_M_PER_S,
        ]
    wrists = at("left_wrist") - at("right_wrist")
    ankles = at("left_ankle") - at("right_ankle")
    apart = np.linalg.norm(wrists, axis=1)
    spread = along(ankles, _unit(at("left_hip") - at("right_hip")))
    return [
        *found,
        np.gradient(apart, 1 / fps) < -STEP_M_PER_S,
        spread > 2.0 * hip_width,
        spread < 0.0,
        np.abs(np.gradient(heading_of(world, fps), 1 / fps)) > 1.0,
    ]


def foot_skate(world: Float32[np.ndarray, "frames 33 3"], fps: float) -> float:
    """How fast sole points slide while they touch the floor, on the mean, in m/s.

    The dancer goes as ``pose.floor.walk`` says: what bears stands still, and what touches the
    floor beside it should. 0 for less than two frames.
    """
    if len(world) < 2:
        return 0.0
    soles = walk(world)[:, SOLES].astype(np.float64)
    lowest = soles[..., 1].max(axis=1, keepdims=True)
    touching = lowest - soles[..., 1] < TOUCHING_M
    touching = touching[1:] & touching[:-1]
    slide = np.linalg.norm(np.diff(soles[..., [0, 2]], axis=0), axis=-1) * fps
    return float(slide[touching].mean()) if touching.any() else 0.0


def limb_variation(world: Float32[np.ndarray, "frames 33 3"]) -> float:
    """Standard deviation of a limb's length over its mean, mean of all eight."""
    near, far = np.array(LIMBS).T
    lengths = np.linalg.norm(world[:, near] - world[:, far], axis=-1).astype(np.float64)
    return float((lengths.std(axis=0) / np.maximum(lengths.mean(axis=0), 1e-6)).mean())


def diversity(features: Float[np.ndarray, "windows features"]) -> float:
    """Mean Euclidean distance between two of them; NaN for less than two."""
    if len(features) < 2:
        return float("nan")
    squares = (features**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * features @ features.T
    first, second = np.triu_indices(len(features), k=1)
    return float(np.sqrt(np.maximum(apart[first, second], 0.0)).mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _angle(a: np.ndarray, corner: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (_unit(a - corner) * _unit(b - corner)).sum(axis=1)
    return np.arccos(np.clip(cosine, -1.0, 1.0))
