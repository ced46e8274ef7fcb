"""Poses as BVH motion capture, which Blender, Maya and MotionBuilder open.

A skeleton of 18 joints is read from the landmarks: bones have the median of their lengths, each
joint turns its bones from the rest pose (a figure that stands, arms hanging) to where they are.
The hips' turn is that of hips and spine together, the chest's that of shoulders and spine; limbs
turn by the smallest rotation, so twist about a bone, which landmarks do not show, is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from dancetomusic.io.atomic import atomic_output
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.types import PoseSequence

CENTIMETRES = 100.0
"""Units of the file a metre."""

_DOWN, _UP, _AHEAD = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class _Joint:
    """A joint: its parent, the landmarks whose mean it is, where its bone points at rest."""

    name: str
    parent: str | None
    landmarks: tuple[str, ...]
    rest: tuple[float, float, float] = _UP


def _side(side: str, x: float) -> tuple[_Joint, ...]:
    own = side.capitalize()
    out = (x, 0.0, 0.0)
    return (
        _Joint(f"{own}UpLeg", "Hips", (f"{side}_hip",), out),
        _Joint(f"{own}Leg", f"{own}UpLeg", (f"{side}_knee",), _DOWN),
        _Joint(f"{own}Foot", f"{own}Leg", (f"{side}_ankle",), _DOWN),
        _Joint(f"{own}Toe", f"{own}Foot", (f"{side}_foot_index",), _AHEAD),
        _Joint(f"{own}Arm", "Chest", (f"{side}_shoulder",), out),
        _Joint(f"{own}ForeArm", f"{own}Arm", (f"{side}_elbow",), _DOWN),
        _Joint(f"{own}Hand", f"{own}ForeArm", (f"{side}_wrist",), _DOWN),
        _Joint(f"{own}Fingers", f"{own}Hand", (f"{side}_index",), _DOWN),
    )


_JOINTS = (
    _Joint("Hips", None, ("left_hip", "right_hip")),
    _Joint("Chest", "Hips", ("left_shoulder", "right_shoulder")),
    _Joint("Head", "Chest", ("left_ear", "right_ear")),
    *_side("left", 1.0),
    *_side("right", -1.0),
)
"""The dancer's left is +x, as BVH has it for a figure that faces +z."""

_NAMES = [joint.name for joint in _JOINTS]
_CHILDREN = {name: [j for j in _JOINTS if j.parent == name] for name in _NAMES}


def save_bvh(path: Path | str, poses: PoseSequence) -> None:
    """Write poses as BVH, in centimetres; frames without the dancer repeat the pose before.

    Landmarks are hip-centred, so the figure dances on the spot, its lower foot on the floor.

    Raises:
        OutputError: If the file cannot be written.
    """
    points = _joint_points(poses)
    offsets = _rest_offsets(points)
    rotations = _local_rotations(points, offsets)
    root = _root_heights(rotations, offsets)
    lines = ["HIERARCHY", *_hierarchy(_JOINTS[0], offsets, 0), "MOTION"]
    lines += [f"Frames: {len(points)}", f"Frame Time: {1.0 / poses.fps:.8f}"]
    angles = np.stack([rotations[name].as_euler("ZXY", degrees=True) for name in _turning()], 1)
    with atomic_output(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
        for height, row in zip(root, angles.reshape(len(points), -1), strict=True):
            numbers = [0.0, height * CENTIMETRES, 0.0, *row]
            file.write(" ".join(f"{number:.4f}" for number in numbers) + "\n")


def _turning() -> list[str]:
    """Joints with a rotation, in the order of the file: those that bear others."""
    order: list[str] = []

    def visit(name: str) -> None:
        if _CHILDREN[name]:
            order.append(name)
            for child in _CHILDREN[name]:
                visit(child.name)

    visit("Hips")
    return order


def _joint_points(poses: PoseSequence) -> Float64[np.ndarray, "frames joints 3"]:
    """Where the joints are, y up, a figure before the camera facing +z."""
    world = poses.world.astype(np.float64) * np.array([1.0, -1.0, -1.0])
    last = np.maximum.accumulate(np.where(poses.present, np.arange(len(world)), -1))
    world = world[np.where(last >= 0, last, int(poses.present.argmax()))]
    return np.stack(
        [
            np.mean([world[:, LANDMARK[name]] for name in joint.landmarks], axis=0)
            for joint in _JOINTS
        ],
        axis=1,
    )


def _rest_offsets(points: np.ndarray) -> dict[str, Float64[np.ndarray, 3]]:
    """From each joint's parent to the joint in the rest pose, in metres."""
    offsets = {"Hips": np.zeros(3)}
    for index, joint in enumerate(_JOINTS[1:], start=1):
        parent = points[:, _NAMES.index(str(joint.parent))]
        length = float(np.median(np.linalg.norm(points[:, index] - parent, axis=1)))
        offsets[joint.name] = length * np.array(joint.rest)
    return offsets


def _local_rotations(
    points: np.ndarray, offsets: dict[str, Float64[np.ndarray, 3]]
) -> dict[str, Rotation]:
    """The turn of each joint against its parent's, for all frames."""
    at = {name: points[:, index] for index, name in enumerate(_NAMES)}
    turned: dict[str, Rotation] = {}
    local: dict[str, Rotation] = {}
    for name in _turning():
        parent = _JOINTS[_NAMES.index(name)].parent
        before = turned[parent] if parent else Rotation.identity(len(points))
        if name == "Hips":
            here = _frame(at["LeftUpLeg"] - at["RightUpLeg"], at["Chest"] - at["Hips"])
        elif name == "Chest":
            here = _frame(at["LeftArm"] - at["RightArm"], at["Chest"] - at["Hips"])
        else:
            child = _CHILDREN[name][0].name
            bone = before.inv().apply(at[child] - at[name])
            here = before * _smallest(offsets[child], bone)
        turned[name], local[name] = here, before.inv() * here
    return local


def _frame(left: np.ndarray, up: np.ndarray) -> Rotation:
    """The rotation that turns +x to ``left``, and +y as near to ``up`` as it can."""
    x = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    z = np.cross(x, up)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)
    return Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=2))


