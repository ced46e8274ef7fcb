"""Beats known while the dance continues: the same in steps as at once, and blind to the future."""

import numpy as np
import pytest
import torch

from dancetomusic.data.dance import fully_visible
from dancetomusic.models.pose_encoder.causal_tracker import CausalBeatTracker, track_dance
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig, encode_poses
from dancetomusic.pose.landmarks import cut_poses
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
    return fully_visible(world, FPS)


def test_later_poses_change_no_earlier_beat(encoder: PoseEncoder) -> None:
    poses = _poses()
    whole, confidence = track_dance(encoder, poses)
    part, _ = track_dance(encoder, cut_poses(poses, slice(120)))
    assert whole.size == confidence.size and part.size
    np.testing.assert_array_equal(whole[: part.size], part)


def test_steps_given_one_by_one_are_the_whole_dance(encoder: PoseEncoder) -> None:
    poses = _poses()
    tracker = CausalBeatTracker(encoder)
    encoding = encode_poses(encoder, poses)
    phase, downbeats = encoding.phase[0].numpy(), encoding.downbeat_logits[0].numpy()
    for first in range(0, len(poses), 2):
        tracker.push_poses(poses.world[first : first + 2], poses.present[first : first + 2])
        begin, end = (int(np.ceil(at * 75 / FPS - 1e-5)) for at in (first, first + 2))
        tracker.push(phase[begin:end], downbeats[begin:end], 1.0)
    beats, confidence = track_dance(encoder, poses)
    np.testing.assert_array_equal(tracker.grid.beat_times, beats)
    np.testing.assert_array_equal(tracker.grid.confidence, confidence)
    estimate = tracker.estimate()
    assert estimate.bpm > 0 and 0 <= estimate.confidence <= 1
    assert estimate.position >= len(beats)


def test_nobody_in_view_is_no_evidence(encoder: PoseEncoder) -> None:
    poses = _poses(4.0)
    gone = PoseSequence(poses.world, np.zeros(len(poses), bool), poses.visibility, FPS)
    beats, confidence = track_dance(encoder, gone)
    assert np.diff(beats).std() < 0.05 and (confidence < 1e-6).all()


def test_bars_are_counted_where_downbeats_are_danced(encoder: PoseEncoder) -> None:
    tracker = CausalBeatTracker(encoder)
    frames = np.arange(75 * 16)
    turns = 2 * np.pi * 2.0 * frames / 75
    phase = np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32)
    bar = (2.0 * frames / 75 + 0.5) % 3
    downbeats = np.where((bar >= 2) & (bar < 3), 3.0, -3.0).astype(np.float32)
    for at in range(0, frames.size, 6):
        tracker.push(phase[at : at + 6], downbeats[at : at + 6], 1.0)
    estimate = tracker.estimate()
    assert estimate.beats_per_bar == 3
    downbeat_s = 3 * np.arange(1, 5) / 2.0 * 1.0 + 1.0
    places = [(estimate.at(t) - estimate.first_downbeat) % 3 for t in downbeat_s]
    assert all(min(p, 3 - p) < 0.2 for p in places)
