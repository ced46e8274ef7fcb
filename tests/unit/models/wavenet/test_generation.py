"""Queues write what passes over the whole receptive field write, sample by sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.naive_wavenet import generate_naively
from dancetomusic.codec.mulaw import SILENCE, decode_mulaw
from dancetomusic.errors import InputError, PoseError
from dancetomusic.metrics.beats import beat_f, track_beats
from dancetomusic.models.wavenet.generation import SampleQueues, play, stream
from dancetomusic.models.wavenet.network import (
    KNOWN_LENGTHS,
    WaveNet,
    WaveNetConfig,
    follow_beats,
    pose_movement,
)
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.released import released_checkpoint
from dancetomusic.types import PoseSequence

SMALL = WaveNetConfig(
    channels=12, skip_channels=20, stacks=2, layers_per_stack=5, movement_channels=8,
    movement_dilations=(1, 2), condition_channels=4,
)  # fmt: skip


def lively(config):
    """Random weights strong enough that every layer and the condition matter."""
    torch.manual_seed(1)
    model = WaveNet(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(("stack", "gates", "head", "hidden")):
                weight.mul_(2.0)
        model.upsampler.kernel.add_(0.1 * torch.randn_like(model.upsampler.kernel))
    return model


def dancer(seconds, fps=24.0):
    rng = np.random.default_rng(0)
    frames = round(seconds * fps)
    return PoseSequence(
        world=np.cumsum(rng.normal(0, 0.02, (frames, 33, 3)), axis=0).astype(np.float32),
        present=np.ones(frames, bool),
        visibility=np.ones((frames, 33), np.float32),
        fps=fps,
    )


@pytest.mark.slow(1)
@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("config", [SMALL, WaveNetConfig(channels=9, skip_channels=5, stacks=1)])
def test_queues_equal_the_naive_forward_pass_sample_by_sample(config, temperature):
    model = lively(config)
    hop, rng = config.hop_length, np.random.default_rng(2)
    before = -(-config.receptive_field // hop)
    gates = torch.randn(1, len(config.dilations), 2 * config.channels, before + 3)
    uniform = rng.random(2 * hop)
    history = rng.integers(0, 256, before * hop).astype(np.uint8)
    naive = generate_naively(model, gates, uniform, history, temperature=temperature)

    queues = SampleQueues(model)
    frames = gates[0].permute(2, 0, 1).numpy()
    queues.write(frames[: before + 1], np.zeros(history.size), given=history)
    logits = np.zeros((uniform.size, 256), np.float32)
    fast = queues.write(frames[before:], uniform, temperature=temperature, logits=logits)
    assert np.array_equal(fast, naive)
    assert len(set(fast.tolist())) > (1 if temperature == 0 else 20)

    classes = torch.from_numpy(np.concatenate([history, fast]).astype(np.int64))[None]
    first = history.size - config.receptive_field
    with torch.no_grad():
        expected = model(classes[:, first:-1], gates)[0].T.numpy()
    np.testing.assert_allclose(logits, expected, atol=2e-4)


@pytest.mark.slow(1)
def test_writing_in_parts_is_writing_at_once():
    model = lively(SMALL)
    gates = np.random.default_rng(0).normal(size=(5, 10, 24)).astype(np.float32)
    uniform = np.random.default_rng(1).random(640)
    whole = SampleQueues(model).write(gates, uniform)
    queues = SampleQueues(model)
    parts = [queues.write(gates[:3], uniform[:320]), queues.write(gates[2:], uniform[320:])]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.slow(1)
def test_what_comes_first_does_not_depend_on_what_follows():
    model = lively(SMALL)
    long, short = pose_movement(dancer(4.0)), pose_movement(dancer(4.0))[:50]
    first = next(stream(model, long))
    again = next(stream(model, short))
    reach = model.reader.reach / 25
    same = round((2.0 - reach - 0.1) * 16_000)
    assert np.array_equal(first[:same], again[:same])


@pytest.mark.slow(1)
def test_play_is_as_long_as_the_dance_and_repeats_by_seed():
    model = lively(SMALL)
    poses = dancer(1.3)
    sound = play(model, poses, seed=3)
    assert sound.samples.shape == (1, round(poses.duration_s * 16_000))
    assert np.array_equal(sound.samples, play(model, poses, seed=3).samples)
    assert not np.array_equal(sound.samples, play(model, poses, seed=4).samples)
    moved = PoseSequence(poses.world[::-1].copy(), poses.present, poses.visibility, poses.fps)
    assert not np.array_equal(sound.samples, play(model, moved, seed=3).samples)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_gates_come_from_the_movement_at_the_same_time(scale: float):
    """The first block is what a pass over everything says it is."""
    model = lively(SMALL)
    movement = pose_movement(dancer(2.0))
    sound = np.concatenate(
        list(stream(model, movement, seed=5, sampling=SamplingConfig(cfg_scale=scale)))
    )
    assert sound.size == len(movement) * 640
    read = model.read(torch.from_numpy(movement)[None], torch.ones(1, dtype=torch.bool))
    read = model.unseen + scale * (read - model.unseen)
    gates = model.gates_of(torch.cat([read, read[:, -1:]], 1), torch.tensor([-1])).detach()
    field = -(-SMALL.receptive_field // 160)
    early = torch.cat([gates[..., :1].expand(-1, -1, -1, field), gates], -1)
    uniform = np.random.default_rng(5).random(16_000)[:320]
    history = np.full(field * 160, SILENCE, np.uint8)
    naive = generate_naively(model, early, uniform, history)
    np.testing.assert_array_equal(sound[:320], decode_mulaw(naive))


def test_the_latent_vector_changes_the_sound():
    model = lively(replace(SMALL, latent_dim=3))
    with torch.no_grad():
        model.gates.weight.mul_(4)
    first, second = (
        play(model, dancer(1.0), seed=n, sampling=SamplingConfig(temperature=0.0)).samples
        for n in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_what_was_read_moves_to_known_beats_and_no_further():
    model = lively(replace(SMALL, condition_channels=12))
    beats, lengths = np.array([0.3, 0.8, 1.2, 1.7]), np.repeat(KNOWN_LENGTHS, 2)
    with torch.no_grad():
        read = torch.randn(1, 200, 12)
        moved = follow_beats(model, read, beats)
        phase = model.phase(moved)[0].numpy()
        change = moved - read
        # What the phase does not depend on stays.
        blind = torch.linalg.svd(model.phase.weight)[2][6:]
    at = np.round(beats * 100).astype(int)
    np.testing.assert_allclose(phase[at], np.tile(lengths * [1, 0, 1, 0, 1, 0], (4, 1)), atol=1e-4)
    np.testing.assert_allclose(phase[55], lengths * [-1, 0, 1, 0, 1, 0], atol=1e-4)
    assert (change @ blind.T).abs().max() < 1e-4 < change.abs().max()
    assert torch.allclose(follow_beats(model, moved, beats), moved, atol=1e-4)
    with pytest.raises(InputError, match="1 beats are no rhythm"):
        follow_beats(model, read, beats[:1])


@pytest.mark.slow(8)
@pytest.mark.parametrize("period_s", [0.44, 0.6])
def test_the_released_wavenet_plays_on_beats_that_it_cannot_read(period_s):
    model = WaveNet.from_pretrained(released_checkpoint("wavenet"))
    beats = np.arange(0.25, 12.0, period_s)
    sound = play(model, dancer(12.0), beat_times=beats)
    assert beat_f(beats, track_beats(sound)) > 0.8
    assert beat_f(beats, track_beats(play(model, dancer(12.0)))) < 0.6


def test_bad_requests_are_refused():
    model = lively(SMALL)
    with pytest.raises(InputError, match="knows no beats"):
        play(lively(replace(SMALL, movement="none")), np.zeros((50, 1), np.float32),
             beat_times=np.arange(3.0))  # fmt: skip
    with pytest.raises(InputError, match=r"receptive field of 3\.9 ms \(63 samples\)"):
        list(stream(model, pose_movement(dancer(1.0)), 20))
    with pytest.raises(InputError, match="temperature"):
        play(model, dancer(1.0), sampling=SamplingConfig(temperature=-1.0))
    with pytest.raises(InputError, match="cfg_scale is -1"):
        play(model, dancer(1.0), sampling=SamplingConfig(cfg_scale=-1.0))
    with pytest.raises(InputError, match="no genre 'polka'"):
        play(model, dancer(1.0), genre="polka")
    with pytest.raises(InputError, match="reads pose, not pictures"):
        list(stream(model, np.zeros((50, 64, 64), np.uint8)))
    with pytest.raises(PoseError):
        play(model, dancer(0.0))
