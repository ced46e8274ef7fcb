import numpy as np
import pytest

pytest.importorskip("mir_eval")
pytest.importorskip("librosa")

from dancetomusic.evaluation.baselines import render_clicks
from dancetomusic.metrics.onsets import beats_with_onset, detect_onsets, onset_f1
from dancetomusic.types import Waveform

TIMES = np.array([0.5, 0.8, 1.4, 2.1, 2.35, 3.0])


def test_clicks_are_found():
    found = detect_onsets(render_clicks(TIMES, 4.0))
    assert found.size == TIMES.size
    np.testing.assert_allclose(found, TIMES, atol=0.015)


def test_level_does_not_matter():
    clicks = render_clicks(TIMES, 4.0)
    quiet = Waveform(0.05 * clicks.samples, clicks.sample_rate)
    assert onset_f1(detect_onsets(clicks), detect_onsets(quiet)) == 1.0


def test_silence_has_none():
    assert detect_onsets(Waveform(np.zeros((1, 9_000), dtype=np.float32), 24_000)).size == 0


def test_scores():
    assert onset_f1(TIMES, TIMES) == 1.0
    assert onset_f1(TIMES, TIMES + 0.04) == 1.0
    assert onset_f1(TIMES, TIMES + 0.06) == 0.0
    assert onset_f1(TIMES, TIMES[:3]) == pytest.approx(2 * 3 / (6 + 3))
    assert onset_f1(TIMES, np.zeros(0)) == 0.0
    assert onset_f1(np.zeros(0), TIMES) == 0.0


def test_beats_with_an_onset_beside_chance():
    beats = np.arange(1.0, 9.0)
    assert beats_with_onset(beats, beats + 0.04, 10.0) == (1.0, pytest.approx(0.08, abs=0.01))
    assert beats_with_onset(beats, beats[:4] + 0.06, 10.0)[0] == 0.0
    assert beats_with_onset(beats, beats[::2], 10.0)[0] == 0.5
    assert beats_with_onset(beats, np.zeros(0), 10.0) == (0.0, 0.0)
    assert np.isnan(beats_with_onset(np.zeros(0), beats, 10.0)).all()
