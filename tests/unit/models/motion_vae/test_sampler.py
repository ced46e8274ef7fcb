"""The sampler as an instrument: pictures and poses in, blocks of sound out."""

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.errors import CheckpointError, InputError, PoseError
from dancetomusic.models.motion_vae.network import MotionVae
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


@pytest.mark.slow(1)
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
