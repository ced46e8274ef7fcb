"""The sampler's training: pairs, their levels, learning, resuming."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dancetomusic.codec.registry import load_codec
from dancetomusic.errors import CheckpointError, ConfigError, InputError
from dancetomusic.models.motion_vae import training, training_data
from dancetomusic.models.motion_vae.network import DiagonalGaussian, MotionVae, MotionVaeConfig
from dancetomusic.models.motion_vae.training import kl_divergence, train_motion_vae
from dancetomusic.models.motion_vae.training_data import (
    LEVELLED_DB,
    MotionVaeTrainingConfig,
    ride_fader,
    smooth_noise,
    split_level,
)
from dancetomusic.models.registry import TrainingEntry, train
from dancetomusic.synthesis.groove import SOUND_FONT
from dancetomusic.types import PoseSequence, Waveform
from tests.unit.synthesis.test_groove import write_groove_folder

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)


def dancer(speeds, fps=24.0):
    """All joints move at given speeds along x."""
    world = np.zeros((len(speeds), 33, 3), np.float32)
    world[..., 0] = np.cumsum(speeds)[:, None] / fps
    present, visibility = np.ones(len(speeds), bool), np.ones((len(speeds), 33), np.float32)
    return PoseSequence(world, present, visibility, fps)


def noise(seconds, rng):
    return Waveform(rng.normal(0, 0.1, (1, round(seconds * 24_000))).astype(np.float32), 24_000)


def rms_db(samples):
    return 10 * np.log10((samples.astype(np.float64) ** 2).mean())


def test_the_fader_follows_the_dancer(tiny_rng):
    sound = noise(6.0, tiny_rng)
    mixed = ride_fader(sound, dancer(np.repeat([0.5, 1.0, 0.0], 48)))
    gains = [
        rms_db(mixed.samples[0, a:b]) - rms_db(sound.samples[0, a:b])
        for a, b in ((12_000, 36_000), (60_000, 84_000), (108_000, 132_000))
    ]
    assert gains[0] == pytest.approx(0.0, abs=0.3)
    assert gains[1] == pytest.approx(6.0, abs=0.3)
    assert gains[2] == pytest.approx(-24.0, abs=0.3)
    still = ride_fader(sound, dancer(np.zeros(144)))
    assert rms_db(still.samples) == pytest.approx(rms_db(sound.samples) - 24, abs=0.1)


def test_level_and_even_sound_make_the_sound_again(tiny_rng):
    sound = ride_fader(noise(6.0, tiny_rng), dancer(np.repeat([1.0, 0.2, 1.0], 48)))
    even, level_db = split_level(sound, 320)
    assert level_db.shape == (450,)
    assert level_db[30] - level_db[225] == pytest.approx(14.0, abs=1.0)
    for a, b in ((12_000, 36_000), (60_000, 84_000)):
        assert rms_db(even.samples[0, a:b]) == pytest.approx(LEVELLED_DB, abs=0.5)
    at = np.arange(sound.samples.size) / 320 - 0.5
    gain = 10 ** ((np.interp(at, np.arange(450), level_db) - LEVELLED_DB) / 20)
    assert np.allclose(even.samples[0] * gain, sound.samples[0], atol=1e-4)
    silent, level_db = split_level(Waveform(np.zeros((1, 1000), np.float32), 24_000), 320)
    assert not silent.samples.any() and level_db.max() == -50.0


def test_noise_is_standard_and_shared_by_overlapping_segments():
    shape = MotionVaeConfig(codec_id="")
    drawn = smooth_noise(np.random.default_rng(0), 20_000, shape)
    assert drawn.std() == pytest.approx(1.0, abs=0.03)
    kept = (drawn[1:] * drawn[:-1]).mean()
    assert kept == pytest.approx(np.exp(-shape.block_s / shape.segment_s), abs=0.03)


def test_divergence_is_torchs():
    torch.manual_seed(0)
    beliefs = [DiagonalGaussian(torch.randn(2, 3, 4), 0.3 * torch.randn(2, 3, 4)) for _ in range(2)]
    ours, theirs = (torch.distributions.Normal(b.mean, b.log_deviation.exp()) for b in beliefs)
    expected = torch.distributions.kl_divergence(ours, theirs).sum(-1).mean()
    assert torch.allclose(kl_divergence(*beliefs), expected, atol=1e-5)
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(ours, standard).sum(-1).mean()
    assert torch.allclose(kl_divergence(beliefs[0]), expected, atol=1e-5)


@pytest.fixture(scope="module")
def config(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("grooves")
    write_groove_folder(folder)
    with (folder / "info.csv").open("a") as index:
        index.write("drummer3,funk/groove1,100,beat,4-4,one.mid\n")
    repository = request.config.rootpath
    return MotionVaeTrainingConfig(
        grooves=str(folder), dances=None, codec=str(repository / "checkpoints/codec"),
        n_procedural=2, crop_s=1.0, max_steps=12, batch_size=2, warmup_steps=2, log_every=1,
        validate_every=6, save_every=3, device="cpu", tensorboard=False,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def short_dances(monkeypatch):
    monkeypatch.setattr(training_data, "PROCEDURAL_S", 4.0)


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
@needs_fluidsynth
def test_it_learns_and_resumes_where_it_was_stopped(config, tmp_path, monkeypatch):
    train_motion_vae(config, tmp_path / "whole")
    log = [line for line in log_of(tmp_path / "whole") if "total" in line]
    assert {"codes", "level", "movement", "shared", "prior"} <= set(log[0])
    assert np.mean([line["total"] for line in log[-3:]]) < log[0]["total"]
    model = MotionVae.from_pretrained(tmp_path / "whole")
    assert model.config.codec_id == load_codec(config.codec).identity

    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    for name in ("resume.pt", "log.jsonl"):
        (tmp_path / "parts" / name).unlink()
    original = training.MotionVaeTask.losses

    def stop_at_seven(self, optimizer, batch, step):
        if step == 7:
            raise KeyboardInterrupt
        return original(self, optimizer, batch, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.MotionVaeTask, "losses", stop_at_seven)
        patch.setattr(training_data, "_make_rendered", lambda *_: pytest.fail("are kept"))
        train_motion_vae(config, tmp_path / "parts")
    train_motion_vae(config, tmp_path / "parts")
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


@pytest.mark.slow
@needs_fluidsynth
def test_bad_settings_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="sound_share is 2"):
        replace(config, sound_share=2.0)
    with pytest.raises(ConfigError, match="no longer than segments"):
        replace(config, crop_s=0.1)
    with pytest.raises(InputError, match="nothing to learn from"):
        train_motion_vae(replace(config, n_procedural=0), tmp_path)
    with pytest.raises(InputError, match="longer than the shortest dance"):
        train_motion_vae(replace(config, crop_s=5.0), tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint|no released"):
        train_motion_vae(replace(config, codec=str(tmp_path)), tmp_path)


@pytest.mark.parametrize("name", ["motion_vae_base", "motion_vae", "motion_vae_500ms"])
def test_shipped_settings_load(repository, name, monkeypatch):
    seen = []
    entry = TrainingEntry(MotionVaeTrainingConfig, lambda config, output: seen.append(config))
    monkeypatch.setattr(training, "TRAINING", entry)
    train("motion_vae", repository / "configs" / f"{name}.yaml", {}, repository / "none")
    assert seen[0].segment_s == (0.5 if name == "motion_vae_500ms" else 0.1)
