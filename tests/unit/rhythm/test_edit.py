from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.click import add_clicks, click_track
from dancetomusic.rhythm.edit import change_tempo, shift_beats
from dancetomusic.types import Waveform


@pytest.fixture
def track():
    return steady_grid(120.0, 10.0, first_beat_s=0.5)


def test_half_keeps_every_second_beat_and_a_downbeat(track):
    half = change_tempo(track, "half")
    assert half.bpm == pytest.approx(60.0)
    assert set(half.beat_times) <= set(track.beat_times)
    downbeats = half.beat_times[half.beat_numbers == 1]
    assert set(downbeats) <= set(track.beat_times[track.beat_numbers == 1])


def test_double_adds_a_beat_in_the_middle_of_each_interval(track):
    double = change_tempo(track, "double")
    assert double.bpm == pytest.approx(240.0)
    np.testing.assert_allclose(double.beat_times[::2][: track.beat_times.size], track.beat_times)
    downbeats = double.beat_times[double.beat_numbers == 1]
    assert np.isclose(downbeats[:, None], track.beat_times[track.beat_numbers == 1]).any()
    assert double.beat_times.max() < track.duration_s


def test_double_then_half_gives_the_beats_back(track):
    np.testing.assert_allclose(
        change_tempo(change_tempo(track, "double"), "half").beat_times, track.beat_times
    )


@pytest.mark.parametrize("offset_ms", [-120.0, 0.0, 75.5])
def test_a_shift_moves_all_beats(track, offset_ms):
    moved = shift_beats(track, offset_ms)
    expected = track.beat_times + offset_ms / 1000
    np.testing.assert_allclose(moved.beat_times, expected[(expected >= 0) & (expected < 10.0)])


def test_what_leaves_the_dance_is_dropped(track):
    assert shift_beats(track, -700.0).beat_times.size == track.beat_times.size - 2


@pytest.mark.parametrize("offset_ms", [float("nan"), float("inf"), 2001.0, -3000.0])
def test_an_unusable_shift_is_refused(track, offset_ms):
    with pytest.raises(InputError):
        shift_beats(track, offset_ms)


def test_an_unknown_change_is_refused(track):
    with pytest.raises(InputError, match="half or double"):
        change_tempo(track, "thrice")


def test_too_few_beats_are_refused(track):
    one = replace(
        track,
        beat_times=track.beat_times[:1],
        beat_numbers=track.beat_numbers[:1],
        confidence=track.confidence[:1],
    )
    for change in ("half", "double"):
        with pytest.raises(InputError):
            change_tempo(one, change)


def test_clicks_sound_on_the_beats_and_nowhere_else(track):
    clicks = click_track(track, 24_000)
    assert clicks.duration_s == pytest.approx(10.0)
    level = np.abs(clicks.samples[0])
    for time in track.beat_times:
        start = round(time * 24_000)
        assert level[start : start + 400].max() > 0.2
        assert level[max(0, start - 2000) : start].max(initial=0.0) < 0.01


def test_a_downbeat_clicks_higher(track):
    clicks = click_track(track, 24_000).samples[0]

    def pitch(time):
        part = clicks[round(time * 24_000) :][:900]
        return np.fft.rfftfreq(4096, 1 / 24_000)[np.abs(np.fft.rfft(part, 4096)).argmax()]

    down, other = (track.beat_times[track.beat_numbers == n][0] for n in (1, 2))
    assert pitch(down) > pitch(other) + 200


def test_clicks_do_not_clip_loud_music(track):
    loud = Waveform(np.full((2, 100_000), 0.95, np.float32), 24_000)
    mixed = add_clicks(loud, track)
    assert mixed.samples.shape == loud.samples.shape
    assert np.abs(mixed.samples).max() <= 1.0


def test_beats_outside_the_track_do_not_click(track):
    outside = replace(track, beat_times=track.beat_times - 1.0, duration_s=5.0)
    clicks = click_track(outside, 24_000).samples[0]
    assert clicks.size == 5 * 24_000
    first = outside.beat_times[outside.beat_times >= 0][0]
    assert np.abs(clicks[: round(first * 24_000)]).max(initial=0.0) < 0.01
    assert np.abs(clicks).max() > 0.2


def test_twice_a_very_fast_tempo_is_refused():
    with pytest.raises(InputError, match="twice 240 BPM"):
        change_tempo(steady_grid(240.0, 5.0), "double")


def test_tempo_is_that_of_the_mean_interval():
    times = np.arange(0.5, 10.0, 60.0 / 117.0)
    rounded = replace(
        steady_grid(117.0, 10.0),
        beat_times=np.round(times / 0.02) * 0.02,
        beat_numbers=np.arange(times.size) % 4 + 1,
        confidence=np.ones(times.size),
    )
    assert rounded.bpm == pytest.approx(117.0, rel=2e-3)
