import numpy as np
import pytest

from dancetomusic.datasets.tang2018 import Dance
from dancetomusic.evaluation.grid import cut_clips, grid_table, score_reader, trivial_readers
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence


@pytest.fixture
def dance(tmp_path):
    made = choreograph("steps", 110.0, 23.0, seed=0)
    frames = made.world.shape[0]
    poses = PoseSequence(made.world, np.ones(frames, bool), np.ones((frames, 33), np.float32), 24.0)
    return Dance(
        dance_id="X",
        genre="steps",
        split="val",
        sync_quality="A",
        bpm=110.0,
        poses=poses,
        beat_times=made.beat_times,
        beats_per_bar=4,
        downbeat_known=True,
        figures=(),
        audio_path=tmp_path / "none.opus",
    )


def test_clips_lie_side_by_side(dance):
    clips = cut_clips(dance, 5.0)
    assert len(clips) == 4
    assert all(len(clip.poses) == 120 for clip in clips)
    np.testing.assert_allclose(
        clips[1].beat_times + 5.0,
        dance.beat_times[dance.beat_times >= 5][: clips[1].beat_times.size],
    )
    assert len(cut_clips(dance, None)) == 1
    assert cut_clips(dance, 30.0) == []


def test_retimed_clips_have_the_new_tempo(dance):
    (clip,) = cut_clips(dance, None, speed=1.25)
    assert clip.bpm == pytest.approx(137.5)
    assert np.diff(clip.beat_times).mean() == pytest.approx(60 / 137.5, rel=1e-3)
    assert clip.poses.duration_s == pytest.approx(23.0 / 1.25, abs=0.1)


def test_truth_scores_one_and_trivial_rows_do_not(dance):
    truth = score_reader(lambda clip, rng: clip.beat_times, [dance], 10.0)
    assert truth["f"][0] == truth["tempo"][0] == 1.0
    for reader in trivial_readers([dance]).values():
        assert score_reader(reader, [dance], 10.0)["f"][0] < 0.9
    assert np.isnan(score_reader(lambda clip, rng: clip.beat_times, [dance], 60.0)["f"]).all()


def test_table_has_a_line_per_reader(dance):
    table = grid_table({"truth": lambda clip, rng: clip.beat_times}, [dance], lengths_s=(5.0, None))
    lines = table.splitlines()
    assert lines[0].endswith("| 5 s | whole dance |")
    assert lines[2].startswith("| truth | 1.00 [1.00, 1.00]")
