import numpy as np
import pytest

from dancetomusic.data.street import load_street
from dancetomusic.errors import InputError


def write(folder, name, **extra):
    arrays = {"mp33_24": np.ones((96, 33, 3), np.float16), "bpm": 120.0, **extra}
    np.savez(folder / f"{name}.npz", **arrays)


def test_a_fragment_is_read_with_nobody_at_its_seams(tmp_path):
    write(
        tmp_path,
        "gBR_a",
        fps=30.0,
        genre="BR",
        seams=np.array([60]),
        beats=np.arange(8, dtype=np.float32) / 2,
    )
    (clip,) = load_street(tmp_path)
    assert (clip.name, clip.genre, clip.bpm, clip.flat) == ("gBR_a", "BR", 120.0, False)
    assert np.flatnonzero(~clip.poses.present).tolist() == [47, 48]
    assert clip.beat_times.tolist() == [k / 2 for k in range(8)]
    assert clip.poses.duration_s == 4.0


def test_what_is_unknown_is_left_empty(tmp_path):
    write(tmp_path, "b_2d", z_valid=False)
    write(tmp_path, "a")
    a, b = load_street(tmp_path)
    assert (a.name, b.name) == ("a", "b_2d")
    assert a.beat_times.size == 0 and a.genre == "unknown" and a.poses.present.all()
    assert b.flat and not a.flat


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="has no"):
        load_street(tmp_path)
    (tmp_path / "x.npz").write_text("no arrays")
    with pytest.raises(InputError, match="cannot read"):
        load_street(tmp_path)
    np.savez(tmp_path / "x.npz", bpm=100.0)
    with pytest.raises(InputError, match="cannot read"):
        load_street(tmp_path)
    write(tmp_path, "x", bpm=float("nan"))
    with pytest.raises(InputError, match="has tempo"):
        load_street(tmp_path)
    write(tmp_path, "x", seams=np.array([3]))
    with pytest.raises(InputError, match="cannot read"):
        load_street(tmp_path)


def test_real_fragments_have_the_tempo_of_their_beats(shared_data):
    clips = load_street(shared_data / "street")
    assert sum(clip.flat for clip in clips) == 6
    assert sum(clip.beat_times.size == 0 for clip in clips) == 3
    for clip in clips:
        if clip.beat_times.size:
            assert 60 / np.diff(clip.beat_times).mean() == pytest.approx(clip.bpm, rel=1e-3)
            assert clip.beat_times[-1] < clip.poses.duration_s
    seamed = [clip for clip in clips if not clip.poses.present.all()]
    assert len(seamed) == 10
