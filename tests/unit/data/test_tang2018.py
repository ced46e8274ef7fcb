import numpy as np
import pytest

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError

HEADER = "id,genre,split,sync_quality,bpm,snap\n"


def make_dataset(folder):
    (folder / "motion").mkdir()
    (folder / "index.csv").write_text(
        HEADER + "A_1,waltz,train,A,90,downbeat\nB_1,tango,val,C,120,beat\n"
    )
    for name in ("A_1", "B_1"):
        np.savez(
            folder / "motion" / f"{name}.npz",
            mp33=np.zeros((48, 33, 3), np.float16),
            mp_fps=24,
            beat_times=np.array([0.0, 0.5, 1.0], np.float32),
            cau=np.array(["W-1", "W-2"]),
            cau_beat=np.array([0.0, 2.0]),
            cau_beats=np.array([2.0, 1.0]),
        )


def test_dances_are_read(tmp_path):
    make_dataset(tmp_path)
    waltz, tango = load_dances(tmp_path)
    assert (waltz.dance_id, waltz.beats_per_bar, waltz.downbeat_known) == ("A_1", 3, True)
    assert (tango.split, tango.beats_per_bar, tango.downbeat_known) == ("val", 4, False)
    assert waltz.poses.fps == 24.0
    assert waltz.poses.world.dtype == np.float32
    assert [figure.name for figure in waltz.figures] == ["W-1", "W-2"]
    assert waltz.audio_path == tmp_path / "audio" / "A_1.opus"


def test_split_and_quality_are_chosen(tmp_path):
    make_dataset(tmp_path)
    assert [dance.dance_id for dance in load_dances(tmp_path, split="val")] == ["B_1"]
    with pytest.raises(InputError, match="no dance"):
        load_dances(tmp_path, split="val", qualities=("A", "B"))


def test_other_layouts_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        load_dances(tmp_path)
    (tmp_path / "index.csv").write_text("id,genre\nA_1,waltz\n")
    with pytest.raises(InputError, match="lacks a column"):
        load_dances(tmp_path)
    (tmp_path / "index.csv").write_text(HEADER + "A_1,waltz,train,A,90,downbeat\n")
    with pytest.raises(InputError, match="cannot read"):
        load_dances(tmp_path)


def test_real_dances_have_poses_as_long_as_their_beats(shared_data):
    dances = load_dances(shared_data / "tang2018", split="val")
    assert {dance.genre for dance in dances} == {"cha-cha", "rumba", "tango", "waltz"}
    for dance in dances:
        assert dance.beat_times[-1] <= dance.poses.duration_s + 0.1
        assert dance.poses.duration_s - dance.beat_times[-1] < 2 * 60 / dance.bpm
        assert 60 / np.diff(dance.beat_times).mean() == pytest.approx(dance.bpm, rel=1e-3)
