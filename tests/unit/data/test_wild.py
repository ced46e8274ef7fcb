"""Real clips: one row of the index is one clip, and what cannot be trusted says so."""

import numpy as np
import pytest

from dancetomusic.data.wild import load_wild, trusted_clips
from dancetomusic.errors import InputError

HEADER = "id,group,style,seconds,pulse,agreement\n"
BEATS = np.arange(1, 9) / 2.0


def _write(folder, name, *, poses=True, **extra):
    arrays = {
        "beats": BEATS,
        "bars": np.stack([BEATS, np.arange(8) % 4 + 1.0], axis=1),
        "beats_second": BEATS + 0.01,
    }
    if poses:
        arrays |= {
            "poses": np.ones((96, 33, 3), np.float16),
            "present": np.ones(96, bool),
            "fps": np.float64(24.0),
        }
    np.savez(folder / f"{name}.npz", **(arrays | extra))


def test_a_clip_has_its_beats_and_its_dancer(tmp_path):
    (tmp_path / "index.csv").write_text(HEADER + "a,g,TikTok,4.0,0.4,0.9\n")
    _write(tmp_path, "a")
    (clip,) = load_wild(tmp_path)
    assert (clip.id, clip.group, clip.style, clip.duration_s) == ("a", "g", "TikTok", 4.0)
    assert clip.bpm == pytest.approx(120.0)
    assert clip.bar_places.tolist() == [1, 2, 3, 4, 1, 2, 3, 4]
    assert clip.second_beat_times[0] == pytest.approx(0.51)
    assert clip.poses is not None and len(clip.poses) == 96 and clip.poses.fps == 24.0
    assert clip.sound_path == tmp_path / "a.opus"


def test_all_bachata_clips_are_one_group_and_only_some_clips_are_a_reference(tmp_path):
    rows = [
        "a,a,bachata,4.0,0.4,0.9",
        "b,b,bachata,4.0,0.4,0.9",
        "c,c,hip-hop,4.0,0.4,0.84",
        "d,d,hip-hop,4.0,0.14,0.9",
    ]
    (tmp_path / "index.csv").write_text(HEADER + "\n".join(rows) + "\n")
    for name in "acd":
        _write(tmp_path, name)
    _write(tmp_path, "b", poses=False)
    clips = load_wild(tmp_path)
    assert [clip.group for clip in clips] == ["bachata", "bachata", "c", "d"]
    assert clips[1].poses is None
    assert [clip.id for clip in trusted_clips(clips)] == ["a"]


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        load_wild(tmp_path)
    (tmp_path / "index.csv").write_text("id,group\na,a\n")
    with pytest.raises(InputError, match="lacks a column"):
        load_wild(tmp_path)
    (tmp_path / "index.csv").write_text(HEADER + "a,a,x,4.0,0.4,0.9\n")
    with pytest.raises(InputError, match="cannot read"):
        load_wild(tmp_path)
    _write(tmp_path, "a", beats=BEATS[::-1])
    with pytest.raises(InputError, match="do not increase"):
        load_wild(tmp_path)
    _write(tmp_path, "a", poses=False)
    (tmp_path / "index.csv").write_text(HEADER + "a,a,x,long,0.4,0.9\n")
    with pytest.raises(InputError, match="cannot read"):
        load_wild(tmp_path)


def test_the_real_clips_are_read(shared_data):
    clips = load_wild(shared_data / "wild")
    assert len(clips) == 164 and sum(clip.poses is not None for clip in clips) == 111
    trusted = trusted_clips(clips)
    assert len(trusted) == 62 and len({clip.group for clip in trusted}) == 23
    assert all(clip.sound_path.is_file() for clip in trusted)
