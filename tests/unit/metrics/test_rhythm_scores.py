import numpy as np
import pytest

from dancetomusic.metrics.rhythm_scores import (
    bar_share,
    f_measure,
    interval_bpm,
    matched_beats,
    metrical_levels,
    score_rhythm,
)

pytest.importorskip("mir_eval")

BEATS = np.arange(16) * 0.5
PLACES = np.arange(16) % 4 + 1


def test_the_truth_is_right_in_every_way():
    scores = score_rhythm(BEATS, BEATS, bar_times=BEATS, bar_places=PLACES, estimated_places=PLACES)
    assert (scores.f, scores.f_any_level, scores.tempo, scores.tempo_octave) == (1, 1, 1, 1)
    assert (scores.offset_ms, scores.offset_abs_ms, scores.bars, scores.right) == (0, 0, 1, 1)


def test_half_a_beat_late_has_the_tempo_and_no_beat():
    scores = score_rhythm(BEATS, BEATS + 0.25)
    assert (scores.f, scores.tempo, scores.right) == (0.0, 1.0, 0.0)
    # Of the doubled reference (31 beats) those between two beats are found, the last is not.
    assert scores.f_any_level == pytest.approx(2 * 15 / (31 + 16))
    assert np.isnan(scores.offset_ms) and np.isnan(scores.offset_abs_ms)


def test_late_beats_are_positive_and_early_ones_negative():
    late, early = (score_rhythm(BEATS, BEATS + shift) for shift in (0.03, -0.04))
    assert late.f == early.f == 1.0
    assert late.offset_ms == pytest.approx(30) and early.offset_ms == pytest.approx(-40)
    assert early.offset_abs_ms == pytest.approx(40)


def test_half_and_double_are_right_at_their_level():
    half = score_rhythm(BEATS, BEATS[1::2])
    double = score_rhythm(BEATS, np.arange(31) * 0.25)
    for scores in (half, double):
        assert (scores.f_any_level, scores.tempo, scores.tempo_octave) == (1.0, 0.0, 1.0)
    assert half.f == pytest.approx(2 / 3)  # precision 1, recall 1/2
    assert double.f == pytest.approx(2 * 16 / (16 + 31))


def test_a_published_example():
    """Davies et al. 2009: F is 2c / (2c + f+ + f-); here c = 3, one false, two missed."""
    reference, estimated = np.array([1.0, 2, 3, 4, 5]), np.array([1.05, 2.069, 3.08, 4.0])
    assert f_measure(reference, estimated) == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    np.testing.assert_array_equal(matched_beats(reference, estimated), [[0, 0], [1, 1], [3, 3]])


def test_the_first_seconds_count():
    assert score_rhythm(BEATS, BEATS[BEATS >= 5.0]).f == pytest.approx(2 * 6 / (6 + 16))


def test_empty_sides_score_nothing():
    nothing = np.zeros(0)
    found_none = score_rhythm(BEATS, nothing)
    assert (found_none.f, found_none.f_any_level, found_none.tempo) == (0.0, 0.0, 0.0)
    assert np.isnan(found_none.offset_ms)
    tempo_only = score_rhythm(nothing, BEATS, bpm=60.0)
    assert np.isnan(tempo_only.f) and np.isnan(tempo_only.bars)
    assert (tempo_only.tempo, tempo_only.tempo_octave) == (0.0, 1.0)
    assert score_rhythm(nothing, nothing).tempo == 0.0
    assert f_measure(BEATS, BEATS[:1]) == 0.0
    assert np.isnan(interval_bpm(BEATS[:1]))


def test_malformed_times_are_refused():
    with pytest.raises(ValueError, match="increasing"):
        f_measure(BEATS, BEATS[::-1].copy())


def test_the_place_in_the_bar_is_that_of_matched_beats():
    assert bar_share(BEATS, PLACES, BEATS, PLACES) == 1.0
    assert bar_share(BEATS, PLACES, BEATS, np.roll(PLACES, 1)) == 0.0
    assert bar_share(BEATS, PLACES, BEATS + 0.25, PLACES) == 0.0
    assert np.isnan(bar_share(np.zeros(0), PLACES[:0], BEATS, PLACES))
    four_in_five = np.where(np.arange(16) < 13, PLACES, 9)
    scores = score_rhythm(
        BEATS, BEATS, bar_times=BEATS, bar_places=PLACES, estimated_places=four_in_five
    )
    assert scores.bars == 1.0


def test_levels_of_short_grids():
    assert [level.size for level in metrical_levels(BEATS[:1])] == [1, 1, 1, 0]
    assert [level.size for level in metrical_levels(BEATS[:0])] == [0, 0, 0, 0]
