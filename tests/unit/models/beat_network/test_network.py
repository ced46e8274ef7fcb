import numpy as np
import pytest
import torch

from dancetomusic.errors import ConfigError
from dancetomusic.models.beat_network.network import (
    FRAME_RATE,
    N_MELS,
    SAMPLE_RATE,
    BeatNetwork,
    BeatNetworkConfig,
    beat_activations,
    mel_levels,
    mel_power,
)
from dancetomusic.types import Waveform


@pytest.fixture
def network():
    torch.manual_seed(0)
    return BeatNetwork(BeatNetworkConfig(channels=8, front=(4, 6), n_layers=3)).eval()


def tone(hertz, seconds, rate=SAMPLE_RATE):
    t = np.arange(round(seconds * rate)) / rate
    return Waveform(np.sin(2 * np.pi * hertz * t)[None].astype(np.float32), rate)


def test_power_has_fifty_frames_a_second():
    assert mel_power(tone(440, 2.0)).shape == (N_MELS, 2 * FRAME_RATE)


def test_higher_tones_lie_in_higher_bands():
    bands = [mel_power(tone(hertz, 0.5)).sum(axis=1).argmax() for hertz in (60, 300, 1500, 6000)]
    assert bands == sorted(set(bands))


def test_a_click_is_in_the_frame_of_its_time():
    samples = np.zeros((1, SAMPLE_RATE), np.float32)
    samples[0, round(0.5 * SAMPLE_RATE)] = 1.0
    assert abs(mel_power(Waveform(samples, SAMPLE_RATE)).sum(axis=0).argmax() - 25) <= 1


def test_levels_do_not_depend_on_loudness_and_stay_in_range():
    rng = np.random.default_rng(0)
    power = rng.random((N_MELS, 200)).astype(np.float32) ** 4
    np.testing.assert_allclose(mel_levels(power), mel_levels(power * 1e-3), atol=1e-4)
    assert mel_levels(power).min() >= -1e-6
    assert mel_levels(np.zeros((N_MELS, 10), np.float32)).max() == pytest.approx(0, abs=1e-6)
    assert mel_levels(np.zeros((N_MELS, 0), np.float32)).size == 0


def test_chunks_give_what_one_pass_gives(network, monkeypatch):
    power = np.random.default_rng(1).random((N_MELS, 700)).astype(np.float32)
    whole = beat_activations(network, power)
    monkeypatch.setattr("dancetomusic.models.beat_network.network.CHUNK_S", 3.0)
    np.testing.assert_allclose(beat_activations(network, power), whole, atol=1e-5)


def test_an_activation_depends_on_its_reach_alone(network):
    power = np.random.default_rng(2).random((1, N_MELS, 200)).astype(np.float32)
    changed = power.copy()
    changed[:, :, 100] += 1.0
    with torch.inference_mode():
        difference = (network(torch.from_numpy(power)) - network(torch.from_numpy(changed))).abs()
    moved = np.flatnonzero(difference[0].amax(0).numpy() > 1e-6)
    assert moved.min() >= 100 - network.reach and moved.max() <= 100 + network.reach


def test_no_sound_has_no_activation(network):
    assert beat_activations(network, np.zeros((N_MELS, 0), np.float32)).shape == (2, 0)


@pytest.mark.parametrize(
    "values", [{"channels": 0}, {"kernel": 4}, {"dropout": 1.0}, {"n_layers": 0}]
)
def test_an_impossible_shape_is_refused(values):
    with pytest.raises(ConfigError):
        BeatNetworkConfig(**values)
