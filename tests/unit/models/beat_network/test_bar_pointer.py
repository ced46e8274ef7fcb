import numpy as np
import pytest

from dancetomusic.models.beat_network.bar_pointer import decode_beats, number_beats

RATE = 100.0


def activation(times, seconds, *, level=0.9, floor=0.02):
    values = np.full(round(seconds * RATE), floor, np.float32)
    for time in times:
        frame = round(time * RATE)
        for offset, share in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            if 0 <= frame + offset < values.size:
                values[frame + offset] = max(values[frame + offset], level * share)
    return values


def hits(estimate, reference, tolerance_s=0.03):
    return np.mean(np.abs(reference[:, None] - estimate[None, :]).min(axis=1) <= tolerance_s)


@pytest.mark.parametrize("bpm", [62.0, 90.0, 117.3, 128.0, 170.0])
def test_a_steady_tempo_is_found(bpm):
    reference = np.arange(0.31, 12.0, 60.0 / bpm)
    found = decode_beats(activation(reference, 12.0), RATE)
    assert hits(found, reference) == 1.0
    assert abs(found.size - reference.size) <= 1


def test_a_tempo_that_drifts_is_followed():
    intervals = 0.5 * (1 + 0.1 * np.sin(np.linspace(0, 2 * np.pi, 60)))
    reference = 0.2 + np.cumsum(intervals)
    found = decode_beats(activation(reference, reference[-1] + 0.5), RATE)
    assert hits(found, reference, 0.05) > 0.95


def test_a_cut_to_another_song_is_followed():
    first = np.arange(0.2, 10.0, 60.0 / 92.0)
    second = np.arange(10.3, 20.0, 60.0 / 128.0)
    found = decode_beats(activation(np.r_[first, second], 20.0), RATE)
    assert hits(found, first) > 0.9
    assert hits(found, second[3:]) > 0.9


def test_beats_go_on_through_a_pause():
    reference = np.arange(0.2, 20.0, 0.5)
    sounding = reference[(reference < 8.0) | (reference > 12.0)]
    found = decode_beats(activation(sounding, 20.0), RATE)
    assert hits(found, reference) == 1.0


def test_the_tempo_can_be_bounded():
    reference = np.arange(0.2, 12.0, 0.5)
    found = decode_beats(activation(reference, 12.0), RATE, fastest_bpm=80.0)
    assert np.median(np.diff(found)) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("size", [0, 1])
def test_too_little_has_no_beat(size):
    assert decode_beats(np.zeros(size, np.float32), RATE).size == 0


def test_beats_are_placed_between_frames():
    frames = np.arange(1200)
    values = np.zeros(1200, np.float32)
    for time in np.arange(0.255, 12.0, 0.5):
        values = np.maximum(values, 0.9 * np.exp(-0.5 * ((frames - time * RATE) / 1.5) ** 2))
    found = decode_beats(values.astype(np.float32), RATE)
    assert np.abs((found - 0.255 + 0.25) % 0.5 - 0.25).max() < 0.006


@pytest.mark.parametrize("bar", [3, 4])
def test_bars_are_found(bar):
    downbeat = np.full(24, 0.1)
    downbeat[1::bar] = 0.8
    places = number_beats(downbeat)
    np.testing.assert_array_equal(places, (np.arange(24) - 1) % bar + 1)


def test_a_bar_that_is_cut_short_shifts_the_count():
    downbeat = np.full(34, 0.03)
    downbeat[:16:4] = 0.9
    downbeat[18::4] = 0.9
    places = number_beats(downbeat)
    assert (places[:16:4] == 1).all() and (places[18::4] == 1).all()


def test_no_beat_has_no_place():
    places = number_beats(np.zeros(0))
    assert places.size == 0
