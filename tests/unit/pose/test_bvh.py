"""BVH files: read back by forward kinematics, they show the dance."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dancetomusic.data.dance import fully_visible
from dancetomusic.pose.bvh import save_bvh
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence


def read_bvh(text: str) -> tuple[dict[str, np.ndarray], float]:
    """Positions of each joint in metres, and seconds a frame, as any reader of BVH finds them."""
    head, motion = text.split("MOTION\n")
    joints: list[tuple[str, int, np.ndarray, list[str]]] = []
    stack: list[int] = []
    name = ""
    for line in head.splitlines():
        words = line.split()
        if words[0] in ("ROOT", "JOINT", "End"):
            name = words[1] if words[0] != "End" else f"end of {joints[stack[-1]][0]}"
        elif words[0] == "{":
            joints.append((name, stack[-1] if stack else -1, np.zeros(3), []))
            stack.append(len(joints) - 1)
        elif words[0] == "OFFSET":
            joints[stack[-1]][2][:] = [float(word) for word in words[1:]]
        elif words[0] == "CHANNELS":
            joints[stack[-1]][3].extend(words[2:])
        elif words[0] == "}":
            stack.pop()
    lines = motion.splitlines()
    frames = int(lines[0].split()[1])
    table = np.array([[float(word) for word in line.split()] for line in lines[2:]])
    assert table.shape == (frames, sum(len(joint[3]) for joint in joints))
    at: list[np.ndarray] = []
    turned: list[Rotation] = []
    column = 0
    for _, parent, offset, channels in joints:
        values = table[:, column : column + len(channels)]
        column += len(channels)
        place = values[:, :3] if len(channels) == 6 else np.zeros((frames, 3))
        before = turned[parent] if parent >= 0 else Rotation.identity(frames)
        start = at[parent] if parent >= 0 else place
        at.append(start + before.apply(offset))
        turn = (
            Rotation.from_euler("ZXY", values[:, -3:], degrees=True)
            if channels
            else Rotation.identity(frames)
        )
        turned.append(before * turn)
    seconds = float(re.findall(r"Frame Time: (\S+)", motion)[0])
    return {j[0]: p / 100 for j, p in zip(joints, at, strict=True)}, seconds


@pytest.fixture
def poses():
    world = choreograph("steps", 120.0, 4.0, seed=0).world
    return fully_visible(world, 24.0)


def test_joints_are_where_the_landmarks_are(poses, tmp_path):
    save_bvh(tmp_path / "dance.bvh", poses)
    at, seconds = read_bvh((tmp_path / "dance.bvh").read_text())
    assert seconds == pytest.approx(1 / 24)
    world = poses.world * np.array([1, -1, -1])
    hips = world[:, [LANDMARK["left_hip"], LANDMARK["right_hip"]]].mean(axis=1)
    for joint, landmark in (
        ("LeftLeg", "left_knee"), ("RightFoot", "right_ankle"),
        ("LeftForeArm", "left_elbow"), ("RightHand", "right_wrist"),
    ):  # fmt: skip
        made = at[joint] - at["Hips"]
        apart = np.linalg.norm(made - (world[:, LANDMARK[landmark]] - hips), axis=1)
        assert np.median(apart) < 0.04, joint
    feet = np.min([p[:, 1] for p in at.values()], axis=0)
    assert feet == pytest.approx(0.0, abs=1e-3)


def test_bones_keep_their_length(poses, tmp_path):
    save_bvh(tmp_path / "dance.bvh", poses)
    at, _ = read_bvh((tmp_path / "dance.bvh").read_text())
    shin = np.linalg.norm(at["LeftFoot"] - at["LeftLeg"], axis=1)
    assert np.ptp(shin) < 1e-4


def test_absent_frames_repeat_the_pose_before(poses, tmp_path):
    present = poses.present.copy()
    present[:3] = present[10:15] = False
    absent = PoseSequence(poses.world, present, poses.visibility, poses.fps)
    save_bvh(tmp_path / "dance.bvh", absent)
    at, _ = read_bvh((tmp_path / "dance.bvh").read_text())
    hand = at["LeftHand"] - at["Hips"]
    assert np.abs(hand[10:15] - hand[9]).max() < 1e-3
    assert np.abs(hand[:3] - hand[3]).max() < 1e-3
