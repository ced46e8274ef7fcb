from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.score.notes import BeatClock, Notes, Score, Section, Track


def clock(n_beats: int = 16, first: int = 1, bar: int = 4, bpm: float = 120.0) -> BeatClock:
    numbers = (first - 1 + np.arange(n_beats)) % bar + 1
    return BeatClock(np.arange(n_beats) * 60.0 / bpm, numbers.astype(np.int64))


def test_rows_are_sorted_by_start_then_pitch():
    notes = Notes.of([(1.0, 0.5, 60, 90), (0.0, 1.0, 64, 80), (0.0, 1.0, 60, 70)])
    assert notes.start.tolist() == [0.0, 0.0, 1.0]
    assert notes.pitch.tolist() == [60, 64, 60]
    assert notes.velocity.tolist() == [70, 80, 90]
    assert notes.end.tolist() == [1.0, 1.0, 1.5]
    assert len(Notes.empty()) == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((0.0, 0.0, 60, 90), "lasts 0 beats"),
        ((0.0, 1.0, 128, 90), "pitch 128"),
        ((0.0, 1.0, -1, 90), "pitch -1"),
        ((0.0, 1.0, 60, 0), "velocity 0"),
        ((float("nan"), 1.0, 60, 90), "not finite"),
    ],
)
def test_values_out_of_range_are_named(row, said):
    with pytest.raises(InputError, match=said):
        Notes.of([row])


def test_unsorted_notes_are_refused():
    start, length = np.array([1.0, 0.0]), np.ones(2)
    pitch = np.array([60, 60])
    with pytest.raises(InputError, match="not sorted"):
        Notes(start, length, pitch, pitch)


def test_seconds_and_beats_are_inverse_beyond_both_ends():
    uneven = BeatClock(np.array([0.0, 0.5, 1.1, 1.5]), np.array([1, 2, 3, 4]))
    beats = np.array([-1.0, 0.0, 0.5, 1.5, 2.75, 3.0, 5.0])
    assert uneven.seconds(beats) == pytest.approx([-0.5, 0.0, 0.25, 0.8, 1.4, 1.5, 2.3])
    assert uneven.beats(uneven.seconds(beats)) == pytest.approx(beats)
    assert uneven.seconds(2) == pytest.approx(1.1)
    assert isinstance(uneven.beats(0.3), float)


def test_bars_with_a_pick_up():
    pick_up = clock(n_beats=12, first=3)
    assert pick_up.bar_starts.tolist() == [0, 2, 6, 10]
    assert [pick_up.bar_length(bar) for bar in range(4)] == [2, 4, 4, 2]
    assert pick_up.bar_of(np.array([0.0, 1.9, 2.0, 6.5, 99.0])).tolist() == [0, 0, 1, 2, 3]
    assert pick_up.bar_of(2.5) == 1
    assert pick_up.beats_per_bar == 4
    with pytest.raises(InputError, match="no bar 4"):
        pick_up.bar_length(4)


def test_the_last_beat_lasts_as_long_as_the_one_before():
    assert clock(16).duration_s == pytest.approx(8.0)
    assert clock(16).n_bars == 4
    assert clock(16).n_beats == 16


def test_clock_from_rhythm_covers_the_whole_duration():
    rhythm = steady_grid(120.0, 10.2, first_beat_s=0.4)
    made = BeatClock.from_rhythm(rhythm, 10.2)
    assert made.beat_times[0] == pytest.approx(-0.1)
    assert made.beat_times[-1] > 10.2
    assert made.duration_s == 10.2
    assert made.beat_numbers[1] == 1
    assert made.bar_starts.tolist() == [0, 1, 5, 9, 13, 17]
    assert made.n_beats == 21
    assert BeatClock.from_rhythm(steady_grid(120.0, 4.0)).duration_s == 4.0


def test_clocks_that_cannot_be_are_refused():
    one, two = np.array([1]), np.array([1, 2])
    with pytest.raises(InputError, match="1 beats"):
        BeatClock(np.array([0.0]), one)
    with pytest.raises(InputError, match="do not increase"):
        BeatClock(np.array([0.5, 0.5]), two)
    with pytest.raises(InputError, match="lasts"):
        BeatClock(np.array([1.0, 1.5]), two, 0.5)


def test_a_score_finds_its_tracks_and_times():
    bass = Track("bass", 38, False, Notes.of([(1.0, 2.0, 36, 100)]))
    score = Score(clock(), (bass,), (Section("groove", 0, 4),), "A minor", "house")
    start_s, end_s = score.seconds(score.track("bass"))
    assert start_s == pytest.approx([0.5])
    assert end_s == pytest.approx([1.5])
    assert score.duration_s == pytest.approx(8.0)
    with pytest.raises(InputError, match="no track lead"):
        score.track("lead")


def test_scores_that_contradict_themselves_are_refused():
    bass = Track("bass", 38, False, Notes.empty())
    with pytest.raises(InputError, match="share a name"):
        Score(clock(), (bass, bass))
    with pytest.raises(InputError, match="before bar 2"):
        Score(clock(), (bass,), (Section("intro", 0, 2), Section("groove", 1, 2)))
    with pytest.raises(InputError, match="5 bars of 4"):
        Score(clock(), (bass,), (Section("groove", 0, 5),))
    with pytest.raises(InputError, match="key is 'H minor'"):
        Score(clock(), (bass,), key="H minor")
    with pytest.raises(InputError, match="program 128"):
        Track("bass", 128, False, Notes.empty())


def test_only_what_lies_in_the_music_is_heard():
    early = BeatClock(np.arange(9) * 0.5 - 0.1, np.arange(9) % 4 + 1, 3.5)
    rows = [(0.0, 1.0, 40, 90), (0.18, 0.1, 42, 90), (1.0, 1.0, 44, 90), (7.5, 1.0, 46, 90)]
    drums = Track("drums", 0, True, Notes.of(rows))
    chords = Track("chords", 0, False, Notes.of(rows))
    score = Score(early, (drums, chords))
    assert score.audible(drums).pitch.tolist() == [42, 44]  # 10 ms early still sounds
    heard = score.audible(chords)
    assert heard.pitch.tolist() == [40, 42, 44]
    assert heard.start == pytest.approx([0.2, 0.2, 1.0])
    assert heard.end == pytest.approx([1.0, 0.28, 2.0])
