import dataclasses

import numpy as np
import pytest

from dancetomusic.data.augment import PoseAugmentConfig, retime, retime_beats, turn, vary_pose
from dancetomusic.errors import ConfigError

NOTHING = PoseAugmentConfig(
    mirror_share=0.0,
    scale=0.0,
    limb_jitter_m=0.0,
    limb_bias_m=0.0,
    min_depth=1.0,
    gaps_per_min=0.0,
)


def swing(frames=240, fps=24.0, hz=1.0):
    phase = 2 * np.pi * hz * np.arange(frames) / fps
    world = np.zeros((frames, 33, 3), np.float32)
    world[:, 15] = np.stack([np.sin(phase), np.cos(phase), 0 * phase], axis=1)
    return world


def test_retimed_movement_still_meets_its_beats():
    world, beats = swing(), np.arange(10.0)
    fast = retime(world, 24.0, start_s=1.0, speed=1.25, n_frames=96)
    times = retime_beats(beats, start_s=1.0, speed=1.25)
    at_beats = [
        np.interp(time, np.arange(96) / 24.0, fast[:, 15, 0]) for time in times if 0 <= time < 3.9
    ]
    assert len(at_beats) == 5
    np.testing.assert_allclose(at_beats, 0.0, atol=0.02)


def test_retiming_by_one_is_a_cut():
    np.testing.assert_allclose(
        retime(swing(), 24.0, start_s=2.0, speed=1.0, n_frames=24), swing()[48:72], atol=1e-6
    )


def test_ends_are_held():
    held = retime(swing(24), 24.0, start_s=0.5, speed=2.0, n_frames=24)
    np.testing.assert_array_equal(held[6:], np.broadcast_to(swing(24)[-1], (18, 33, 3)))


def test_turning_keeps_heights_and_lengths():
    world = np.random.default_rng(0).normal(size=(5, 33, 3)).astype(np.float32)
    turned = turn(world, 1.1)
    np.testing.assert_allclose(turned[..., 1], world[..., 1], atol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(turned, axis=-1), np.linalg.norm(world, axis=-1), rtol=1e-5
    )
    np.testing.assert_allclose(turn(turned, -1.1), world, atol=1e-5)


def test_only_the_view_changes_when_the_rest_is_off():
    world = swing()
    varied, present = vary_pose(world, 24.0, NOTHING, np.random.default_rng(0))
    assert present.all()
    np.testing.assert_allclose(
        np.linalg.norm(varied, axis=-1), np.linalg.norm(world, axis=-1), atol=1e-5
    )


def test_mirror_exchanges_the_hands():
    config = dataclasses.replace(NOTHING, mirror_share=1.0)
    varied, _ = vary_pose(swing(), 24.0, config, np.random.default_rng(0))
    assert np.abs(varied[:, 15]).max() < 1e-6 < np.abs(varied[:, 16]).max()


def test_noise_stays_within_reason_and_gaps_occur():
    config = PoseAugmentConfig(gaps_per_min=30.0)
    rng = np.random.default_rng(0)
    absent = 0
    for _ in range(20):
        varied, present = vary_pose(swing(480), 24.0, config, rng)
        assert varied.dtype == np.float32
        assert np.isfinite(varied).all()
        assert np.abs(varied).max() < 2.0
        absent += (~present).sum()
    assert 0 < absent < 20 * 240


@pytest.mark.parametrize(
    "values", [{"min_retiming": 0.0}, {"max_retiming": 0.5}, {"limb_jitter_m": -1.0}]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError):
        PoseAugmentConfig(**values)
