"""Speed in metres a second, and moments at which one dancer becomes another."""

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.motion import count_swaps, joint_speeds, limb_range, mean_speed
from dancetomusic.types import PoseSequence

FPS = 24.0
N = 96


def body(seed=0):
    """A standing figure with a trunk, some landmarks off the axis."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.15, (33, 3))
    for side, x in (("left", 0.15), ("right", -0.15)):
        pose[LANDMARK[f"{side}_shoulder"]] = (x, -0.5, 0)
        pose[LANDMARK[f"{side}_hip"]] = (x, 0, 0)
        pose[LANDMARK[f"{side}_ankle"]] = (x, 0.85, 0)
    return pose


def sequence(hips_m, *, scale=0.25, aspect=16 / 9, present=None, with_image=True):
    """A rigid body whose hips go along ``hips_m`` [frames, 2]; ``scale``: heights a metre."""
    hips_m = np.asarray(hips_m, float)
    scale = np.broadcast_to(scale, len(hips_m))[:, None, None]
    world = np.repeat(body()[None], len(hips_m), 0).astype(np.float32)
    image = np.zeros_like(world)
    image[..., :2] = (world[..., :2] + hips_m[:, None]) * scale / (aspect, 1.0) + 0.5
    return PoseSequence(
        world=world,
        present=np.ones(len(world), bool) if present is None else present,
        visibility=np.ones(world.shape[:2], np.float32),
        fps=FPS,
        image=image if with_image else None,
    )


def walk(speed_m_s):
    return np.stack([np.arange(N) / FPS * speed_m_s, np.zeros(N)], axis=1)


@pytest.mark.parametrize("aspect", [16 / 9, 9 / 16])
def test_travel_counts_in_metres_whatever_the_aspect(aspect):
    assert mean_speed(sequence(walk(1.5), aspect=aspect)) == pytest.approx(1.5, rel=1e-3)


def test_without_a_picture_only_the_body_counts():
    assert mean_speed(sequence(walk(1.5), with_image=False)) == 0.0


def test_absence_is_left_out():
    present = np.ones(N, bool)
    present[30:50] = False
    poses = sequence(walk(1.0), present=present)
    speeds = joint_speeds(poses)
    assert speeds.shape == (N - 1,)
    assert np.isnan(speeds).sum() == 21
    assert mean_speed(poses) == pytest.approx(1.0, rel=1e-3)
    assert mean_speed(sequence(walk(1.0), present=np.zeros(N, bool))) == 0.0


def test_a_fast_dancer_is_one_dancer():
    assert count_swaps(sequence(walk(2.5))) == 0
    jumps = np.stack([np.zeros(N), -0.4 * np.abs(np.sin(np.arange(N) / 3))], axis=1)
    assert count_swaps(sequence(jumps)) == 0


@pytest.mark.parametrize("moments", [[48], [30, 60], [20, 40, 60, 80]])
def test_every_leap_to_another_place_counts_once(moments):
    hips = np.zeros((N, 2))
    for moment in moments:
        hips[moment:, 0] += 1.5 if hips[moment, 0] == 0 else -1.5
    assert count_swaps(sequence(hips)) == len(moments)


def test_another_size_is_another_dancer():
    scale = np.where(np.arange(N) < 48, 0.15, 0.35)
    assert count_swaps(sequence(np.zeros((N, 2)), scale=scale)) == 1


def test_who_returns_elsewhere_is_another_and_who_returns_near_is_not():
    present = np.ones(N, bool)
    present[40:52] = False
    far, near = np.zeros((N, 2)), np.zeros((N, 2))
    far[46:, 0], near[46:, 0] = 2.5, 0.5
    assert count_swaps(sequence(far, present=present)) == 1
    assert count_swaps(sequence(near, present=present)) == 0


def test_without_picture_or_dancer_nothing_is_counted():
    assert count_swaps(sequence(walk(9.0), with_image=False)) == 0
    assert count_swaps(sequence(walk(9.0), present=np.zeros(N, bool))) == 0
    assert count_swaps(sequence(walk(9.0)[:2])) == 0


def test_jitter_has_a_speed_but_no_range():
    still = sequence(walk(0.0))
    rng = np.random.default_rng(0)
    trembling = replace(
        still, world=still.world + rng.normal(0, 0.01, still.world.shape).astype(np.float32)
    )
    assert mean_speed(trembling) > 0.3
    assert limb_range(trembling) < 0.1


def test_one_hand_that_moves_is_a_movement():
    poses = sequence(walk(0.0))
    world = poses.world.copy()
    wave = 0.25 * np.sin(2 * np.pi * np.arange(N) / FPS)
    world[:, LANDMARK["left_wrist"], 1] += wave.astype(np.float32)
    world[5, LANDMARK["right_knee"]] += 9.0  # a glitch of one frame
    assert limb_range(replace(poses, world=world)) == pytest.approx(0.5, abs=0.02)
    assert limb_range(replace(poses, present=np.zeros(N, bool))) == 0.0
