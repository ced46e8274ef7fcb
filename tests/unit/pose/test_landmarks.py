from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import PoseError
from dancetomusic.pose.landmarks import BONES, LANDMARK, LEFT_RIGHT_PAIRS, mirror, resample_poses
from dancetomusic.types import PoseSequence


def sequence(world: np.ndarray, fps: float, present: np.ndarray | None = None) -> PoseSequence:
    return fully_visible(world.astype(np.float32), fps, present)


def test_sides_pair_up_and_bones_are_landmarks() -> None:
    assert len(LEFT_RIGHT_PAIRS) == 16
    assert (LANDMARK["mouth_left"], LANDMARK["mouth_right"]) in LEFT_RIGHT_PAIRS
    assert (LANDMARK["left_wrist"], LANDMARK["right_wrist"]) == (15, 16)
    assert set(np.ravel(BONES)) <= set(range(33)) and len(set(BONES)) == len(BONES)


def test_mirror_swaps_sides_and_turns_x(tiny_rng: np.random.Generator) -> None:
    world = tiny_rng.normal(size=(4, 33, 3)).astype(np.float32)
    seen = mirror(world)
    np.testing.assert_array_equal(seen[:, 15], world[:, 16] * [-1, 1, 1])
    np.testing.assert_array_equal(seen[:, 0], world[:, 0] * [-1, 1, 1])
    np.testing.assert_array_equal(mirror(seen), world)


def test_resampling_30_to_24_hz_gives_the_frames_between() -> None:
    times = np.arange(360) / 30
    world = np.broadcast_to(times[:, None, None], (360, 33, 3))
    poses = resample_poses(sequence(world, 30.0), 24.0)
    assert len(poses) == 288 and poses.fps == 24.0
    np.testing.assert_allclose(poses.world[:, 7, 1], np.arange(288) / 24, atol=1e-5)


def test_a_frame_made_of_an_absent_one_is_absent() -> None:
    present = np.ones(30, bool)
    present[10] = False
    poses = resample_poses(sequence(np.zeros((30, 33, 3)), 30.0, present), 24.0)
    # 24 Hz frame 8 is exactly 30 Hz frame 10; 7 lies between 8 and 9.
    assert poses.present[7] and not poses.present[8] and poses.present[9]


def test_resampling_refuses_nonsense() -> None:
    poses = sequence(np.zeros((3, 33, 3)), 24.0)
    with pytest.raises(PoseError, match="positive rate"):
        resample_poses(poses, 0.0)
    with pytest.raises(PoseError, match="at least one frame"):
        resample_poses(sequence(np.zeros((0, 33, 3)), 24.0), 12.0)
