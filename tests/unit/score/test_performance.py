from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from dancetomusic.io.loudness import integrated_loudness, true_peak
from dancetomusic.score.arrange import arrange
from dancetomusic.score.master import master
from dancetomusic.score.mix import sum_stems
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.performance import perform
from dancetomusic.score.plan import make_plan
from dancetomusic.score.style import load_style
from dancetomusic.score.tone import TILT_DB, region_levels_db
from dancetomusic.types import RhythmTrack, Waveform

SECONDS = 16.0


def produced(name: str) -> Waveform:
    """A piece of a lively dance in a style, as it is heard."""
    style = load_style(name)
    beats = np.arange(0.0, SECONDS, 60 / style.tempo[1])
    numbers = (np.arange(beats.size) % style.metres[0] + 1).astype(np.int64)
    energy = np.linspace(0.5, 0.9, round(SECONDS * 24)).astype(np.float32)
    rhythm = RhythmTrack(beats, numbers, energy, 24.0, SECONDS)
    clock = BeatClock.from_rhythm(rhythm, SECONDS)
    score = arrange(clock, make_plan(clock, rhythm), name)
    stems = perform(score, style)
    assert list(stems) == [track.name for track in score.tracks]
    return master(sum_stems(stems))


@pytest.mark.slow
@pytest.mark.parametrize("style", ["house", "trap", "jazz", "salsa", "funk", "contemporary"])
def test_music_sounds_produced(style: str) -> None:
    sound = produced(style)
    assert integrated_loudness(sound) == pytest.approx(-14, abs=0.5)
    assert true_peak(sound) <= -1
    low = sosfilt(butter(4, 120, fs=sound.sample_rate, output="sos"), sound.samples)
    assert np.corrcoef(low)[0, 1] > 0.95  # the bass is mono
    assert 0.3 < np.corrcoef(sound.samples)[0, 1] < 0.9  # the rest is not, nor lost in mono
    lean_db = np.diff(region_levels_db(sound)) - 2 * (TILT_DB + 10 * np.log10(2))
    assert abs(lean_db.mean()) < 2.0  # neither dull nor shrill
    assert np.abs(lean_db).max() < 8.0  # nor hollow
