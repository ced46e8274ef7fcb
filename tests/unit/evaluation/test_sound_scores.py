"""Sounds that are known are scored as what they are."""

import numpy as np
import pytest

pytest.importorskip("librosa")
pytest.importorskip("mir_eval")

from dancetomusic.evaluation.baselines import metronome_times, render_clicks, white_noise
from dancetomusic.evaluation.sound_scores import COLUMNS, Grid, measure_sound, seeds_alike
from dancetomusic.released import released_checkpoints

pytestmark = pytest.mark.skipif(
    "beat_network" not in released_checkpoints(), reason="no released weights"
)

SECONDS = 24.0
BEATS = metronome_times(120.0, SECONDS, phase=0.2)
GRID = Grid(BEATS, np.arange(BEATS.size) % 4 + 1)


@pytest.fixture(scope="module")
def clicks():
    return measure_sound(render_clicks(BEATS, SECONDS), GRID)


@pytest.fixture(scope="module")
def noise():
    return measure_sound(white_noise(SECONDS, 0), GRID)


def test_clicks_on_the_beats_are_on_the_beats(clicks):
    assert clicks.scores.keys() == COLUMNS.keys()
    for name in ("own_f", "librosa_f", "on_beats"):
        assert clicks.scores[name] > 0.9
    assert clicks.scores["off_beats"] < 0.3
    assert clicks.scores["own_any"] >= clicks.scores["own_f"]
    assert clicks.scores["rhythm_1"] > 0.95
    assert clicks.scores["attack_ms"] < 6.0


def test_noise_has_no_beat_and_no_form(noise):
    assert noise.scores["own_f"] < 0.5 and noise.scores["librosa_f"] < 0.5
    assert abs(noise.scores["rhythm_1"]) < 0.2
    # White noise 20 dB below full scale: K-weighting raises what is high.
    assert -21.0 < noise.scores["lufs"] < -14.0


def test_seeds_are_compared_bar_by_bar(clicks, noise):
    assert seeds_alike([clicks, clicks])["rhythm_seeds"] == pytest.approx(1.0)
    assert seeds_alike([clicks, noise])["rhythm_seeds"] < 0.3
    assert np.isnan(seeds_alike([clicks])["chroma_seeds"])
