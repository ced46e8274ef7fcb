"""Beat grids of DJ and music software."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.rhythm.grids import load_ableton, load_rekordbox

TRACK = """<TRACK TrackID="1" Name="{name}" TotalTime="20">
<TEMPO Inizio="0.250" Bpm="120.00" Metro="4/4" Battito="3"/>
<TEMPO Inizio="8.250" Bpm="{bpm}" Metro="4/4" Battito="3"/>
<POSITION_MARK Name="" Type="0" Start="0.250" Num="-1"/></TRACK>"""


def _rekordbox(path: Path, *tracks: str) -> Path:
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><DJ_PLAYLISTS Version="1.0.0"><COLLECTION>'
        + "".join(tracks)
        + "</COLLECTION></DJ_PLAYLISTS>",
        encoding="utf-8",
    )
    return path


def _clip(name: str, *markers: tuple[float, float]) -> str:
    rows = "".join(f'<WarpMarker SecTime="{s}" BeatTime="{b}"/>' for s, b in markers)
    return f'<AudioClip><Name Value="{name}"/><WarpMarkers>{rows}</WarpMarkers></AudioClip>'


def _live_set(path: Path, *clips: str) -> Path:
    path.write_bytes(gzip.compress(f"<Ableton>{''.join(clips)}</Ableton>".encode()))
    return path


def test_rekordbox_changes_its_tempo(tmp_path: Path) -> None:
    file = _rekordbox(tmp_path / "a.xml", TRACK.format(name="Song", bpm="100.00"))
    track = load_rekordbox(file, 16.0)
    assert np.allclose(track.beat_times[:3], [0.25, 0.75, 1.25])
    assert track.beat_numbers[:3].tolist() == [3, 4, 1]
    late = track.beat_times[track.beat_times >= 8.2]
    assert np.allclose(late[:3], [8.25, 8.85, 9.45]) and track.source == "file"
    assert np.diff(track.beat_times).min() > 0.45


def test_of_many_tracks_the_one_named_as_the_file(tmp_path: Path) -> None:
    tracks = [TRACK.format(name=name, bpm="120.00") for name in ("One", "Two", "Three")]
    assert load_rekordbox(_rekordbox(tmp_path / "Two.xml", *tracks), 8.0).bpm == pytest.approx(120)
    with pytest.raises(InputError, match="3 tracks"):
        load_rekordbox(_rekordbox(tmp_path / "all.xml", *tracks), 8.0)


def test_ableton_warps_and_continues(tmp_path: Path) -> None:
    file = _live_set(
        tmp_path / "set.als", _clip("kick", (0.5, 0.0), (4.5, 8.0), (9.5, 16.0)), _clip("x")
    )
    track = load_ableton(file, 12.0)
    assert np.allclose(track.beat_times[:3], [0.0, 0.5, 1.0])
    assert track.beat_numbers[:3].tolist() == [4, 1, 2]
    assert np.allclose(np.diff(track.beat_times)[-4:], 0.625)


def test_two_markers_close_together_are_a_tempo(tmp_path: Path) -> None:
    steady = _clip("loop", (0.1, 0.0), (0.1 + 0.5 / 32, 1 / 32))
    track = load_ableton(_live_set(tmp_path / "loop.alc", steady), 10.0)
    assert track.bpm == pytest.approx(120) and track.beat_times[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<a",
        b"\x1f\x8b broken",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
        b"<x/>",
        TRACK.format(name="x", bpm="0").encode(),
        TRACK.format(name="x", bpm="nan").encode(),
        TRACK.format(name="x", bpm="1e9").encode(),
        TRACK.replace("0.250", "-1e9").format(name="x", bpm="120").encode(),
        _clip("x", (0.0, 0.0), (0.0, 1.0)).encode(),
        _clip("x", (0.0, 0.0), (1e-9, 1.0)).encode(),
        _clip("x", (0.0, 0.0), (float("inf"), 1.0)).encode(),
    ],
)
def test_foreign_bytes_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    for load in (load_rekordbox, load_ableton):
        file = tmp_path / "beats.xml"
        file.write_bytes(content)
        with pytest.raises(InputError) as refused:
            load(file, 10.0)
        assert "\n" not in str(refused.value)
