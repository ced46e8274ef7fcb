import dataclasses

import numpy as np
import pytest
import torch

from dancetomusic.config import config_to_dict, load_config
from dancetomusic.errors import CheckpointError, ConfigError, PoseError
from dancetomusic.models.pose_encoder import (
    PoseEncoder,
    PoseEncoderConfig,
    encode_poses,
    load_pose_encoder,
    read_rhythm,
)
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.training.pose_encoder import (
    STATE_FILE,
    PoseEncoderTrainingConfig,
    make_batch,
    procedural_sources,
    rhythm_loss,
    train_pose_encoder,
)
from dancetomusic.types import PoseSequence

TINY = PoseEncoderConfig(channels=16, dilations=(1, 2), dropout=0.0)
RECIPE = PoseEncoderTrainingConfig(
    model=TINY,
    procedural_share=1.0,
    n_procedural=2,
    steps=4,
    batch_size=2,
    crop_s=6.0,
    min_clip_s=4.0,
    max_clip_s=6.0,
    save_every=2,
)


def random_poses(frames, batch=1):
    return torch.randn(batch, frames, 33, 3) * 0.3, torch.ones(batch, frames, dtype=torch.bool)


def tiny_encoder(**changes):
    torch.manual_seed(0)
    return PoseEncoder(dataclasses.replace(TINY, **changes)).eval()


def sequence(world):
    frames = world.shape[0]
    return PoseSequence(world, np.ones(frames, bool), np.ones((frames, 33), np.float32), 24.0)


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


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", [700, 1001])
def test_chunks_give_the_same_as_one_pass(causal, frames):
    encoder = tiny_encoder(causal=causal)
    world, present = random_poses(frames)
    present[:, 300:330] = False
    with torch.no_grad():
        whole = encoder(world, present)
    chunked = encoder.encode_long(world, present, chunk_s=5.0)
    for one, other in zip(whole, chunked, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


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


def test_loss_falls_on_one_batch_until_the_phase_is_known():
    torch.manual_seed(0)
    encoder = PoseEncoder(dataclasses.replace(TINY, channels=32, dilations=(1, 2, 4, 8)))
    sources = procedural_sources(2, 12.0, seed=0)
    batch = make_batch([], sources, RECIPE, np.random.default_rng(0))
    first = rhythm_loss(encoder, batch)["phase"].item()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    for _ in range(80):
        losses = rhythm_loss(encoder, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert losses["phase"].item() < 0.15 < 0.5 < first


def test_labels_mark_the_true_beats():
    sources = procedural_sources(1, 12.0, seed=1)
    batch = make_batch([], sources, RECIPE, np.random.default_rng(0))
    on_beat = batch.beats == 1
    assert (batch.phase[..., 0][on_beat] > 0.9).all()
    assert (batch.downbeats <= batch.beats).all()
    assert batch.world.shape == (2, 144, 33, 3)
    assert batch.phase.shape == (2, 450, 2)


def test_training_resumes_to_the_same_weights(tmp_path):
    whole = train_pose_encoder(RECIPE, tmp_path / "whole")
    state = torch.load(tmp_path / "whole" / STATE_FILE, weights_only=True)
    assert state["step"] == 4

    class Stopped(Exception):
        pass

    import dancetomusic.training.pose_encoder as recipe

    original = recipe.make_batch
    count = 0

    def stop_after_two(*arguments):
        nonlocal count
        count += 1
        if count > 2:
            raise Stopped
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(recipe, "make_batch", stop_after_two)
        train_pose_encoder(RECIPE, tmp_path / "parts")
    resumed = train_pose_encoder(RECIPE, tmp_path / "parts", resume=True)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor)


def test_resuming_needs_a_state_of_the_same_recipe(tmp_path):
    with pytest.raises(CheckpointError, match="no training state"):
        train_pose_encoder(RECIPE, tmp_path, resume=True)
    train_pose_encoder(RECIPE, tmp_path)
    with pytest.raises(CheckpointError, match="another recipe"):
        train_pose_encoder(dataclasses.replace(RECIPE, steps=6), tmp_path, resume=True)


def test_loaded_encoder_says_the_same(tmp_path):
    trained = train_pose_encoder(dataclasses.replace(RECIPE, steps=1), tmp_path)
    loaded = load_pose_encoder(tmp_path)
    assert config_to_dict(loaded.config) == config_to_dict(TINY)
    poses = random_poses(96)
    torch.testing.assert_close(loaded(*poses).phase, trained(*poses).phase, atol=5e-3, rtol=5e-3)
    with pytest.raises(CheckpointError):
        load_pose_encoder(tmp_path / "none")


def test_shipped_recipe_loads(repository):
    config = load_config(PoseEncoderTrainingConfig, repository / "configs" / "pose_encoder.yaml")
    assert config.model.frame_rate == 75.0


@pytest.mark.parametrize(
    "values",
    [
        {"procedural_share": 2.0},
        {"procedural_share": 0.5, "data": None},
        {"data": "x", "min_clip_s": 9.0, "max_clip_s": 4.0},
        {"data": "x", "steps": 0},
    ],
)
def test_impossible_recipes_are_refused(values):
    with pytest.raises(ConfigError):
        PoseEncoderTrainingConfig(**values)
