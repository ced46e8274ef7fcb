"""The sampler as an instrument: pictures and poses in, blocks of sound out."""

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.errors import CheckpointError, InputError, PoseError
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.paced_video import perform_video
from dancetomusic.models.motion_vae.sampler import MotionSampler, play, play_frames
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence


@pytest.fixture(scope="module")
def codec(tiny_codec):
    return tiny_codec


@pytest.fixture(scope="module")
def model(tiny_sampler):
    return tiny_sampler


@pytest.fixture(scope="module")
def poses():
    dance = choreograph("bounce", 120, 2.0, seed=1)
    frames = dance.world.shape[0]
    return PoseSequence(
        dance.world, np.ones(frames, bool), np.ones((frames, 33), np.float32), dance.fps
    )


def test_the_same_movement_plays_the_same_whenever_it_comes(model, codec, poses):
    def perform(ahead):
        """Poses are pushed as they come, or some blocks later but before they count."""
        sampler = MotionSampler(model, codec, source="poses", seed=3)
        sampler.follow(steady_grid(120.0, 2.0))
        blocks, fed = [], 0
        for block in range(60):
            due = [k for k in range(len(poses)) if k / poses.fps <= (block + ahead) * 2 / 75]
            for k in due[fed:]:
                sampler.push_pose(poses.world[k], True, k / poses.fps)
            fed = max(fed, len(due))
            blocks.append(sampler.step())
        return np.concatenate(blocks)

    first = perform(0)
    assert np.array_equal(first, perform(0))
    assert np.array_equal(first, perform(1))  # known early, but a block knows only its past
    assert first.shape == (60 * 640,) and np.isfinite(first).all() and np.abs(first).max() < 1


def test_reset_begins_again(model, codec, poses):
    sampler = MotionSampler(model, codec, source="poses")
    before = [sampler.step() for _ in range(5)]
    sampler.push_pose(poses.world[0], True, 0.1)
    sampler.follow(steady_grid(90.0, 2.0))
    sampler.reset()
    assert sampler.now_s == 0.0
    assert np.array_equal(np.stack(before), np.stack([sampler.step() for _ in range(5)]))
    sampler.reset(seed=1)
    assert not np.array_equal(np.stack(before), np.stack([sampler.step() for _ in range(5)]))


@pytest.mark.slow
def test_the_past_never_changes(model, codec, poses):
    other = replace(poses, world=np.where(np.arange(48)[:, None, None] < 30, poses.world, 0.0))
    a, b = (play(model, each, codec=codec).samples[0] for each in (poses, other))
    known_until = round((30 / 24 - 0.05 - 2 / 75) * 24_000) - 480
    assert np.array_equal(a[:known_until], b[:known_until])
    assert not np.array_equal(a, b)


@pytest.mark.slow
def test_a_whole_dance_is_as_long_as_its_poses(model, codec, poses):
    short = PoseSequence(poses.world[:7], poses.present[:7], poses.visibility[:7], 24.0)
    for each in (poses, short):
        sound = play(model, each, codec=codec, rhythm=steady_grid(100.0, 2.0))
        assert sound.samples.shape == (1, round(each.duration_s * 24_000))
    filmed = play_frames(
        model, draw_silhouettes(poses.world, np.random.default_rng(0)), 24.0, 2.0, codec=codec
    )
    assert filmed.samples.shape == (1, 48_000)


def test_bad_input_is_refused(model, codec, poses):
    none = PoseSequence(poses.world[:1], poses.present[:1], poses.visibility[:1], 24.0)
    with pytest.raises(PoseError, match="a segment 0.1 s"):
        play(model, none, codec=codec)
    with pytest.raises(InputError, match="shorter|lasts"):
        play_frames(model, [], 24.0, 0.05, codec=codec)
    with pytest.raises(InputError, match="temperature is -1"):
        MotionSampler(model, codec, temperature=-1.0)
    foreign = MotionVae(replace(model.config, codec_id="spectral:1"))
    with pytest.raises(CheckpointError, match="plays codes of spectral:1"):
        MotionSampler(foreign, codec)


def test_every_block_of_a_paced_video_is_timed(model, codec, demo_dir):
    now = [100.0]

    def clock():
        now[0] += 0.001
        return now[0]

    def sleep(seconds):
        now[0] += seconds

    heard = []
    sampler = MotionSampler(model, codec)
    video = demo_dir / "steps_128bpm.mp4"
    latency = perform_video(
        sampler, video, seconds=1.0, on_sound=heard.append, clock=clock, sleep=sleep
    )
    assert len(heard) == 37 and latency.late_share == 0.0
    assert latency.segment_to_sound_s.size == 33
    assert np.allclose(latency.segment_to_sound_s, 0.1 + sampler.block_s)
    assert (latency.newest_to_sound_s >= sampler.block_s - 1e-9).all()
    assert (latency.newest_to_sound_s < sampler.block_s + 1 / 24).all()
    with pytest.raises(InputError, match="lasts 0.05 s"):
        perform_video(sampler, video, seconds=0.05)


def test_late_blocks_are_counted_and_heard_late(model, codec, demo_dir):
    now = [0.0]

    def clock():
        now[0] += 0.03
        return now[0]

    latency = perform_video(
        MotionSampler(model, codec), demo_dir / "steps_128bpm.mp4", seconds=0.5, clock=clock,
        sleep=lambda seconds: None,
    )  # fmt: skip
    assert latency.late_share > 0.9
    assert latency.segment_to_sound_s[-1] > 0.3
