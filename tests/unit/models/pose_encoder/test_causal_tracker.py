"""Beats known while the dance goes on: the same in steps as at once, and blind to the future."""

import numpy as np
import pytest
import torch

from dancetomusic.models.pose_encoder.causal_tracker import CausalBeatTracker, track_dance
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig, encode_poses
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence

FPS = 24.0


@pytest.fixture(scope="module")
def encoder() -> PoseEncoder:
    torch.manual_seed(0)
    config = PoseEncoderConfig(channels=8, dilations=(1, 2), kernel=3, causal=True)
    return PoseEncoder(config).eval()


def _poses(seconds: float = 8.0) -> PoseSequence:
    world = choreograph("steps", 110.0, seconds, seed=1).world
    frames = world.shape[0]
    return PoseSequence(world, np.ones(frames, bool), np.ones((frames, 33), np.float32), FPS)


def _cut(poses: PoseSequence, frames: int) -> PoseSequence:
    return PoseSequence(
        poses.world[:frames], poses.present[:frames], poses.visibility[:frames], poses.fps
    )


def test_later_poses_change_no_earlier_beat(encoder: PoseEncoder) -> None:
    poses = _poses()
    whole, confidence = track_dance(encoder, poses)
    part, _ = track_dance(encoder, _cut(poses, 120))
    assert whole.size == confidence.size and part.size
    np.testing.assert_array_equal(whole[: part.size], part)


def test_steps_given_one_by_one_are_the_whole_dance(encoder: PoseEncoder) -> None:
    poses = _poses()
    tracker = CausalBeatTracker(encoder)
    with torch.inference_mode():
        phase = encode_poses(encoder, poses).phase[0].numpy()
    for first in range(0, len(poses), 2):
        tracker.push_poses(poses.world[first : first + 2], poses.present[first : first + 2])
        begin, end = (int(np.ceil(at * 75 / FPS - 1e-5)) for at in (first, first + 2))
        frames = phase[begin:end]
        tracker.push_phases(frames, np.ones(len(frames), np.float32))
    beats, confidence = track_dance(encoder, poses)
    np.testing.assert_array_equal(tracker.beat_times, beats)
    np.testing.assert_array_equal(tracker.confidence, confidence)
    assert tracker.bpm > 0 and 0 <= tracker.agreement <= 1
    assert tracker.position >= len(beats)


def test_nobody_in_view_is_no_evidence(encoder: PoseEncoder) -> None:
    poses = _poses(4.0)
    gone = PoseSequence(poses.world, np.zeros(len(poses), bool), poses.visibility, FPS)
    beats, confidence = track_dance(encoder, gone)
    assert np.diff(beats).std() < 0.05 and (confidence < 1e-6).all()
