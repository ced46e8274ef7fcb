import numpy as np
import pytest

pytest.importorskip("librosa")

from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.metrics.legacy import (
    beat_alignment,
    coverage_scores,
    motion_beat_coverage,
    onset_seconds,
)
from dancetomusic.types import Waveform


def test_true_music_has_the_top_score():
    seconds = np.array([1, 1, 0, 1, 0, 1.0, 0, 0, 1, 1])
    scores = coverage_scores(seconds, seconds)
    assert (scores.bcs_d2m, scores.bhs_d2m, scores.bcs_loris, scores.bhs_loris) == (1, 1, 1, 1)
    assert (scores.csd, scores.hsd) == (0, 0)


def test_the_two_papers_mean_different_things():
    # Clip 1: 2 true, 4 generated, 2 in both. Clip 2: 4 true, 2 generated, 1 in both.
    true = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 0.0])
    generated = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 1.0])
    scores = coverage_scores(true, generated)
    assert scores.bcs_d2m == pytest.approx((4 / 2 + 2 / 4) / 2)
    assert scores.bhs_d2m == scores.bhs_loris == pytest.approx((2 / 2 + 1 / 4) / 2)
    assert scores.bcs_loris == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert scores.csd == 0.0
    assert scores.hsd == pytest.approx((1 - 1 / 4) / 2)


def test_a_metronome_passes(tiny_rng):
    """Why nobody should trust these: one click a half second hits nearly every second."""
    clicks = onset_seconds(render_clicks(metronome_times(120.0, 20.0), 20.0))
    assert coverage_scores((tiny_rng.random(20) < 0.8).astype(float), clicks).bhs_loris > 0.9


def test_silence_and_nothing():
    silent = onset_seconds(Waveform(np.zeros((1, 60_000), np.float32), 24_000))
    np.testing.assert_array_equal(silent, np.zeros(3))
    assert np.isnan(coverage_scores(silent, silent).bcs_d2m)
    assert coverage_scores(np.ones(3), silent).bcs_loris == 0.0
    assert np.isnan(coverage_scores(np.zeros(0), np.zeros(0)).hsd)


def test_alignment_is_a_gaussian_of_three_frames_at_60():
    motion = np.array([1.0, 2.0])
    assert beat_alignment(motion, motion) == 1.0
    assert beat_alignment(motion, motion + 0.05) == pytest.approx(np.exp(-0.5))
    assert beat_alignment(motion, np.zeros(0)) == beat_alignment(np.zeros(0), motion) == 0.0


def test_coverage_counts_within_70_ms():
    motion = np.array([1.0, 2.0, 3.0, 4.0])
    assert motion_beat_coverage(motion, np.array([1.06, 2.08, 3.0])) == 0.5
    assert motion_beat_coverage(motion, np.zeros(0)) == 0.0
