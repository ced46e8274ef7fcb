import numpy as np
import pytest

from dancetomusic.evaluation.tasks.stem_beats import TRACKERS, score_tracker
from dancetomusic.types import Waveform


@pytest.fixture
def song():
    """Twenty seconds of bursts at 100 BPM."""
    rng = np.random.default_rng(0)
    t = np.arange(20 * 24_000) / 24_000
    sound = np.exp(-(t % 0.6) / 0.04) * rng.normal(0, 0.3, t.size)
    return Waveform(sound[None].astype(np.float32), 24_000), np.arange(0.0, 20.0, 0.6)


def test_the_truth_scores_one_and_nothing_scores_zero(song):
    def truth(stem, rng):
        return truths.pop(0)

    beats = song[1]
    truths = [beats[(beats >= start) & (beats < start + 5)] - start for start in (0, 5, 10, 15)]
    f, tempo = score_tracker(truth, [song], 5.0)
    assert f == pytest.approx([1.0]) and tempo == pytest.approx([1.0])
    f, tempo = score_tracker(lambda stem, rng: np.zeros(0), [song], 5.0)
    assert f == pytest.approx([0.0]) and tempo == pytest.approx([0.0])


def test_the_tracker_of_the_builder_beats_a_metronome(song):
    f = {name: score_tracker(tracker, [song], 10.0)[0][0] for name, tracker in TRACKERS.items()}
    assert f["the builder's"] > 2 * f["120 BPM, random phase"]
