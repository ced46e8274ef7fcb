import numpy as np
import pytest

from dancetomusic.metrics.dance_features import (
    HOP_S,
    KINETIC_JOINTS,
    WINDOW_S,
    cut_windows,
    diversity,
    foot_skate,
    geometric_features,
    kinetic_features,
    limb_variation,
)
from dancetomusic.pose.landmarks import LANDMARK, mirror
from dancetomusic.synthesis.choreography import choreograph

FPS = 24.0


@pytest.fixture(scope="module")
def world():
    return choreograph("steps", 110.0, 12.0, seed=3).world


def test_windows_overlap_and_a_short_dance_has_none(world):
    windows = cut_windows(world, FPS)
    assert windows.shape == (1 + int((12.0 - WINDOW_S) / HOP_S), 120, 33, 3)
    assert np.array_equal(windows[1], world[60:180])
    assert len(cut_windows(world[:100], FPS)) == 0


def test_a_body_at_rest_has_no_energy(world):
    still = np.repeat(world[:1], 48, axis=0)
    assert not kinetic_features(still, FPS).any()


def test_energies_are_those_of_a_known_movement():
    world = np.zeros((49, 33, 3), np.float32)
    at = np.arange(49) / FPS
    nose = LANDMARK["nose"]
    world[:, nose, 0] = 3.0 * at
    world[:, nose, 1] = 2.0 * at
    features = kinetic_features(world, FPS).reshape(len(KINETIC_JOINTS), 3)
    assert features[0] == pytest.approx([9.0, 4.0, 0.0], abs=1e-2)
    assert not features[1:].any()


def test_twice_as_fast_is_four_times_the_energy(world):
    slow, fast = kinetic_features(world, FPS), kinetic_features(world, 2 * FPS)
    assert fast.reshape(-1, 3)[:, :2] == pytest.approx(4 * slow.reshape(-1, 3)[:, :2], rel=1e-4)


def test_relations_are_shares_and_have_sides(world):
    features = geometric_features(world, FPS)
    assert features.shape == (30,)
    assert ((features >= 0) & (features <= 1)).all()
    seen = geometric_features(mirror(world), FPS)
    assert seen[:13] == pytest.approx(features[13:26], abs=0.02)


def test_a_raised_hand_is_above_the_neck(world):
    raised = np.repeat(world[:1], 48, axis=0).copy()
    before = geometric_features(raised, FPS)[3]
    raised[:, LANDMARK["left_wrist"], 1] = raised[:, LANDMARK["nose"], 1] - 0.3
    assert before == 0.0
    assert geometric_features(raised, FPS)[3] == 1.0


def test_one_foot_that_slides_beside_the_other_is_skate(world):
    still = np.repeat(world[:1], 48, axis=0).copy()
    still[:, [29, 30, 31, 32], 1] = still[0, 29, 1]
    assert foot_skate(still, FPS) == pytest.approx(0.0, abs=1e-6)
    still[:, [27, 29, 31], 0] += (0.5 * np.arange(48) / FPS).astype(np.float32)[:, None]
    assert foot_skate(still, FPS) == pytest.approx(0.25, abs=0.02)
    assert foot_skate(still[:1], FPS) == 0.0


def test_limbs_that_stretch_are_seen():
    world = np.zeros((2, 33, 3), np.float32)
    world[..., 0] = np.arange(33)
    assert limb_variation(world) == 0.0
    world[1] *= 3
    assert limb_variation(world) == pytest.approx(0.5)


def test_diversity_is_the_mean_distance():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert diversity(points) == pytest.approx(10 / 3)
    assert np.isnan(diversity(points[:1]))
