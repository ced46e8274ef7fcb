import numpy as np
import pytest
import torch

from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.models.dance_gan.generation import dance_to, dance_windows, encode_audio_in_chunks
from dancetomusic.models.dance_gan.mel import mel_levels
from dancetomusic.models.dance_gan.network import DanceGanConfig, DanceGenerator
from dancetomusic.pose.landmarks import LIMBS
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.types import Waveform
from tests.dance_factory import drums
from tests.video_factory import SAMPLE_RATE


@pytest.fixture(scope="module")
def music():
    times = np.arange(0.2, 12.0, 0.55)
    return Waveform(drums(times, np.arange(times.size) % 4 + 1, 12.0)[None], SAMPLE_RATE)


@pytest.fixture(scope="module", params=["plain", "wavegan", "unet"])
def model(request):
    torch.manual_seed(0)
    config = DanceGanConfig(
        windows=request.param, latent=8, noise=6, width=16, depth=1, hidden=16, heard=6
    )
    return DanceGenerator(config).eval()


def test_a_dance_is_as_long_as_its_music(model, music):
    poses = dance_to(model, music)
    assert len(poses) == 12 * 24
    assert poses.fps == 24.0
    assert poses.present.all()
    near, far = np.array(LIMBS).T
    lengths = np.linalg.norm(poses.world[:, near] - poses.world[:, far], axis=-1)
    assert lengths.std(axis=0).max() < 1e-5


@pytest.mark.slow(1)
def test_a_seed_is_a_dance_and_windows_change_nothing(model, music):
    poses = dance_to(model, music, seed=3)
    assert np.array_equal(dance_to(model, music, seed=3).world, poses.world)
    assert not np.allclose(dance_to(model, music, seed=4).world, poses.world)
    windows = list(dance_windows(model, music, seed=3, window_s=1.7))
    assert len(windows) == 8
    assert np.allclose(np.concatenate(windows), poses.world, atol=1e-4)


def test_chunked_audio_features_equal_one_pass(model, music):
    bands = torch.from_numpy(mel_levels(music))
    whole = model.encode_audio(bands[None])[0].detach()
    for chunk in (8, 40, 1000):
        assert torch.allclose(encode_audio_in_chunks(model, bands, chunk=chunk), whole, atol=1e-5)


def test_without_variety_every_seed_dances_alike(model, music):
    one, other = (dance_to(model, music, seed=seed, variety=0.0) for seed in (0, 1))
    assert np.array_equal(one.world, other.world)


def test_beats_may_be_given(model, music):
    grid = steady_grid(90.0, music.duration_s)
    given = dance_to(model, music, rhythm=grid)
    assert len(given) == 12 * 24
    assert not np.allclose(given.world, dance_to(model, music).world)


@pytest.mark.parametrize("seconds", [1.0, 1.02, 2.3])
def test_a_second_is_enough(model, music, seconds):
    short = Waveform(music.samples[:, : round(seconds * SAMPLE_RATE)], SAMPLE_RATE)
    poses = dance_to(model, short, rhythm=steady_grid(120.0, seconds))
    assert len(poses) == int(seconds * 24 + 1e-6)


def test_music_that_cannot_be_danced_to_is_refused(model, music):
    with pytest.raises(InputError, match="lasts"):
        dance_to(model, Waveform(music.samples[:, :8000], SAMPLE_RATE))
    with pytest.raises(InputError, match="silent"):
        dance_to(model, Waveform(np.zeros_like(music.samples), SAMPLE_RATE))
    with pytest.raises(InputError, match="variety"):
        dance_to(model, music, variety=-1.0)


def test_still_poses_do_not_dance(music):
    with pytest.raises(CheckpointError, match="still poses"):
        dance_to(DanceGenerator(DanceGanConfig(stage="poses")), music)
