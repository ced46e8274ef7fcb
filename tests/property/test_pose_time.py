"""Whatever the detector misses, frame ``k`` stays at ``k / fps``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.data.dance import fully_visible
from dancetomusic.pose.cleaning import clean
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.mediapipe import Detection


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=24, max_size=72).filter(any))
def test_detected_frames_stay_in_place(detected: list[bool]) -> None:
    ramp = np.arange(len(detected), dtype=np.float32) / 100
    track = [
        Detection(
            np.full((33, 3), ramp[k], np.float32),
            np.full((33, 3), ramp[k], np.float32),
            np.ones(33, np.float32),
            1.0,
        )
        if seen
        else None
        for k, seen in enumerate(detected)
    ]
    poses = clean(track, 24.0)
    assert len(poses) == len(detected)
    assert (poses.present >= np.array(detected)).all()
    np.testing.assert_allclose(poses.world[poses.present, 0, 0], ramp[poses.present], atol=1e-4)
    assert poses.image is not None and np.isfinite(poses.image).all()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(2, 200),
    st.sampled_from([12.0, 23.976, 24.0, 25.0, 29.97, 30.0, 60.0]),
    st.sampled_from([12.0, 24.0, 25.0, 75.0]),
)
def test_resampling_keeps_time(frames: int, source_fps: float, target_fps: float) -> None:
    times = (np.arange(frames) / source_fps).astype(np.float32)
    poses = fully_visible(np.broadcast_to(times[:, None, None], (frames, 33, 3)), source_fps)
    resampled = resample_poses(poses, target_fps)
    expected = np.arange(len(resampled)) / target_fps
    np.testing.assert_allclose(resampled.world[:, 0, 0], expected, atol=1e-4)
    assert resampled.present.all()
    # Nothing past the last frame, and no frame that could be had is left out.
    assert expected[-1] <= times[-1] + 1e-4 < expected[-1] + 1 / target_fps + 2e-4
