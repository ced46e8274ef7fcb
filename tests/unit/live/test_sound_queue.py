"""Sound is played in order, at known times, and gaps are bridged by the bar before."""

import numpy as np
import pytest

from dancetomusic.live.sound_queue import SoundQueue


def test_sound_comes_out_as_it_went_in_and_gaps_are_counted() -> None:
    queue = SoundQueue(1000, 0.05)
    assert not queue.pull(10, 0.0).any() and queue.underruns == 0
    queue.push(np.arange(1, 26, dtype=np.float32))
    assert queue.pull(10, 0.1).tolist() == list(range(1, 11))
    assert queue.playback_time(10, 0.11) == pytest.approx(0.16, abs=0.02)
    rest = queue.pull(20, 0.11)
    assert rest[:15].tolist() == list(range(11, 26)) and not rest[15:].any()
    assert queue.underruns == 1 and queue.waiting == 0
    assert queue.playback_time(25, 0.14) == pytest.approx(0.18, abs=0.005)


def test_a_gap_is_bridged_by_one_period_before_without_a_step() -> None:
    rate, period = 1000, 50
    tone = np.sin(2 * np.pi * np.arange(200) / period).astype(np.float32)
    queue = SoundQueue(rate, 0.0)
    queue.period = period
    queue.push(tone[:120])
    played = [queue.pull(40, k * 0.04) for k in range(4)]  # the last one is all gap
    queue.push(tone[160:])
    played.append(queue.pull(40, 0.16))
    sound = np.concatenate(played)
    assert queue.underruns == 1 and queue.bridged_s == pytest.approx(0.04)
    # The music repeats with its period, so the bridge is the music, but for the seams.
    seams = np.isin(np.arange(200) // 4, (30, 40))
    assert np.allclose(sound[~seams], tone[~seams], atol=1e-5)
    assert np.abs(np.diff(sound)).max() < 1.3 * np.abs(np.diff(tone)).max()


def test_a_seam_is_spread_and_unknown_periods_are_silent() -> None:
    queue = SoundQueue(1000, 0.0)
    queue.push(np.full(100, 0.5, np.float32))
    queue.pull(100, 0.0)
    assert not queue.pull(20, 0.1).any() and queue.bridged_s == 0.0
    queue.period = 100
    bridged = queue.pull(20, 0.12)
    assert np.allclose(bridged, 0.5)
    queue.push(np.full(20, -0.5, np.float32))
    joined = queue.pull(20, 0.14)
    assert joined[0] == pytest.approx(0.5) and joined[-1] == pytest.approx(-0.5)
    assert np.abs(np.diff(joined)).max() < 0.3
