import dataclasses

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.types import CodeSequence, PoseSequence, RhythmTrack, Waveform


def poses(frames=48, **changes):
    fields = {
        "world": np.zeros((frames, 33, 3), np.float32),
        "present": np.ones(frames, bool),
        "visibility": np.ones((frames, 33), np.float32),
        "fps": 24.0,
    }
    return PoseSequence(**(fields | changes))


def rhythm(times=(0.5, 1.0, 1.5), numbers=None, **changes):
    fields = {
        "beat_times": np.asarray(times, float),
        "beat_numbers": np.arange(len(times)) + 1 if numbers is None else np.asarray(numbers),
        "energy": np.zeros(150, np.float32),
        "energy_rate": 75.0,
        "duration_s": 2.0,
    }
    return RhythmTrack(**(fields | changes))


def test_a_waveform_knows_its_length_and_folds_to_mono():
    stereo = Waveform(np.array([[1, 0, 0], [0, 0, -1]], np.float32), 3)
    assert stereo.duration_s == 1.0
    np.testing.assert_array_equal(stereo.to_mono().samples, [[0.5, 0, -0.5]])


@pytest.mark.parametrize(
    ("samples", "rate", "message"), [(0.0, 0, "0 Hz"), (np.nan, 24_000, "not finite")]
)
def test_an_impossible_waveform_is_refused(samples, rate, message):
    with pytest.raises(InputError, match=message):
        Waveform(np.full((1, 4), samples, np.float32), rate)


def test_poses_know_their_length_and_share_of_presence():
    present = np.arange(48) < 12
    assert len(poses()) == 48
    assert poses().duration_s == 2.0
    assert poses(present=present).present_share == 0.25
    assert poses(frames=0).present_share == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 0.0}, "frame rate is 0"),
        ({"world": np.full((48, 33, 3), np.inf, np.float32)}, "not finite"),
    ],
)
def test_impossible_poses_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        poses(**changes)


def test_a_code_sequence_knows_its_length():
    codes = CodeSequence(np.zeros((2, 375), np.int64), frame_rate=75.0, codec_id="test")
    assert codes.duration_s == 5.0


def test_tempo_is_the_median_interval_and_the_bar_the_largest_number():
    track = rhythm(times=[0.0, 0.5, 1.0, 1.5, 2.6], numbers=[2, 3, 1, 2, 3])
    assert track.bpm == pytest.approx(120.0)
    assert track.beats_per_bar == 3
    np.testing.assert_array_equal(track.confidence, np.ones(5))


def test_a_track_without_beats_has_no_tempo():
    empty = rhythm(times=[])
    assert np.isnan(empty.bpm)
    assert empty.beats_per_bar == 4


@pytest.mark.parametrize(
    ("times", "numbers"), [((1.0, 1.0), (1, 2)), ((2.0, 1.0), (1, 2)), ((0.0, np.nan), (1, 2))]
)
def test_beats_that_do_not_increase_are_refused(times, numbers):
    with pytest.raises(InputError, match="do not increase"):
        rhythm(times=times, numbers=numbers)


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        rhythm().duration_s = 3.0
