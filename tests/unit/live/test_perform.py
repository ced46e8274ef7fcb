"""Parts of a performance: a video's own sound, peaks, and beats on the clock of the recording."""

import numpy as np
import pytest

from dancetomusic.cli.live import report
from dancetomusic.live.engine import CEILING, KNEE, LiveEngine, _below_full_scale
from dancetomusic.live.perform import PacedPlayer


def test_peaks_are_rounded_off_below_full_scale():
    wave = np.linspace(-3, 3, 601, dtype=np.float32)
    limited = _below_full_scale(wave)
    assert np.abs(limited).max() <= np.float32(CEILING) < 0.9
    quiet = np.abs(wave) <= KNEE
    assert np.array_equal(limited[quiet], wave[quiet])
    assert (np.diff(limited) >= 0).all() and np.abs(np.diff(limited)).max() <= 0.0101


class _Silent(LiveEngine):
    """An engine without threads, which plays nothing."""

    def __init__(self):
        self.sample_rate = 1000

    def pull(self, n_samples, now_s=None):
        return np.zeros(n_samples, np.float32)


def test_what_cannot_be_written_ends_the_player():
    def write(sound):
        raise OSError("no space")

    player = PacedPlayer()
    player.on_sound = write
    player._pull(_Silent(), 10)  # what its thread does
    assert isinstance(player.failure, OSError)
    player.on_sound = lambda sound: pytest.fail("called again after a failure")
    player._pull(_Silent(), 10)


@pytest.mark.parametrize("made", [None, 2.5])
def test_the_report_says_what_is_known(made):
    figures = {
        "stages_ms": {}, "seconds": 5.0, "bpm": 120.0, "lead": "taps", "leader": "",
        "sound_per_computing": made,
        "frames_in": 3, "frames_dropped": 1, "underruns": 0, "bridged_s": 0.0,
        "relief": [] if made else ["every other picture was left out"],
    }  # fmt: skip
    printed = "\n".join(report(figures))
    assert "nan" not in printed and "None" not in printed and "beat of the taps" in printed
    assert ("close other programs" in printed) == (made is None)


@pytest.mark.parametrize("lead", ["movement", "taps"])
def test_the_dancer_who_leads_is_reported_where_the_movement_leads(lead):
    figures = {
        "stages_ms": {}, "seconds": 5.0, "bpm": 120.0, "lead": lead, "sound_per_computing": 2.0,
        "leader": "dancer 2, the largest of 3", "frames_in": 3, "frames_dropped": 1,
        "underruns": 0, "bridged_s": 0.0, "relief": [],
    }  # fmt: skip
    said = "leads    dancer 2, the largest of 3" in report(figures)
    assert said == (lead == "movement")
