import json

import numpy as np
import pytest
import torch

from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.dance_gan.audio_windows import OVERSAMPLING
from dancetomusic.models.dance_gan.crops import DancedSong, cut_crops, cut_poses, read_songs
from dancetomusic.models.dance_gan.network import DanceGanConfig, load_dance_gan
from dancetomusic.models.dance_gan.training import DanceGanTrainingConfig, train_dance_gan
from dancetomusic.pose.files import POSE_FPS
from dancetomusic.pose.skeleton import Skeleton, directions_of, turn_by
from tests.evaluation_factory import write_dances

TINY = DanceGanConfig(latent=8, noise=4, width=16, depth=1, hidden=16, heard=4, choosing=8)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dances")
    write_dances(folder)
    return DanceGanTrainingConfig(
        data=str(folder), model=TINY, pose_steps=6, pose_batch=8, sequence_steps=4, max_steps=4,
        batch_size=2, crop_frames=48, validation_crops=2, warmup_steps=1, log_every=1,
        validate_every=2, save_every=2, device="cpu", tensorboard=False, ema_decay=0.0,
    )  # fmt: skip


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_three_stages_train_one_after_the_other(config, tmp_path):
    generator = train_dance_gan(config, tmp_path)
    assert generator.config.stage == "music"
    for stage, steps in (("poses", 6), ("sequences", 4)):
        assert load_dance_gan(tmp_path / stage, stage=stage)
        assert log_of(tmp_path / stage)[-1]["step"] == steps
    last = log_of(tmp_path)[-2]
    assert {"critic/distance", "critic/penalty", "generator/places"} <= set(last)
    assert {"loss", "nats", "energy_made"} <= set(log_of(tmp_path)[-1]["validation"])
    body = load_dance_gan(tmp_path / "poses", stage="poses").skeleton
    assert torch.equal(generator.skeleton.lengths, body.lengths)
    before = (tmp_path / "model.safetensors").read_bytes()
    train_dance_gan(config, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_stage_may_be_the_last(config, tmp_path):
    still = DanceGanTrainingConfig(**vars(config) | {"model": DanceGanConfig(**vars(TINY) | {
        "stage": "poses"})})  # fmt: skip
    generator = train_dance_gan(still, tmp_path)
    assert generator.config.stage == "poses"
    assert not (tmp_path / "sequences").exists()


@pytest.fixture
def song():
    """A dancer whose left wrist tells the time, and sound that does."""
    world = np.zeros((480, 33, 3), np.float32)
    skeleton = Skeleton()
    world[:] = skeleton(directions_of(torch.randn(33, 3))).numpy()
    bands = np.arange(480 * OVERSAMPLING, dtype=np.float32)[:, None] / (OVERSAMPLING * POSE_FPS)
    return DancedSong(world, np.arange(0.5, 20, 0.5), np.repeat(bands, 32, axis=1))


def test_movement_beats_and_sound_of_a_crop_are_of_the_same_time(song):
    rngs = [np.random.default_rng(n) for n in range(8)]
    batch = cut_crops([song], rngs, n_frames=48, speeds=(0.75, 1.35), mirror_share=0.5)
    assert batch.count().shape[:2] == (8, 48)
    assert torch.allclose(batch.share().sum(dim=1), torch.ones(8, 48))
    assert batch.directions.shape == (8, 48, 24, 3)
    assert batch.bands.shape == (8, 48 * OVERSAMPLING, 32)
    seconds = batch.bands[:, ::OVERSAMPLING, 0]
    beats = (seconds - 0.5) * 2
    apart = batch.beats - beats
    assert (apart - apart.round()).abs().max() < 0.03
    assert ((batch.beats[:, 0] >= 0) & (batch.beats[:, 0] < 2)).all()
    speed = torch.diff(batch.beats, dim=1).mean(dim=1) * POSE_FPS / 2
    assert ((speed > 0.74) & (speed < 1.36)).all()
    assert speed.std() > 0.05


def test_still_poses_face_the_camera(song):
    turned = torch.from_numpy(song.world)
    known = turn_by(turned, torch.full((len(turned),), 1.1)).numpy()
    rngs = [np.random.default_rng(n) for n in range(8)]
    batch = cut_poses([DancedSong(known, song.beat_times, song.bands)], rngs)
    hips, shoulders = batch.directions[:, 0], batch.directions[:, 2]
    assert batch.directions.shape == (8, 24, 3)
    lengths = Skeleton().lengths
    across = lengths[0] * hips + lengths[2] * shoulders
    assert across[:, 2].abs().max() < 1e-4
    assert (across[:, 0] > 0).all()


def test_dances_without_music_or_data_are_refused(config, tmp_path):
    write_dances(tmp_path)
    (tmp_path / "audio" / "B.opus").unlink()
    with pytest.raises(InputError):
        read_songs(str(tmp_path), "train", ("A",))
    with pytest.raises(InputError):
        read_songs(str(tmp_path / "absent"), "train", ("A",))


@pytest.mark.parametrize(
    "values",
    [
        {"data": ""},
        {"pose_steps": 0},
        {"crop_frames": 8},
        {"min_speed": 2.0},
        {"adversarial_weight": -1.0},
        {"heard_dropout": 1.0},
        {"critic_rate": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(config, values):
    with pytest.raises(ConfigError):
        DanceGanTrainingConfig(**vars(config) | values)
