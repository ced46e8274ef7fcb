import numpy as np
import pytest

from dancetomusic.pose.floor import SOLES, follow, walk
from dancetomusic.synthesis.choreography import choreograph


@pytest.fixture(scope="module")
def dance():
    return choreograph("steps", 110.0, 6.0, seed=3)


def test_the_lowest_landmark_touches_the_floor(dance):
    room = walk(dance.world)
    assert np.allclose(room[..., 1].max(axis=1), 0.0, atol=1e-6)


def test_the_pose_stays_what_it_is(dance):
    room = walk(dance.world)
    shift = room - dance.world
    assert np.ptp(shift, axis=1).max() < 1e-5


def test_a_foot_that_bears_alone_does_not_slide(dance):
    world = np.repeat(dance.world[:1], 40, axis=0).copy()
    lifted = [27, 29, 31]  # the whole left foot
    world[:, lifted, 1] -= 0.3
    world[:, lifted, 0] += np.linspace(0, 0.5, 40, dtype=np.float32)[:, None]
    sway = 0.1 * np.sin(np.linspace(0, 6, 40)).astype(np.float32)
    world[:, [28, 30, 32], 0] += sway[:, None]
    soles = walk(world)[:, SOLES[2:]]
    assert np.abs(np.diff(soles[..., 0], axis=0)).max() < 1e-4


def test_one_frame_and_the_first_frame_start_in_the_middle(dance):
    assert np.allclose(walk(dance.world[:1])[0, [23, 24]].mean(axis=0)[[0, 2]], 0.0, atol=1e-6)
    assert walk(dance.world)[0, 23:25, 0].mean() == pytest.approx(0.0, abs=1e-6)


def test_the_camera_goes_along_and_keeps_steps(dance):
    way = np.linspace(0, 30, len(dance.world), dtype=np.float32)
    room = dance.world.copy()
    room[..., 0] += way[:, None]
    seen = follow(room, 24.0)
    assert np.abs(seen[..., 0]).max() < 12.0
    assert np.array_equal(seen[..., 1], room[..., 1])
