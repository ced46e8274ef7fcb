import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.models.motion_vae.motion_input import (
    HELD_S,
    N_FEATURES,
    MovementReader,
    read_pictures,
    read_poses,
)
from dancetomusic.types import PoseSequence


def dance(frames=60, fps=24.0, size=1.0, still=slice(0, 0)):
    seconds = np.arange(frames) / fps
    world = np.zeros((frames, 33, 3), np.float32)
    world[:, 15, 0] = size * np.sin(2 * np.pi * seconds)
    world[still] = world[still][:1]
    return PoseSequence(world, np.ones(frames, bool), np.ones((frames, 33), np.float32), fps)


def test_size_and_distance_do_not_matter():
    small, large = read_poses(dance(size=0.5)), read_poses(dance(size=2.0))
    assert np.allclose(small.features, large.features, atol=1e-4)
    assert small.features[1:, -1].max() > 0


def test_frame_rate_hardly_matters():
    slow, fast = read_poses(dance(60, 24.0)), read_poses(dance(150, 60.0))
    at = np.array([0.7, 1.3, 2.1])
    a, b = (track.segments(at, 0.5, 5)[..., -1].mean() for track in (slow, fast))
    assert a == pytest.approx(b, rel=0.1)


def test_a_pause_is_quiet_and_does_not_raise_what_follows():
    quiet = dance(240, still=slice(80, 200))
    features = read_poses(quiet).features[:, -1]
    assert not features[82:200].any()
    assert features[202:].max() < 1.2 * features[40:80].max()


def test_segments_know_only_the_past():
    track = read_poses(dance())
    at = np.arange(10) * 0.2
    whole = track.segments(at, 0.1, 4)
    for number, time_s in enumerate(at):
        reader = MovementReader("poses")
        for frame in range(60):
            if frame / 24 <= time_s:
                reader.push_pose(dance().world[frame], True, frame / 24)
        assert np.array_equal(reader.track.segments(at[[number]], 0.1, 4)[0], whole[number])


def test_what_is_forgotten_is_not_needed():
    full, short = MovementReader("poses"), MovementReader("poses", keep_s=0.5)
    for frame, world in enumerate(dance(200).world):
        for reader in (full, short):
            reader.push_pose(world, True, frame / 24)
    at = np.array([199 / 24])
    assert np.array_equal(full.track.segments(at, 0.5, 10), short.track.segments(at, 0.5, 10))
    assert short.track.times_s.size < 20


def test_an_absent_dancer_and_a_camera_that_stops_are_still():
    poses = dance()
    gone = PoseSequence(poses.world, np.arange(60) < 30, poses.visibility, poses.fps)
    track = read_poses(gone)
    assert not track.features[30:].any()
    late = read_poses(poses).segments(np.array([60 / 24 + HELD_S + 0.2]), 0.1, 4)
    assert not late.any()
    assert not read_poses(poses).segments(np.array([-1.0, 0.0]), 0.1, 4).any()


def test_pictures_and_poses_have_their_own_features(tiny_rng):
    pictures = read_pictures(tiny_rng.integers(0, 255, (3, 50, 60, 3), dtype=np.uint8), 30.0)
    assert pictures.features.shape == (3, N_FEATURES["motiongram"])
    assert read_pictures([], 30.0).segments(np.zeros(2), 0.1, 4).shape == (2, 4, 49)


def test_wrong_order_and_wrong_source_are_refused():
    reader = MovementReader("motiongram")
    reader.push_frame(np.zeros((9, 9, 3), np.uint8), 1.0)
    with pytest.raises(InputError, match="goes back"):
        reader.push_frame(np.zeros((9, 9, 3), np.uint8), 1.0)
    with pytest.raises(InputError, match="has the time nan"):
        reader.push_frame(np.zeros((9, 9, 3), np.uint8), float("nan"))
    with pytest.raises(InputError, match="poses were given"):
        reader.push_pose(np.zeros((33, 3), np.float32), True, 2.0)
