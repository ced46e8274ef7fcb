import numpy as np
import pytest

pytest.importorskip("mir_eval")
pytest.importorskip("librosa")

from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.metrics.beats import (
    beat_f,
    cmlt,
    score_beats,
    score_windows,
    slice_beats,
    tempo_bpm,
    tempo_ratio,
    track_beats,
)
from dancetomusic.types import Waveform

BEATS = metronome_times(100.0, 60.0)
NONE = np.zeros(0)


def test_perfect():
    scores = score_windows(BEATS, BEATS, 60.0)
    assert (scores.f, scores.cmlt, scores.tempo, scores.tempo_octave) == (1.0, 1.0, 1.0, 1.0)
    assert scores.tempo_error == 0.0
    assert score_windows(BEATS, BEATS, 60.0, 5.0).f == 1.0


@pytest.mark.parametrize("pair", [(BEATS, NONE), (NONE, BEATS), (NONE, NONE)])
def test_empty(pair):
    scores = score_beats(*pair)
    assert (scores.f, scores.cmlt, scores.tempo) == (0.0, 0.0, 0.0)
    assert np.isnan(scores.tempo_error)


def test_known_values():
    reference = np.array([0.0, 1.0, 2.0, 3.0])
    # two of four beats inside ±70 ms, one extra: precision 2/3, recall 2/4
    assert beat_f(reference, np.array([0.06, 1.08, 2.0])) == pytest.approx(2 * 2 / (3 + 4))
    # the second half, a continuous stretch of the right beats, is half of all
    half = np.concatenate([np.arange(20) + 0.5, np.arange(20.0, 40.0)])
    assert cmlt(np.arange(40.0), half) == pytest.approx(0.5, abs=0.06)


def test_half_a_beat_late_is_wrong_but_keeps_tempo():
    scores = score_beats(BEATS, BEATS + 0.3)
    assert scores.f == 0.0 and scores.cmlt == 0.0 and scores.tempo == 1.0


def test_double_tempo_is_right_only_up_to_octaves():
    scores = score_beats(BEATS, metronome_times(200.0, 60.0))
    assert scores.tempo == 0.0 and scores.tempo_octave == 1.0
    assert scores.f == pytest.approx(2 / 3, abs=0.01)
    assert scores.tempo_error == pytest.approx(1.0)
    assert tempo_ratio(BEATS, metronome_times(200.0, 60.0)) == pytest.approx(2.0)


def test_first_beats_of_a_window_count():
    late = BEATS[BEATS >= 3.0]
    assert score_windows(BEATS, late, 5.0).f < score_windows(BEATS, BEATS, 5.0).f


def test_slicing_counts_from_the_window():
    np.testing.assert_allclose(slice_beats(np.array([0.9, 1.0, 1.5, 2.0]), 1.0, 2.0), [0.0, 0.5])


def test_windows_average_and_drop_the_incomplete_last_one():
    half = BEATS[BEATS < 20.0]
    assert score_windows(BEATS, half, 45.0, 20.0).f == pytest.approx(0.5)


def test_window_longer_than_the_piece_is_the_piece():
    assert score_windows(BEATS, BEATS, 8.0, 20.0) == score_windows(BEATS, BEATS, 8.0)


def test_tempo_ignores_a_trackers_grid_and_one_missing_beat():
    hop = 512 / 24_000
    on_grid = np.round(metronome_times(117.0, 60.0) / hop) * hop
    assert tempo_bpm(np.delete(on_grid, 30)) == pytest.approx(117.0, rel=0.01)
    assert np.isnan(tempo_bpm(np.array([1.0])))


@pytest.mark.slow
def test_tracker_finds_clicks_and_nothing_in_silence():
    times = metronome_times(110.0, 20.0, phase=0.5)
    found = track_beats(render_clicks(times, 20.0))
    assert beat_f(times, found) > 0.95
    assert tempo_bpm(found) == pytest.approx(110.0, rel=0.02)
    assert track_beats(Waveform(np.zeros((1, 24_000), dtype=np.float32), 24_000)).size == 0


@pytest.mark.slow
def test_tracker_finds_the_beats_of_real_music(shared_data):
    from dancetomusic.io.audio import read_audio

    dance = "DANCE_T_7"
    music = read_audio(shared_data / "tang2018" / "audio" / f"{dance}.opus")
    with np.load(shared_data / "tang2018" / "motion" / f"{dance}.npz") as arrays:
        truth = arrays["beat_times"].astype(np.float64)
    assert score_beats(truth, track_beats(music)).f > 0.9