def _smallest(rest: np.ndarray, bones: np.ndarray) -> Rotation:
    """The smallest rotation that turns ``rest`` to each bone's direction."""
    a = rest / max(float(np.linalg.norm(rest)), 1e-9)
    b = bones / np.maximum(np.linalg.norm(bones, axis=1, keepdims=True), 1e-9)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, b @ a)
    # Opposite directions have no axis of their own: any at right angles will do.
    other = np.cross(a, [1.0, 0.0, 0.0] if abs(a[0]) < 0.9 else [0.0, 1.0, 0.0])
    axis = np.where(sine[:, None] > 1e-6, axis / np.maximum(sine, 1e-9)[:, None], other)
    return Rotation.from_rotvec(angle[:, None] * axis)


def _root_heights(
    rotations: dict[str, Rotation], offsets: dict[str, Float64[np.ndarray, 3]]
) -> Float64[np.ndarray, " frames"]:
    """Height of the hips at which the lowest joint is on the floor, in metres."""
    frames = len(rotations["Hips"])
    at, turned = {"Hips": np.zeros((frames, 3))}, {"Hips": rotations["Hips"]}
    for joint in _JOINTS[1:]:
        parent = str(joint.parent)
        at[joint.name] = at[parent] + turned[parent].apply(offsets[joint.name])
        if joint.name in rotations:
            turned[joint.name] = turned[parent] * rotations[joint.name]
    return -np.min([points[:, 1] for points in at.values()], axis=0)


def _hierarchy(joint: _Joint, offsets: dict[str, np.ndarray], depth: int) -> list[str]:
    pad = "  " * depth
    offset = " ".join(f"{value * CENTIMETRES:.4f}" for value in offsets[joint.name])
    children = _CHILDREN[joint.name]
    if not children:
        return [f"{pad}End Site", f"{pad}{{", f"{pad}  OFFSET {offset}", f"{pad}}}"]
    place = "" if joint.parent else "Xposition Yposition Zposition "
    channels = f"{6 if place else 3} {place}Zrotation Xrotation Yrotation"
    head = "JOINT" if joint.parent else "ROOT"
    lines = [f"{pad}{head} {joint.name}", f"{pad}{{", f"{pad}  OFFSET {offset}"]
    lines.append(f"{pad}  CHANNELS {channels}")
    for child in children:
        lines += _hierarchy(child, offsets, depth + 1)
    return [*lines, f"{pad}}}"]
