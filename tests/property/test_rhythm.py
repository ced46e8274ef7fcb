import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.rhythm.beats import fit_grid, steady_grid
from dancetomusic.rhythm.features import rhythm_features
from dancetomusic.rhythm.files import load_beats, save_beats

TEMPI = st.floats(40, 240)


@settings(max_examples=40, deadline=None)
@given(TEMPI, st.floats(1, 40), st.integers(2, 7), st.floats(-5, 5))
def test_a_metronome_covers_its_duration(bpm, duration_s, bar, first_beat_s):
    track = steady_grid(bpm, duration_s, first_beat_s=first_beat_s, beats_per_bar=bar)
    interval = 60 / bpm
    np.testing.assert_allclose(np.diff(track.beat_times), interval, rtol=1e-6)
    assert (np.diff(track.beat_numbers) % bar == 1).all()
    assert track.beat_times.size >= np.floor(duration_s / interval - 1e-6)
    features = rhythm_features(track, 75.0, round(duration_s * 75))
    assert np.isfinite(features).all()
    assert np.abs(features[:, :4]).max() <= 1.0


@settings(max_examples=20, deadline=None)
@given(TEMPI, st.integers(1, 800), st.integers(0, 2**31))
def test_any_prediction_gives_an_increasing_grid(scale, frames, seed):
    rng = np.random.default_rng(seed)
    phase = (rng.normal(size=(frames, 2)) * scale).astype(np.float32)
    track = fit_grid(phase, 75.0, energy=np.zeros(1, np.float32), energy_rate=10.0, duration_s=8.0)
    assert track.beat_times.size >= 4
    assert ((track.beat_times >= 0) & (track.beat_times < 8.0)).all()
    assert ((track.confidence >= 0) & (track.confidence <= 1)).all()


@settings(max_examples=20, deadline=None)
@given(TEMPI, st.floats(3, 40), st.integers(2, 7))
def test_saving_and_loading_keeps_the_beats(bpm, duration_s, bar):
    track = steady_grid(bpm, duration_s, beats_per_bar=bar)
    with tempfile.TemporaryDirectory() as folder:
        save_beats(Path(folder) / "beats.csv", track)
        read = load_beats(Path(folder) / "beats.csv", duration_s)
    kept = min(read.beat_times.size, track.beat_times.size)
    assert abs(read.beat_times.size - track.beat_times.size) <= 1
    np.testing.assert_allclose(read.beat_times[:kept], track.beat_times[:kept], atol=1e-3)
