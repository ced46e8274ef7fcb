import numpy as np
import pytest

pytest.importorskip("mir_eval")

from dancetomusic.data.dance import fully_visible
from dancetomusic.evaluation.clips import baseline_estimators, cut_clips, speed_minima
from dancetomusic.evaluation.pieces import Piece, Song
from dancetomusic.metrics.beats import beat_f
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence


@pytest.fixture
def piece(tmp_path):
    made = choreograph("steps", 110.0, 23.0, seed=0)
    frames = made.world.shape[0]
    present = np.ones(frames, bool)
    present[40:50] = False
    return Piece(
        name="X",
        dance="X",
        genre="steps",
        bpm=110.0,
        poses=PoseSequence(made.world, present, np.ones((frames, 33), np.float32), 24.0),
        beat_times=made.beat_times,
        beat_numbers=np.arange(made.beat_times.size) % 4 + 1,
        downbeat_known=True,
        sound=tmp_path / "none.opus",
    )


def songs(tmp_path):
    return [Song("other", "steps", bpm, tmp_path / "none.opus") for bpm in (100.0, 130.0)]


def test_clips_lie_side_by_side(piece):
    clips = cut_clips(piece, 5.0)
    assert len(clips) == 4
    assert all(len(clip.poses) == 120 for clip in clips)
    np.testing.assert_allclose(
        clips[1].beat_times + 5.0,
        piece.beat_times[piece.beat_times >= 5][: clips[1].beat_times.size],
    )
    assert clips[0].poses.present.sum() == 110
    assert len(cut_clips(piece, None)) == 1
    assert cut_clips(piece, 30.0) == []


def test_retimed_clips_have_the_new_tempo(piece):
    (clip,) = cut_clips(piece, None, speed=1.25)
    assert clip.bpm == pytest.approx(137.5)
    assert np.diff(clip.beat_times).mean() == pytest.approx(60 / 137.5, rel=1e-3)
    assert clip.poses.duration_s == pytest.approx(23.0 / 1.25, abs=0.1)
    assert (~clip.poses.present).sum() == 8


def test_baselines_do_not_know_the_beats_and_are_the_same_in_every_run(piece, tmp_path):
    (clip,) = cut_clips(piece, None)
    for reader in baseline_estimators(songs(tmp_path)).values():
        one, other = (reader(clip, np.random.default_rng(0)) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert beat_f(clip.beat_times, one) < 0.9


def test_an_unknown_genre_has_120_bpm(piece):
    (clip,) = cut_clips(piece, None)
    reader = baseline_estimators([])["genre's mean tempo, random phase"]
    assert np.diff(reader(clip, np.random.default_rng(0))).mean() == pytest.approx(0.5)


def test_nobody_moves_slowest_in_no_time(piece):
    (clip,) = cut_clips(piece, None)
    assert speed_minima(clip.poses).size > 10
    one = fully_visible(np.zeros((1, 33, 3), np.float32), 24.0)
    assert speed_minima(one).size == 0
