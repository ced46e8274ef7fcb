from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("librosa")
pytest.importorskip("mir_eval")

from dancetomusic.errors import PoseError
from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.evaluation.tasks.rhythm import generated_beats
from dancetomusic.evaluation.tasks.rhythm.generated_beats import compare_generated, render_generated
from dancetomusic.generate.result import Music
from dancetomusic.types import RhythmTrack

SECONDS = 15.0


class Drummer:
    """Plays clicks at a tempo, or finds nobody."""

    def __init__(self, bpm):
        self.bpm = bpm

    def __call__(self, source):
        if source.stem == "empty":
            raise PoseError("nobody dances in it", "Film a dancer.")
        times = metronome_times(self.bpm, SECONDS)
        rhythm = RhythmTrack(
            beat_times=times,
            beat_numbers=np.arange(times.size) % 4 + 1,
            energy=np.zeros(10, np.float32),
            energy_rate=1.0,
            duration_s=SECONDS,
            source="sound",
            certainty=0.9,
        )
        return Music(render_clicks(times, SECONDS), rhythm, (), {})


@pytest.fixture
def sounds(monkeypatch):
    """Videos by name: one with clicks at 120 BPM, one without a sound."""
    clicks = render_clicks(metronome_times(120.0, SECONDS), SECONDS)
    monkeypatch.setattr(
        generated_beats, "read_audio", lambda video: clicks if video.stem == "clicks" else None
    )
    return [Path("clicks.mp4"), Path("mute.mp4"), Path("empty.mp4")]


@pytest.mark.slow(4)
def test_beats_on_the_videos_own_are_right_and_others_are_not(sounds):
    right, mute, empty = compare_generated(Drummer(120.0), sounds)
    assert right.scores[("librosa", "librosa")][0] > 0.95
    assert right.verdict == "sure" and right.source == "sound"
    assert mute.pulse == "no sound" and not mute.scores and not mute.has_pulse
    assert "nobody dances" in empty.problem
    wrong = compare_generated(Drummer(97.0), sounds[:1])[0]
    assert wrong.scores[("librosa", "librosa")][1] < 0.6


@pytest.mark.slow(4)
def test_the_table_names_trackers_and_what_has_no_pulse(sounds):
    page = "\n".join(render_generated(compare_generated(Drummer(120.0), sounds)))
    assert "librosa against own tracker" in page
    assert "| mute.mp4 | no sound |" in page and "| empty.mp4 | nobody dances" in page
    assert "nan" not in page
