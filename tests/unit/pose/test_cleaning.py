from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.errors import PoseError
from dancetomusic.pose.cleaning import clean, find_exchanges, find_glitches, require_dancer
from dancetomusic.pose.landmarks import LANDMARK, SWAPPED
from dancetomusic.pose.mediapipe import Detection

FPS = 24.0
WRIST, ELBOW = LANDMARK["left_wrist"], LANDMARK["left_elbow"]


def standing() -> np.ndarray:
    """A person facing the camera, arms down, in metres."""
    body = np.zeros((33, 3), np.float32)
    body[:11] = (0.0, -0.65, -0.1)
    heights = {"shoulder": -0.5, "elbow": -0.22, "wrist": 0.02, "pinky": 0.1, "index": 0.1}
    heights |= {"thumb": 0.06, "hip": 0.0, "knee": 0.42, "ankle": 0.82, "heel": 0.87}
    heights |= {"foot_index": 0.87}
    widths = {"shoulder": 0.18, "elbow": 0.25, "wrist": 0.27, "pinky": 0.3, "index": 0.27}
    for side, sign in (("left", 1), ("right", -1)):
        for part, y in heights.items():
            body[LANDMARK[f"{side}_{part}"]] = (sign * widths.get(part, 0.11), y, 0.0)
    return body


def dance(frames: int = 96, hz: float = 2.0) -> np.ndarray:
    """Arms and body swing at ``hz``; smooth, without noise."""
    swing = np.sin(2 * np.pi * hz * np.arange(frames) / FPS).astype(np.float32)
    world = np.repeat(standing()[None], frames, axis=0)
    amplitude = np.linspace(0.02, 0.12, 33, dtype=np.float32)
    world[:, :, 2] += swing[:, None] * amplitude
    world[:, :, 0] += 0.5 * swing[:, None] * amplitude
    return world


def to_track(world: np.ndarray, missing: tuple[int, ...] = ()) -> list[Detection | None]:
    image = (world * np.float32(0.3) + np.float32(0.5)).astype(np.float32)
    visibility = np.full(33, 0.9, np.float32)
    return [
        None if k in missing else Detection(image[k], world[k].astype(np.float32), visibility, 1.5)
        for k in range(len(world))
    ]


@pytest.mark.parametrize("hz", [0.5, 1.0, 2.0, 3.0, 4.0])
def test_a_sinusoid_keeps_its_phase_and_size(hz: float) -> None:
    world = dance(240, hz)
    cleaned = clean(to_track(world), FPS)
    probe = np.exp(-2j * np.pi * hz * np.arange(24, 216) / FPS)
    before = (world[24:216, WRIST, 2] * probe).sum()
    after = (cleaned.world[24:216, WRIST, 2] * probe).sum()
    lag_ms = np.angle(after / before) / (2 * np.pi * hz) * 1000
    assert abs(lag_ms) < 0.1
    assert 0.93 < abs(after / before) < 1.01
    assert cleaned.image is not None
    picture = (cleaned.image[24:216, WRIST, 2] * probe).sum()
    assert abs(np.angle(picture / before)) < 1e-3


def test_an_accent_stays_in_its_frame() -> None:
    world = dance(96, 0.5)
    world[48, WRIST] += (0.0, -0.05, 0.0)
    world[[47, 49], WRIST] += (0.0, -0.025, 0.0)
    lifted = clean(to_track(world), FPS).world[:, WRIST, 1]
    assert np.argmin(lifted) == 48


def test_detector_noise_shrinks(tiny_rng: np.random.Generator) -> None:
    world = dance()
    noisy = world + tiny_rng.normal(0, 0.01, world.shape).astype(np.float32)
    cleaned = clean(to_track(noisy), FPS).world
    assert np.abs(cleaned - world).mean() < 0.85 * np.abs(noisy - world).mean()


def test_short_gaps_are_interpolated_and_long_ones_masked() -> None:
    world = dance(120, 0.5)
    missing = (*range(20, 32), *range(60, 73))  # 0.5 s, and one frame more
    cleaned = clean(to_track(world, missing), FPS)
    assert len(cleaned) == 120
    assert cleaned.present[20:32].all() and not cleaned.present[60:73].any()
    assert cleaned.present.sum() == 107
    np.testing.assert_allclose(cleaned.world[20:32], world[20:32], atol=0.03)
    np.testing.assert_array_equal(cleaned.world[60:73], np.repeat(cleaned.world[59:60], 13, axis=0))
    assert (cleaned.visibility[60:73] == 0).all() and (cleaned.visibility[20:32] > 0).all()
    assert cleaned.quality is not None
    assert cleaned.quality.detected_share == pytest.approx(95 / 120)
    assert cleaned.quality.mean_visibility == pytest.approx(0.9)
    assert cleaned.quality.repaired_share == 0.0


