import numpy as np
import pytest
import torch

from dancetomusic.pose.landmarks import LIMBS, mirror
from dancetomusic.pose.skeleton import Skeleton, directions_of, face_camera, heading_of, turn_by
from dancetomusic.synthesis.choreography import choreograph


@pytest.fixture(scope="module")
def world():
    return choreograph("steps", 110.0, 4.0, seed=3).world


@pytest.fixture(scope="module")
def skeleton(world):
    skeleton = Skeleton()
    skeleton.measure([world, mirror(world)])
    return skeleton


def test_landmarks_of_directions_are_near_those_read(world, skeleton):
    back = skeleton(directions_of(torch.from_numpy(world))).numpy()
    apart = np.linalg.norm(back - world, axis=-1)
    assert apart.mean() < 0.02
    assert apart.max() < 0.15


def test_a_body_of_constant_bones_is_kept_exactly(world, skeleton):
    first = skeleton(directions_of(torch.from_numpy(world)))
    again = skeleton(directions_of(first))
    assert torch.allclose(first, again, atol=1e-5)


def test_limbs_keep_their_length_whatever_the_directions(skeleton):
    directions = torch.nn.functional.normalize(torch.randn(50, 24, 3), dim=-1)
    world = skeleton(directions).numpy()
    near, far = np.array(LIMBS).T
    lengths = np.linalg.norm(world[:, near] - world[:, far], axis=-1)
    assert lengths.std(axis=0).max() < 1e-5
    hips = world[:, [23, 24]].mean(axis=1)
    assert np.abs(hips).max() < 1e-6


def test_the_body_is_symmetric(world, skeleton):
    back = skeleton(directions_of(torch.from_numpy(world))).numpy()
    mirrored = skeleton(directions_of(torch.from_numpy(mirror(world)))).numpy()
    assert np.allclose(mirror(back), mirrored, atol=1e-5)


@pytest.mark.parametrize("angle", [-2.5, -0.4, 0.0, 1.2, 3.0])
def test_a_turned_dancer_has_turned_by_that_much(world, angle):
    facing = face_camera(torch.from_numpy(world), torch.from_numpy(heading_of(world, 24.0)).float())
    assert np.abs(heading_of(facing.numpy(), 24.0)).mean() < 0.1
    turned = turn_by(facing, torch.full((len(world),), angle)).numpy()
    read = heading_of(turned, 24.0) - heading_of(facing.numpy(), 24.0)
    assert np.allclose(np.angle(np.exp(1j * (read - angle))), 0.0, atol=1e-3)


def test_a_heading_has_no_jump_in_a_pirouette(world):
    angles = torch.linspace(0, 25, len(world))
    heading = heading_of(turn_by(torch.from_numpy(world), angles).numpy(), 24.0)
    assert np.abs(np.diff(heading)).max() < 0.6
    assert heading[-1] - heading[0] == pytest.approx(25, abs=1.5)
