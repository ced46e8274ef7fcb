"""The training task of the WaveNet and its model, small enough for seconds."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dancetomusic.codec.mulaw import SILENCE
from dancetomusic.config import config_from_dict, config_to_dict, load_config_values
from dancetomusic.data.augment import turn
from dancetomusic.data.dance_sound import DanceSound
from dancetomusic.errors import CheckpointError, ConfigError, InputError
from dancetomusic.evaluation.tasks.wavenet import (
    CONDITIONS,
    NONE,
    SHUFFLED,
    TRUE,
    latent_distances,
    likelihood_table,
    played_scores,
    played_table,
    score_likelihood,
)
from dancetomusic.models.wavenet.generation import play
from dancetomusic.models.wavenet.network import (
    BEAT_HARMONICS,
    POSE_FEATURES,
    PictureFront,
    WaveNet,
    WaveNetConfig,
    beat_harmonics,
    pose_features,
    pose_movement,
    read_movement,
)
from dancetomusic.models.wavenet.training import WaveNetTask, crop_losses, train_wavenet
from dancetomusic.models.wavenet.training_data import (
    DanceSoundCrops,
    WaveNetTrainingConfig,
    procedural_dances,
    reference_of,
    wild_dances,
)
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.schedules import (
    cyclic_rate,
    one_cycle_rate,
    range_test_rate,
    steepest_rate,
    step_rate,
)
from dancetomusic.training.task import ScheduledOptimizer
from dancetomusic.types import PoseSequence, Waveform

TINY = WaveNetConfig(
    channels=8, skip_channels=16, stacks=1, layers_per_stack=6, movement_channels=16,
    movement_dilations=(1, 2, 4), condition_channels=8, genres=("waltz",),
)  # fmt: skip
SETTINGS = WaveNetTrainingConfig(
    model=TINY, window_s=2.0, crop_s=0.1, batch_size=4, max_steps=4, learning_rate=5e-3,
    warmup_steps=1, log_every=1, validation_crops=4, withheld_share=0.3, device="cpu",
    tensorboard=False,
)  # fmt: skip
CPU = DistributedContext(0, 1, torch.device("cpu"))


def stepping(seconds, period, seed=0):
    """A dancer who puts a foot down on each beat, and a click then."""
    rng, rate = np.random.default_rng(seed), 16_000
    beats = np.arange(rng.uniform(0, period), seconds, period)
    frames = round(seconds * 25)
    at = np.arange(frames) / 25
    since = (at[:, None] - beats[None]) / period
    lifted = 0.3 * np.sin(np.pi * np.where((since >= 0) & (since < 1), since, 0).sum(1))
    world = np.zeros((frames, 33, 3), np.float32)
    world[:, 25:, 1] = np.repeat([0.4, 0.8], [2, 6])
    world[:, 25::2, 1] -= lifted[:, None]
    samples = np.zeros(round(seconds * rate))
    click = np.exp(-np.arange(800) / 150) * rng.normal(0, 0.4, 800)
    for beat in beats:
        start = round(beat * rate)
        part = samples[start : start + 800]
        part += click[: part.size]
    return DanceSound(
        name=f"steps{seed}",
        genre="waltz",
        samples=np.rint(samples.clip(-1, 1) * 32767).astype(np.int16),
        sample_rate=rate,
        fps=25.0,
        poses=PoseSequence(world, np.ones(frames, bool), np.ones((frames, 33), np.float32), 25.0),
        pictures=None,
        beat_times=beats,
    )


SOUNDS = [stepping(8.0, 0.5, 0), stepping(8.0, 0.6, 1), stepping(8.0, 0.55, 2)]


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A model that has learned the clicks, after some hundred small steps."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = replace(SETTINGS, max_steps=250, batch_size=8, learning_rate=2e-2, log_every=50)
    return train_wavenet(config, tmp_path_factory.mktemp("run"), sounds=SOUNDS)


@pytest.mark.slow(28)
def test_sound_that_comes_with_movement_is_better_predicted_with_it(learned):
    found = score_likelihood(learned, [SOUNDS[2], stepping(8.0, 0.5, 3)], crops=16)
    assert found.bits[TRUE].mean() < min(found.bits[SHUFFLED].mean(), found.bits[NONE].mean())
    near, far = (costs[SHUFFLED] - costs[TRUE] for costs in (found.bits_near, found.bits))
    assert near.mean() > far.mean() > 0
    assert 0 < found.near_share.mean() < 0.3
    table = likelihood_table(found, 16_000)
    assert all(f"| {name} |" in table for name in CONDITIONS)


@pytest.mark.slow
def test_likelihood_refuses_what_cannot_be_shuffled(learned):
    with pytest.raises(InputError, match="at least two"):
        score_likelihood(learned, SOUNDS[:1])
    blind = WaveNet(replace(TINY, movement="none"))
    with pytest.raises(InputError, match="not conditioned on movement"):
        score_likelihood(blind, SOUNDS[:2])


@pytest.mark.slow
def test_it_is_written_loaded_and_played(tmp_path):
    trained = train_wavenet(SETTINGS, tmp_path, sounds=SOUNDS)
    loaded = WaveNet.from_pretrained(tmp_path)
    assert config_to_dict(loaded.config) == config_to_dict(TINY)
    metadata = json.loads((tmp_path / "config.json").read_text())["metadata"]
    assert metadata["steps"] == 4 and metadata["dances"] == ["steps0", "steps1"]
    assert metadata["metrics"]["loss"] > 0
    poses = SOUNDS[2].poses
    sound = play(trained, poses, genre="waltz")
    assert sound.duration_s == poses.duration_s
    with pytest.raises(CheckpointError):
        document = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**document, "model": "codec"}))
        WaveNet.from_pretrained(tmp_path)


@pytest.mark.slow(2)
@pytest.mark.parametrize(
    "model",
    [
        replace(TINY, upsampling="linear"),
        replace(TINY, latent_dim=4, dilation_growth=3),
        replace(TINY, movement="none", genres=()),
    ],
)
def test_every_shape_learns(tmp_path, model):
    task = WaveNetTask(replace(SETTINGS, model=model), tmp_path, CPU, SOUNDS)
    batch = task.data.batch(0, range(4))
    first = task.losses("wavenet", batch, 0)
    assert ("kl" in first) == bool(model.latent_dim)
    assert ("phase" in first) == (model.movement != "none")
    assert abs(first["nats"].item() - np.log(256)) < 1
    optimizer = task.optimizers["wavenet"].optimizer
    for _ in range(15):
        losses = task.losses("wavenet", batch, 0)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert losses["nats"] < first["nats"] - 0.2


@pytest.mark.slow
def test_pictures_pass_the_same_interface(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (200, 64, 64)).astype(np.uint8)
    seen = [replace(sound, poses=None, pictures=grey) for sound in SOUNDS]
    model = replace(TINY, movement="pictures", genres=())
    config = replace(SETTINGS, model=model, source="videos", max_steps=1, batch_size=2)
    trained = train_wavenet(config, tmp_path, sounds=seen)
    assert read_movement(trained, grey).shape == (1, 800, 8)
    assert play(trained, grey[:30]).duration_s == pytest.approx(1.2)
    with pytest.raises(InputError, match="reads pictures, not pose"):
        play(trained, SOUNDS[0].poses)
    with pytest.raises(ConfigError, match="have no poses"):
        replace(SETTINGS, source="videos")


@pytest.mark.slow(20)
def test_what_is_estimated_of_pictures_is_learned_first(tmp_path):
    model = replace(TINY, movement="pictures", latent_dim=2)
    config = replace(
        SETTINGS, model=model, batch_size=8, sounded=1, max_steps=40, front_steps=35,
        learning_rate=5e-3, warmup_steps=5,
    )  # fmt: skip
    task = WaveNetTask(config, tmp_path, CPU, SOUNDS)
    batch = task.data.batch(0, range(8))
    assert batch.movement.shape == (8, 50, 64, 64) and batch.movement.dtype == torch.uint8
    assert not torch.equal(batch.movement[0, 0], batch.movement[1, 0])
    early, late = (task.losses("wavenet", batch, step) for step in (34, 35))
    assert early.keys() == {"total", "signals"}
    assert late.keys() == {"total", "signals", "nats", "phase", "kl"}
    trained = train_wavenet(config, tmp_path, sounds=SOUNDS)
    with torch.no_grad():
        before = task.validate()
        task.model.load_state_dict(trained.state_dict())
        after = task.validate()
    assert after["signals"] < 0.7 * before["signals"]


def test_silenced_crops_have_no_past_and_the_same_sound():
    model = replace(TINY, layers_per_stack=11)
    past = model.receptive_field
    usual, silenced = (
        DanceSoundCrops(replace(SETTINGS, model=model, silenced_share=share), SOUNDS)
        .batch(0, range(16))
        .classes
        for share in (0.0, 1.0)
    )
    assert (silenced[:, :past] == SILENCE).all() and not (usual[:, :past] == SILENCE).all()
    assert silenced[:, past:].equal(usual[:, past:])


@pytest.mark.slow(1)
def test_pictures_of_one_who_stands_still_are_all_alike_to_the_front():
    torch.manual_seed(0)
    front = PictureFront(8)
    rng = np.random.default_rng(0)
    two = torch.from_numpy(rng.integers(0, 255, (2, 1, 64, 64)).astype(np.uint8))
    still = two.expand(-1, 10, -1, -1)
    found = front.signals(still)
    assert found.shape == (2, 10, 7)
    torch.testing.assert_close(found, found[:1, :1].expand_as(found), atol=1e-3, rtol=0)
    torch.testing.assert_close(front(still), front(found))


@pytest.mark.slow(1)
def test_the_bottleneck_hears_another_stretch_of_the_piece(tmp_path):
    model = replace(TINY, latent_dim=4)
    task = WaveNetTask(replace(SETTINGS, model=model), tmp_path, CPU, SOUNDS)
    batch = task.data.batch(0, range(4))
    assert batch.reference.shape == (4, 32_000)
    assert task.data.batch(0, range(4)).reference.equal(batch.reference)
    short = reference_of(
        replace(SOUNDS[0], samples=SOUNDS[0].samples[:20_000]), np.random.default_rng(0)
    )
    assert short.shape == (32_000,) and not short[20_000:].any() and short[:20_000].any()


def test_training_starts_from_weights_as_far_as_they_fit(tmp_path):
    torch.manual_seed(1)
    start = WaveNet(TINY)
    start.save_pretrained(tmp_path / "start", {})
    model = replace(TINY, movement="pictures", latent_dim=4, channels=8)
    config = replace(SETTINGS, model=model, start_from=str(tmp_path / "start"))
    made = WaveNetTask(config, tmp_path, CPU, SOUNDS).model
    held = WaveNet.from_pretrained(tmp_path / "start").state_dict()
    for name, tensor in made.state_dict().items():
        if name.startswith("gates.weight"):
            assert tensor.shape[1] == held[name].shape[1] + 4
            assert torch.equal(tensor[:, :-4], held[name])
        elif name in held:
            assert torch.equal(tensor, held[name])
    assert not any(name.startswith("reader.front.layers") for name in held)


def test_dilations_grow_from_stack_to_stack():
    config = WaveNetConfig(stacks=2, layers_per_stack=3, dilation_growth=10)
    assert config.dilations == (1, 2, 4, 10, 20, 40) and config.receptive_field == 78
    with pytest.raises(ConfigError, match="dilation_growth"):
        replace(config, dilation_growth=0)


def test_made_up_dances_have_beats_and_are_the_same_again():
    first, again = procedural_dances(2, 3), procedural_dances(2, 3)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.poses.world, two.poses.world)
        assert np.allclose(np.diff(one.beat_times), 60 / one.bpm)
    assert wild_dances(None) == [] == procedural_dances(0, 0)


@pytest.mark.slow
def test_what_is_played_is_scored_beside_the_held_out_sound():
    clicks = SOUNDS[0].samples[None] / np.float32(32768)
    clicks += 0.05 * np.random.default_rng(0).standard_normal(clicks.shape).astype(np.float32)
    halved = clicks.copy()
    halved[:, 64_000:] = 0
    full, half = played_scores(
        [Waveform(each, 16_000) for each in (clicks, halved)], SOUNDS[:1] * 2
    )
    assert full[0] > half[0]
    assert full[1:].tolist() == [0, 0] and half[1] == pytest.approx(3.5) and half[2] > 0.4
    shown = {"once": SOUNDS[:1], "again": SOUNDS[:1]}
    rows = played_table(WaveNet(TINY).eval(), shown, seconds=3.0).splitlines()
    assert rows[0].startswith("| first 3 s |") and len(rows) == 7
    assert rows[2].removeprefix("| once") == rows[4].removeprefix("| again")
    assert rows[3].startswith("| once, on given beats | – |")


@pytest.mark.slow
def test_two_latent_vectors_are_further_apart_than_two_samplings_of_one():
    torch.manual_seed(0)
    model = WaveNet(replace(TINY, latent_dim=2)).eval()
    with torch.no_grad():
        model.gates.weight[:, -2:] *= 40
    between, within = latent_distances(model, SOUNDS[:1], pieces=2, seconds=2.0)
    assert between.shape == within.shape == (1,) and between[0] > within[0] > 0
    deaf = copy.deepcopy(model)
    with torch.no_grad():
        deaf.gates.weight[:, -2:] = 0
    between, within = latent_distances(deaf, SOUNDS[:1], pieces=2, seconds=2.0)
    assert between == within


@pytest.mark.slow
def test_movement_read_in_blocks_is_movement_read_at_once():
    torch.manual_seed(0)
    for upsampling in ("learned", "linear"):
        model = WaveNet(replace(TINY, upsampling=upsampling)).eval()
        movement = np.random.default_rng(0).normal(size=(100, POSE_FEATURES)).astype(np.float32)
        whole, parts = (read_movement(model, movement, block_s=s) for s in (60.0, 0.8))
        torch.testing.assert_close(whole, parts)


def test_unconditional_changes_the_prediction(tmp_path):
    torch.manual_seed(0)
    task = WaveNetTask(SETTINGS, tmp_path, CPU, SOUNDS)
    batch = task.data.batch(0, range(4))
    assert batch.movement.shape == (4, 50, POSE_FEATURES) and batch.classes.shape == (4, 64 + 1600)
    blind = replace(batch, seen=torch.zeros(4, dtype=torch.bool))
    shown = replace(batch, seen=torch.ones(4, dtype=torch.bool))
    terms = [crop_losses(task.model, b, SETTINGS.crop_steps) for b in (blind, shown)]
    assert terms[0]["phase"] == 0 < terms[1]["phase"]
    assert terms[0]["nats"] != terms[1]["nats"]
    again = task.data.batch(0, range(2, 4))
    assert torch.equal(again.classes, batch.classes[2:])


def test_each_schedule_is_followed(tmp_path):
    optimizer = ScheduledOptimizer(torch.optim.SGD([torch.zeros(1)], lr=1.0), peak_rate=1.0)
    expected = {
        "one_cycle": one_cycle_rate(1.0, 7, 100),
        "step": step_rate(1.0, 7, every=5, factor=0.5),
        "cyclic": cyclic_rate(0.1, 1.0, 7, half_cycle=5),
        "range_test": range_test_rate(1e-4, 1.0, 7, 100),
    }
    for name, rate in expected.items():
        config = replace(SETTINGS, schedule=name, cycle_steps=5)
        assert WaveNetTask(config, tmp_path, CPU, SOUNDS).rate(optimizer, 7, 100) == rate
    assert max(one_cycle_rate(1.0, s, 100) for s in range(100)) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ConfigError):
        replace(SETTINGS, schedule="step", step_factor=1.5)


@pytest.mark.slow
def test_a_range_test_says_which_rate_to_try(tmp_path, capsys):
    config = replace(SETTINGS, schedule="range_test", max_steps=30, learning_rate=1.0)
    train_wavenet(config, tmp_path, sounds=SOUNDS)
    said = capsys.readouterr().out
    assert "receptive field 4.0 ms (64 samples, 6 layers)" in said
    rates = [line["rate"] for line in log_of(tmp_path) if "validation" not in line]
    assert rates[0] == pytest.approx(1e-4) and rates[-1] == pytest.approx(1.0)
    assert "the loss fell fastest at learning_rate" in said
    assert 1e-4 < steepest_rate(rates, [5.0] * 10 + [4.0] * 10 + [9.0] * 10) < 1e-1


def test_settings_and_sounds_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="multiple of 100"):
        replace(TINY, sample_rate=22_050)
    with pytest.raises(ConfigError, match="crop_s does not fit"):
        replace(SETTINGS, crop_s=2.0)
    with pytest.raises(InputError, match="receptive field of 4096 ms"):
        wide = replace(TINY, layers_per_stack=16)
        WaveNetTask(replace(SETTINGS, model=wide, window_s=9.0, crop_s=6.0), tmp_path, CPU, SOUNDS)
    model = WaveNet(TINY)
    with pytest.raises(InputError, match=r"3\.9 ms are shorter than the receptive field of 4\.0"):
        model(torch.zeros(1, 63, dtype=torch.long), torch.zeros(1, 6, 16, 2))


def test_every_shipped_setting_loads(repository):
    files = sorted((repository / "configs").glob("wavenet*.yaml"))
    assert len(files) >= 6
    for file in files:
        assert isinstance(
            config_from_dict(WaveNetTrainingConfig, load_config_values(file)), WaveNetTrainingConfig
        )


def test_poses_at_another_rate_are_the_same_movement():
    poses = SOUNDS[0].poses
    slow = resample_poses(poses, 12.5)
    features = pose_movement(slow)
    assert features.shape == (2 * len(slow) - 1, POSE_FEATURES)
    np.testing.assert_allclose(features, pose_movement(resample_poses(slow, 25.0)), atol=1e-5)


def test_movement_is_the_same_from_every_side_and_nothing_is_known_of_absent_dancers():
    world = np.random.default_rng(0).normal(size=(40, 33, 3)).cumsum(0).astype(np.float32) / 50
    present = np.ones(40, bool)
    seen = pose_features(world, present)
    np.testing.assert_allclose(pose_features(turn(world, 1.0), present), seen, atol=1e-3)
    present[20] = False
    hidden = pose_features(world, present)
    assert (hidden[18:23, : POSE_FEATURES // 2] == 0).all()
    np.testing.assert_array_equal(hidden[:18], seen[:18])


def test_harmonics_turn_as_often_as_they_say():
    angle = torch.tensor([[0.0, 0.3, 2.0]])
    found = beat_harmonics(torch.stack([angle.cos(), angle.sin()], dim=-1))
    for place, times in enumerate(BEAT_HARMONICS):
        torch.testing.assert_close(found[..., 2 * place], (times * angle).cos())
        torch.testing.assert_close(found[..., 2 * place + 1], (times * angle).sin())