def test_gaps_at_the_ends_are_masked_never_invented() -> None:
    cleaned = clean(to_track(dance(), (0, 1, 94, 95)), FPS)
    np.testing.assert_array_equal(np.flatnonzero(~cleaned.present), [0, 1, 94, 95])
    np.testing.assert_array_equal(cleaned.world[0], cleaned.world[2])


@pytest.mark.parametrize("offset", [(0.6, 0.0, 0.0), (0.0, -0.3, 0.1)])
def test_a_joint_that_jumps_for_one_frame_is_repaired(offset: tuple[float, ...]) -> None:
    world = dance()
    broken = world.copy()
    broken[40, WRIST] += np.array(offset, np.float32)
    found = find_glitches(broken, np.ones(96, bool), FPS)
    assert found[40, WRIST] and found.sum() == 1
    cleaned = clean(to_track(broken), FPS)
    assert np.linalg.norm(cleaned.world[40, WRIST] - world[40, WRIST]) < 0.03
    assert cleaned.quality is not None
    assert cleaned.quality.repaired_share == pytest.approx(1 / (96 * 33))
    assert cleaned.image is not None
    assert np.abs(cleaned.image[40, WRIST] - (0.3 * world[40, WRIST] + 0.5)).max() < 0.01


def test_a_limb_that_shrinks_for_one_frame_is_found() -> None:
    broken = dance(96, 0.5)
    broken[40, WRIST] += 0.6 * (broken[40, ELBOW] - broken[40, WRIST])
    found = find_glitches(broken, np.ones(96, bool), FPS)
    assert found[40, WRIST] and found.sum() == 1


def test_a_fast_dance_has_no_glitches() -> None:
    world = dance(96, 3.0)
    swing = 0.3 * np.sin(2 * np.pi * 3 * np.arange(96) / FPS)  # a wrist at 5.7 m/s
    world[:, [WRIST, ELBOW], 1] += swing[:, None].astype(np.float32)
    assert not find_glitches(world, np.ones(96, bool), FPS).any()


@pytest.mark.parametrize("length", [1, 4, 12])
def test_left_taken_for_right_is_undone(length: int) -> None:
    world = dance()
    broken = world.copy()
    broken[30 : 30 + length] = broken[30 : 30 + length, SWAPPED]
    found = find_exchanges(broken, np.ones(96, bool), FPS)
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(30, 30 + length))
    cleaned = clean(to_track(broken), FPS).world
    np.testing.assert_allclose(cleaned, clean(to_track(world), FPS).world, atol=1e-5)


def test_a_turn_is_no_exchange_of_sides() -> None:
    angle = 2 * np.pi * np.arange(96) / 24  # one turn a second
    rotation = np.zeros((96, 3, 3), np.float32)
    rotation[:, 0, 0] = rotation[:, 2, 2] = np.cos(angle)
    rotation[:, 0, 2], rotation[:, 2, 0] = np.sin(angle), -np.sin(angle)
    rotation[:, 1, 1] = 1
    world = np.einsum("fij,kj->fki", rotation, standing()).astype(np.float32)
    assert not find_exchanges(world, np.ones(96, bool), FPS).any()
    assert not find_glitches(world, np.ones(96, bool), FPS).any()


def test_one_single_detection_is_enough_to_clean() -> None:
    cleaned = clean(to_track(dance(48), tuple(k for k in range(48) if k != 7)), FPS)
    assert cleaned.present.sum() == 1 and np.isfinite(cleaned.world).all()


def test_refusals() -> None:
    with pytest.raises(PoseError, match="no person"):
        clean([None] * 48, FPS)
    with pytest.raises(PoseError, match=r"lasts 0\.50 s"):
        require_dancer(clean(to_track(dance(12)), FPS))
    with pytest.raises(PoseError, match=r"only 8\.3%"):
        require_dancer(clean(to_track(dance(96), tuple(range(8, 96))), FPS))
    require_dancer(clean(to_track(dance(100), tuple(range(10, 100))), FPS))
