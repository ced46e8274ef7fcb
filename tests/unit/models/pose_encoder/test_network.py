import dataclasses

import numpy as np
import pytest
import torch

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import CheckpointError, ConfigError, PoseError
from dancetomusic.models.pose_encoder.network import (
    PoseEncoder,
    PoseEncoderConfig,
    encode_poses,
    read_rhythm,
)
from dancetomusic.pose.files import load_poses
from dancetomusic.synthesis.choreography import choreograph

TINY = PoseEncoderConfig(channels=16, dilations=(1, 2), dropout=0.0)


def random_poses(frames, batch=1):
    return torch.randn(batch, frames, 33, 3) * 0.3, torch.ones(batch, frames, dtype=torch.bool)


def tiny_encoder(**changes):
    torch.manual_seed(0)
    return PoseEncoder(dataclasses.replace(TINY, **changes)).eval()


def sequence(world):
    return fully_visible(world, 24.0)


@pytest.mark.parametrize("frames", [1, 2, 23, 120, 121])
def test_lengths_follow_from_the_rates(frames):
    encoding = tiny_encoder()(*random_poses(frames, batch=2))
    assert encoding.memory.shape == (2, (frames + 1) // 2, 16)
    assert encoding.phase.shape == (2, int(frames * 75 / 24), 2)
    assert encoding.beat_logits.shape == encoding.energy.shape == encoding.phase.shape[:2]
    assert ((encoding.energy >= 0) & (encoding.energy <= 1)).all()


def test_absent_frames_have_no_say():
    encoder = tiny_encoder()
    world, present = random_poses(96)
    present[:, 40:60] = False
    other = world.clone()
    other[:, 40:60] = 7.0
    first, second = encoder(world, present), encoder(other, present)
    torch.testing.assert_close(first.phase, second.phase)
    assert not first.memory_mask[0, 20:30].any()
    assert first.memory_mask[0, :20].all()


def test_place_in_the_room_does_not_matter():
    encoder = tiny_encoder()
    world, present = random_poses(48)
    torch.testing.assert_close(
        encoder(world + 3.0, present).phase, encoder(world, present).phase, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("legs_only", [True, False])
@pytest.mark.parametrize("sizes", [[2] * 72, [144], [40, 2, 100, 2]])
def test_blocks_joined_equal_one_pass(demo_dir, sizes, legs_only):
    poses = load_poses(demo_dir / "steps_128bpm.npz", 24.0)
    world = torch.from_numpy(poses.world[:144])[None]
    present = torch.from_numpy(poses.present[:144].copy())[None]
    present[:, 40:61] = present[:, 70] = False
    encoder = tiny_encoder(causal=True, legs_only=legs_only)
    state, blocks = encoder.initial_state(), []
    with torch.no_grad():
        whole = encoder(world, present)
        for end, size in zip(np.cumsum(sizes), sizes, strict=True):
            part = slice(end - size, end)
            block, state = encoder.stream(world[:, part], present[:, part], state)
            blocks.append(block)
    for values, expected in zip(zip(*blocks, strict=True), whole[:-1], strict=True):
        torch.testing.assert_close(torch.cat(values, dim=1), expected, atol=1e-4, rtol=1e-4)


def test_an_encoder_that_sees_ahead_is_not_streamed():
    with pytest.raises(CheckpointError, match="sees ahead"):
        tiny_encoder().initial_state()


def test_causal_output_never_changes_when_more_is_seen():
    encoder = tiny_encoder(causal=True)
    world, present = random_poses(240)
    whole = encoder(world, present)
    cut = encoder(world[:, :150], present[:, :150])
    torch.testing.assert_close(cut.memory, whole.memory[:, :75])
    torch.testing.assert_close(cut.phase, whole.phase[:, : cut.phase.shape[1]])
    not_causal = tiny_encoder()
    past = not_causal(world[:, :150], present[:, :150]).memory
    assert not torch.allclose(past, not_causal(world, present).memory[:, :75])


def test_receptive_field_is_what_it_says():
    encoder = tiny_encoder()
    world, present = random_poses(240)
    changed = world.clone()
    changed[:, 120] += torch.randn(33, 3)
    difference = (encoder(world, present).phase - encoder(changed, present).phase).abs()
    touched = torch.nonzero(difference[0].sum(dim=-1) > 1e-7)[:, 0] / 75.0 - 5.0
    assert touched.abs().max() <= encoder.receptive_field_s
    assert touched.abs().max() > encoder.receptive_field_s / 2


@pytest.mark.parametrize(
    "values", [{"kernel": 4}, {"channels": 0}, {"dilations": ()}, {"dropout": 1.0}]
)
def test_impossible_configs_are_refused(values):
    with pytest.raises(ConfigError):
        PoseEncoderConfig(**values)


def test_untrained_encoder_still_gives_a_whole_grid():
    dance = choreograph("bounce", 120.0, 8.0, seed=0)
    track = read_rhythm(tiny_encoder(), sequence(dance.world))
    assert track.duration_s == pytest.approx(8.0)
    assert track.beat_times[0] < 1.5 < 6.5 < track.beat_times[-1]
    assert read_rhythm(tiny_encoder(), sequence(dance.world), bpm=100.0).bpm == pytest.approx(100)


def test_other_frame_rates_are_refused():
    poses = dataclasses.replace(sequence(np.zeros((10, 33, 3), np.float32)), fps=30.0)
    with pytest.raises(PoseError, match="24 frames"):
        encode_poses(tiny_encoder(), poses)
