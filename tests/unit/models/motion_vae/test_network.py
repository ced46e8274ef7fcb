"""The sampler's network."""

import numpy as np
import pytest
import torch

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.models.motion_vae.motion_input import N_FEATURES
from dancetomusic.models.motion_vae.network import MotionVae, MotionVaeConfig, beat_features
from dancetomusic.rhythm.beats import steady_grid, track_from_beats

TINY = MotionVaeConfig(
    codec_id="spectral:0", codebook_size=40, code_channels=6, latent=3, hidden=8, memory=12,
    code_width=8,
)  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MotionVae(TINY).eval()


def test_both_movements_and_sound_lie_in_one_space(model):
    blocks = 5
    for source in ("motiongram", "poses"):
        place = model.encode_movement(source, torch.randn(2, blocks, 4, N_FEATURES[source]))
        assert place.mean.shape == place.log_deviation.shape == (2, blocks, 3)
    sound = model.encode_sound(torch.randn(2, 2 * blocks, 6), torch.randn(2, 2 * blocks))
    assert sound.mean.shape == (2, blocks, 3)
    written = model.decode_movement(sound.sample(torch.zeros(2, blocks, 3)))
    assert written.shape == (2, blocks, 4, N_FEATURES["motiongram"])


def test_a_segment_of_sound_ends_with_its_block(model):
    latent, level = torch.randn(1, 20, 6), torch.zeros(1, 20)
    before = model.encode_sound(latent, level).mean
    latent[:, 12:] += 1.0
    changed = (model.encode_sound(latent, level).mean - before).abs().amax(-1)[0]
    assert not changed[:6].any() and changed[6:].all()


def test_beats_are_phases_that_go_on_at_both_ends():
    track = track_from_beats(np.array([1.0, 1.5, 2.0]), np.array([1, 2, 3]), 2.4)
    beats = beat_features(track, np.array([1.0, 1.25, 2.5, 3.0, 0.5]))
    assert np.allclose(beats[:, 0], 1.0)
    assert np.allclose(beats[:, 1:3], [[1, 0], [-1, 0], [1, 0], [1, 0], [1, 0]], atol=1e-5)
    thirds = 2 * np.pi * np.array([0, 1 / 6, 0, 1 / 3, 2 / 3])
    assert np.allclose(beats[:, 3], np.cos(thirds), atol=1e-5)
    assert np.allclose(beats[:, 5:], [0.0, 1.0])
    assert not beat_features(None, np.arange(3.0)).any()
    assert beat_features(steady_grid(60.0, 8.0), np.arange(3.0))[0, 5] == -1.0


def test_a_checkpoint_comes_back_and_others_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path / "own", {"seed": 0})
    again = MotionVae.from_pretrained(tmp_path / "own")
    assert again.config == TINY and not again.training
    assert torch.allclose(again.level_head.weight, model.level_head.weight, atol=1e-3)
    assert load_checkpoint(tmp_path / "own", model="motion_vae").metadata["codec"] == "spectral:0"
    with pytest.raises(CheckpointError, match="'motion_vae' model, not 'codec'"):
        load_checkpoint(tmp_path / "own", model="codec")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        MotionVae.from_pretrained(tmp_path)


def test_bad_shapes_are_refused():
    with pytest.raises(ConfigError, match="latent is 0"):
        MotionVaeConfig(codec_id="", latent=0)
    with pytest.raises(ConfigError, match="shorter than a block"):
        MotionVaeConfig(codec_id="", segment_s=0.01)
