import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.features import RHYTHM_FEATURES, beat_position, rhythm_features
from dancetomusic.types import RhythmTrack

COLUMN = {name: index for index, name in enumerate(RHYTHM_FEATURES)}


def test_beats_have_phase_zero_and_a_bump():
    features = rhythm_features(steady_grid(120.0, 4.0), 50.0, 200)
    beats = np.arange(0, 200, 25)
    np.testing.assert_allclose(features[beats, COLUMN["beat_cos"]], 1, atol=1e-6)
    np.testing.assert_allclose(features[beats, COLUMN["beat_bump"]], 1, atol=1e-6)
    assert features[10, COLUMN["beat_bump"]] < 0.01
    downbeats = features[:, COLUMN["downbeat_bump"]] > 0.99
    assert np.flatnonzero(downbeats).tolist() == [0, 100]
    quarter = features[25]
    assert quarter[COLUMN["bar_sin"]] == pytest.approx(1.0, abs=1e-6)


def test_phase_goes_on_before_the_first_and_after_the_last_beat():
    track = RhythmTrack(
        beat_times=np.array([1.0, 1.5]),
        beat_numbers=np.array([3, 1]),
        energy=np.zeros(1, np.float32),
        energy_rate=10.0,
        duration_s=1.6,
    )
    features = rhythm_features(track, 100.0, 300)
    np.testing.assert_allclose(features[[0, 50, 250], COLUMN["beat_cos"]], 1, atol=1e-5)
    np.testing.assert_allclose(features[25, COLUMN["beat_cos"]], -1, atol=1e-5)


def test_metre_tempo_and_energy():
    waltz = steady_grid(60.0, 4.0, beats_per_bar=3)
    features = rhythm_features(waltz, 75.0, 300)
    assert (features[:, COLUMN["triple_metre"]] == 1).all()
    np.testing.assert_allclose(features[:, COLUMN["log2_tempo"]], -1, atol=1e-6)
    np.testing.assert_allclose(features[:, COLUMN["energy"]], 0.5)
    assert (rhythm_features(steady_grid(90.0, 4.0), 75.0, 9)[:, COLUMN["triple_metre"]] == 0).all()


def test_swing_delays_the_half_of_each_beat_and_leaves_the_beats():
    track = steady_grid(100.0, 6.0)  # 60 frames a beat
    straight = rhythm_features(track, 100.0, 600)
    swung = rhythm_features(track, 100.0, 600, swing=1.0)
    assert np.array_equal(rhythm_features(track, 100.0, 600, swing=0.0), straight)
    np.testing.assert_allclose(swung[::60], straight[::60], atol=1e-5)
    np.testing.assert_allclose(swung[40::60, COLUMN["beat_cos"]], -1, atol=1e-5)
    np.testing.assert_allclose(swung[40, COLUMN["bar_cos"]], np.cos(np.pi / 4), atol=1e-5)
    bumps = [COLUMN["beat_bump"], COLUMN["downbeat_bump"]]
    assert np.array_equal(swung[:, bumps], straight[:, bumps])
    with pytest.raises(InputError, match="swing is 2"):
        rhythm_features(track, 100.0, 600, swing=2.0)


def test_no_beats_and_no_frames():
    silent = RhythmTrack(
        beat_times=np.zeros(0),
        beat_numbers=np.zeros(0, int),
        energy=np.array([0.2, 0.4], np.float32),
        energy_rate=1.0,
        duration_s=2.0,
    )
    features = rhythm_features(silent, 4.0, 8)
    assert (features[:, :-1] == 0).all()
    np.testing.assert_allclose(features[:6, -1], [0.2, 0.25, 0.3, 0.35, 0.4, 0.4], atol=1e-6)
    assert rhythm_features(silent, 4.0, 0).shape == (0, len(RHYTHM_FEATURES))
    with pytest.raises(InputError):
        rhythm_features(silent, 0.0, 8)


def test_positions_continue_past_both_ends():
    beats = np.array([1.0, 1.5, 2.0, 3.0])
    at = np.array([0.5, 1.0, 1.25, 2.5, 3.0, 4.0])
    assert beat_position(beats, at) == pytest.approx([-1.0, 0.0, 0.5, 2.5, 3.0, 4.0])
    with pytest.raises(InputError, match="no rhythm"):
        beat_position(beats[:1], at)
