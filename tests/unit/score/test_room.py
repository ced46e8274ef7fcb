from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.score.room import Room
from dancetomusic.types import Waveform

RATE = 44_100


def noise(seed: int = 0, level: float = 0.1, seconds: float = 2.0) -> Waveform:
    rng = np.random.default_rng(seed)
    samples = level * rng.standard_normal((2, round(seconds * RATE)))
    return Waveform(samples.astype(np.float32), RATE)


def impulse(seconds: float = 2.0, at_s: float = 0.5) -> Waveform:
    samples = np.zeros((2, round(seconds * RATE)), np.float32)
    samples[:, round(at_s * RATE)] = 1.0
    return Waveform(samples, RATE)


def power(samples: np.ndarray) -> float:
    return float(np.sum(samples.astype(np.float64) ** 2))


def test_room_answers_late_wide_and_as_loud() -> None:
    wet = Room(delay_s=0.01).reverberated(impulse()).samples
    start = round(0.5 * RATE)
    assert np.abs(wet[:, : start + 400]).max() < 1e-6  # nothing before the first reflection
    assert [power(ear) for ear in wet] == pytest.approx([1, 1], rel=0.05)
    assert abs(np.corrcoef(wet[0], wet[1])[0, 1]) < 0.15
    heard = Room().reverberated(noise(seconds=4)).samples[:, RATE:]
    sent = noise(seconds=4).to_mono().samples[:, RATE:]
    assert power(heard) / (2 * power(sent)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("decay_s", [0.4, 1.2])
def test_room_decays_in_its_time(decay_s: float) -> None:
    wet = Room(decay_s=decay_s, damping=0.0).reverberated(impulse(4.0)).samples[:, RATE // 2 :]
    left = np.cumsum((wet.astype(np.float64) ** 2).sum(axis=0)[::-1])[::-1]
    level_db = 10 * np.log10(np.maximum(left / left[0], 1e-12))
    t5, t25 = (np.argmax(level_db < db) / RATE for db in (-5, -25))
    assert 3 * (t25 - t5) == pytest.approx(decay_s, rel=0.2)


def test_damping_takes_high_tones_and_no_room_has_bass() -> None:
    wet = Room(damping=0.7).reverberated(impulse(2.0)).samples[0]
    late = wet[round(0.75 * RATE) :]
    for part, ratio in ((wet, 1.0), (late, 0.1)):
        spectrum = np.abs(np.fft.rfft(part)) ** 2
        frequency = np.fft.rfftfreq(part.size, 1 / RATE)
        high = spectrum[(frequency > 8_000) & (frequency < 12_000)].mean()
        middle = spectrum[(frequency > 500) & (frequency < 1_000)].mean()
        assert high < ratio * middle
        assert spectrum[frequency < 90].mean() < 0.02 * middle


def test_rooms_are_the_same_each_time_and_differ_by_seed() -> None:
    first, again, other = (
        Room(decay_s=0.5, seed=seed).reverberated(impulse(1.0)).samples for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("n_samples", [0, 1, 100])
def test_short_sounds_are_reverberated(n_samples: int) -> None:
    sound = Waveform(np.ones((1, n_samples), np.float32), 24_000)
    assert Room().reverberated(sound).samples.shape == (2, n_samples)


@pytest.mark.parametrize("value", [{"decay_s": 0.0}, {"damping": 1.0}, {"delay_s": -1.0}])
def test_values_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Give"):
        Room(**value)
