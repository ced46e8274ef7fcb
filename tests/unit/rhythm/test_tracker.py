"""A grid that follows: on time, from the past alone, steady through silence."""

import numpy as np
import pytest

from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.rhythm.tracker import GridTracker

RATE = 75.0


def _phase(beats: np.ndarray, length: float = 0.9) -> np.ndarray:
    turns = 2 * np.pi * beats
    return (length * np.stack([np.cos(turns), np.sin(turns)], axis=1)).astype(np.float32)


def track_grid(phase: np.ndarray, frame_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Beats in seconds and their confidence, each decided from the frames up to it."""
    tracker = GridTracker(frame_rate)
    tracker.push(phase, None)
    return np.array(tracker.beat_times), np.array(tracker.confidence)


@pytest.mark.parametrize("bpm", [58.0, 87.0, 124.0, 170.0])
def test_steady_beats_are_found_on_time(bpm: float) -> None:
    at = np.arange(int(20 * RATE)) / RATE
    times, confidence = track_grid(_phase(at * bpm / 60 - 0.4), RATE)
    late = times[times > 5]
    expected = (np.round(late * bpm / 60 - 0.4) + 0.4) * 60 / bpm
    assert np.abs(late - expected).max() < 0.02
    assert np.abs(np.diff(late) * bpm / 60 - 1).max() < 0.05
    assert confidence[-1] > 0.8


def test_past_beats_do_not_change_when_more_follows() -> None:
    rng = np.random.default_rng(0)
    phase = rng.standard_normal((1500, 2)).astype(np.float32)
    whole, _ = track_grid(phase, RATE)
    part, _ = track_grid(phase[:700], RATE)
    assert np.array_equal(whole[: part.size], part)


def test_pushing_in_pieces_is_pushing_at_once() -> None:
    phase = _phase(np.arange(900) / RATE * 2.1)
    tracker = GridTracker(RATE)
    for first in range(0, 900, 7):
        tracker.push(phase[first : first + 7])
    assert np.array_equal(tracker.beat_times, track_grid(phase, RATE)[0])


def test_silence_holds_the_tempo() -> None:
    phase = _phase(np.arange(2250) / RATE * 1.5)
    phase[750:1500] = 0.0
    times, confidence = track_grid(phase, RATE)
    inside = np.diff(times[(times > 8) & (times < 22)])
    assert np.abs(inside - 1 / 1.5).max() < 0.03
    assert confidence[times < 10][-1] > confidence[(times > 19) & (times < 20)][-1]


def test_a_new_tempo_is_taken_up() -> None:
    at = np.arange(int(20 * RATE)) / RATE
    beats = np.concatenate([at * 1.5, at[-1] * 1.5 + at * 2.0])
    times, _ = track_grid(_phase(beats), RATE)
    assert np.abs(np.diff(times[times > 34]) - 0.5).max() < 0.03


def test_a_given_tempo_is_kept_and_its_phase_tracked() -> None:
    turns = 2 * np.pi * (2.0 * np.arange(1500) / 75 + 0.3)  # 120 BPM, 0.3 beats on
    phase = np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32)
    tracker = GridTracker(75.0, 119.0)
    tracker.weigh_tempi(np.zeros(TEMPI_BPM.size, np.float32))
    tracker.push(phase)
    assert tracker.bpm == 119.0
    late = np.array(tracker.beat_times[-8:])
    away = (late * 2.0 + 0.3 + 0.5) % 1.0 - 0.5
    assert np.abs(away).max() < 0.15
