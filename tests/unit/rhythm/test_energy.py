import numpy as np

from dancetomusic.rhythm.energy import CausalEnergy, loudness_energy, movement_energy
from dancetomusic.types import PoseSequence, Waveform


def dance(amplitude, present=None, fps=24.0):
    """A body that swings as far as ``amplitude`` says, frame by frame."""
    seconds = np.arange(amplitude.size) / fps
    shift = (amplitude * np.sin(2 * np.pi * 2 * seconds))[:, None, None]
    world = np.tile(np.linspace(0, 1, 33)[:, None], (1, 3)) * (1 + shift)
    if present is None:
        present = np.ones(amplitude.size, bool)
    visibility = np.ones((amplitude.size, 33), np.float32)
    return PoseSequence(world.astype(np.float32), present, visibility, fps)


def test_stronger_movement_has_more_energy():
    energy = movement_energy(dance(np.r_[np.full(120, 0.05), np.full(120, 0.5)]))
    assert energy.size == 100
    assert energy[5:40].mean() < 0.2 < 0.8 < energy[60:95].mean()


def test_even_movement_stays_in_the_middle():
    energy = movement_energy(dance(np.full(240, 0.2)))
    assert 0.3 < energy[10:90].min() < energy[10:90].max() < 0.7


def test_nobody_has_no_energy():
    present = np.ones(240, bool)
    present[100:200] = False
    energy = movement_energy(dance(np.full(240, 0.2), present))
    assert energy[52:75].max() == 0
    assert movement_energy(dance(np.zeros(1))).tolist() == [0]
    assert not movement_energy(dance(np.full(48, 0.1), np.zeros(48, bool))).any()


def test_loudness_has_the_same_scale():
    seconds = np.arange(240_000) / 24_000
    amplitude = np.where(seconds < 5, 0.02, 0.2)
    tone = (amplitude * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)
    energy = loudness_energy(Waveform(tone[None], 24_000))
    assert energy.size == 100
    assert energy[5:40].mean() < 0.2 < 0.8 < energy[60:95].mean()
    assert not loudness_energy(Waveform(np.zeros((1, 24_000), np.float32), 24_000)).any()
    assert loudness_energy(Waveform(np.zeros((1, 3), np.float32), 24_000)).size == 1


def test_causal_energy_is_usual_for_even_movement_and_rises_at_once_with_an_accent():
    meter, body = CausalEnergy(), np.zeros((33, 3), np.float32)
    rng = np.random.default_rng(0)
    for k in range(200):
        body = body + rng.normal(0, 0.01, body.shape).astype(np.float32)
        meter.push(body, k / 24.0)
    assert 0.3 < meter.energy < 0.7
    meter.push(body + 0.1, 200 / 24.0)
    assert meter.accent > 0.9
