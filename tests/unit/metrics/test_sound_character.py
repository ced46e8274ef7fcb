import numpy as np
import pytest

pytest.importorskip("librosa")

from dancetomusic.metrics.sound_character import attack_ms, frame_lines_db, kit_change_db
from dancetomusic.types import Waveform

RATE = 24_000


def strokes(rng, attack_s, seconds=8.0, colour=lambda n: 0.0):
    """Bursts of noise every 0.25 s that rise linearly and decay; ``colour`` filters the n-th."""
    samples = 1e-4 * rng.standard_normal(round(seconds * RATE))
    age = np.arange(round(0.2 * RATE)) / RATE
    envelope = np.minimum(age / max(attack_s, 1e-4), 1.0) * np.exp(-age / 0.04)
    for number, start in enumerate(np.arange(0.1, seconds - 0.3, 0.25)):
        noise = rng.standard_normal(age.size)
        for _ in range(2):
            noise[1:] += colour(number) * noise[:-1]
        samples[round(start * RATE) : round(start * RATE) + age.size] += 0.2 * envelope * noise
    return Waveform(samples[None].astype(np.float32), RATE)


def test_a_slow_attack_is_longer(tiny_rng):
    sharp, slow = (attack_ms(strokes(tiny_rng, s)) for s in (0.0, 0.03))
    assert 2.0 < sharp < 8.0
    assert 12.0 < slow < 35.0
    silence = Waveform(np.zeros((1, RATE), np.float32), RATE)
    assert np.isnan(attack_ms(silence))


def test_lines_at_the_frame_rate_stand_out(tiny_rng):
    noise = 0.1 * tiny_rng.standard_normal(6 * RATE)
    time = np.arange(noise.size) / RATE
    comb = sum(np.sin(2 * np.pi * 75 * k * time) for k in range(20, 120))
    plain, lined, other = (
        Waveform(samples[None].astype(np.float32), RATE)
        for samples in (noise, noise + 0.01 * comb, noise + 0.01 * np.sin(2 * np.pi * 440 * time))
    )
    assert abs(frame_lines_db(plain)) < 1.0 and abs(frame_lines_db(other)) < 1.0
    assert frame_lines_db(lined) > 10.0
    assert frame_lines_db(lined, 80.0) < 6.0
    assert np.isnan(frame_lines_db(Waveform(plain.samples[:, :RATE], RATE)))


def test_a_kit_that_changes_is_told_from_one_that_stays(tiny_rng):
    same = kit_change_db(strokes(tiny_rng, 0.0, 16.0))
    every_other = kit_change_db(strokes(tiny_rng, 0.0, 16.0, lambda n: 0.8 * (n % 2)))
    later = kit_change_db(strokes(tiny_rng, 0.0, 16.0, lambda n: 0.8 * (n > 30)))
    assert abs(same) < 0.7
    assert later > same + 2.0
    assert every_other < 0.7
    assert np.isnan(kit_change_db(strokes(tiny_rng, 0.0, 2.0)))
