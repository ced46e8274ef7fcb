import numpy as np
import pytest

from dancetomusic.metrics.bar_similarity import (
    bar_patterns,
    lag_similarity,
    pairwise_similarity,
    self_similarity,
)

BEATS = 0.5 + np.arange(17) * 0.5
NUMBERS = np.arange(17) % 4 + 1


def onsets_at(times, bands=2, seconds=10.0):
    onsets = np.zeros((bands, round(seconds * 100)), np.float32)
    onsets[:, np.rint(np.asarray(times) * 100).astype(int)] = 1.0
    return onsets


def test_one_loop_is_1():
    bars = bar_patterns(onsets_at(BEATS[:-1]), BEATS, NUMBERS)
    assert bars.shape == (4, 2 * 16)
    assert self_similarity(bars) == pytest.approx(1.0)
    assert (bars.argmax(axis=1) == 0).all()


def test_chance_is_0(tiny_rng):
    bars = tiny_rng.normal(size=(40, 64))
    assert abs(self_similarity(bars)) < 0.05


def test_variation_lies_between(tiny_rng):
    loop = tiny_rng.normal(size=64)
    bars = loop + tiny_rng.normal(size=(40, 64))
    assert self_similarity(bars) == pytest.approx(0.5, abs=0.1)


def test_a_pattern_on_every_second_bar():
    # Bars a and b alternate and are opposite: of 6 pairs 2 are equal and 4 are -1.
    bars = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert self_similarity(bars) == pytest.approx((2 - 4) / 6)


def test_seeds_are_compared_bar_by_bar(tiny_rng):
    one, other = tiny_rng.normal(size=(2, 20, 64))
    assert pairwise_similarity(one, one) == pytest.approx(1.0)
    assert abs(pairwise_similarity(one, other)) < 0.1
    assert pairwise_similarity(one, one[:5]) == pytest.approx(1.0)


def test_without_bars_nothing_is_said():
    none = bar_patterns(onsets_at([0.5]), BEATS[:4], NUMBERS[:4])
    assert none.shape == (0, 0)
    assert np.isnan(self_similarity(none))
    assert np.isnan(pairwise_similarity(none, none))
    silent = bar_patterns(np.zeros((2, 1000), np.float32), BEATS, NUMBERS)
    assert np.isnan(self_similarity(silent))
    assert np.isnan(pairwise_similarity(silent, silent))


def test_incomplete_bars_are_left_out():
    numbers = np.array([3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1])
    bars = bar_patterns(onsets_at([1.0, 3.0]), np.arange(14) * 0.5, numbers)
    assert bars.shape[0] == 2


def test_bars_alike_by_lag(tiny_rng):
    phrase = tiny_rng.normal(size=(4, 64))
    bars = np.concatenate([phrase, phrase, phrase])
    assert lag_similarity(bars, 4) == lag_similarity(bars, 8) == pytest.approx(1.0)
    assert abs(lag_similarity(bars, 1)) < 0.3
    assert np.isnan(lag_similarity(bars, 12))


def test_steps_of_held_notes_begin_on_time():
    held = np.zeros((1, 1000))
    held[0, 50:100] = 1.0  # the first beat, at 0.5 s
    steps = bar_patterns(held, BEATS, NUMBERS, steps_per_beat=1, early=0.0)
    np.testing.assert_allclose(steps[0], [1.0, 0.0, 0.0, 0.0], atol=1e-9)
