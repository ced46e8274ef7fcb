from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.data.clip import publish_clip
from dancetomusic.data.manifest import write_manifest
from dancetomusic.errors import InputError
from dancetomusic.evaluation.pieces import cut_piece, load_pieces, load_songs
from tests.clip_factory import fill_clip, make_record
from tests.evaluation_factory import write_dances

pytest.importorskip("pyarrow")


def test_a_ballroom_folder(tmp_path):
    write_dances(tmp_path)
    (piece,) = load_pieces(tmp_path, "val")
    assert (piece.name, piece.dance, piece.genre, piece.beats_per_bar) == ("A", "A", "waltz", 3)
    assert piece.duration_s == pytest.approx(12.0)
    assert piece.music().samples.shape == (1, 288_000)
    assert piece.drum_and_bass().samples.shape == (1, 288_000)
    assert {song.dance for song in load_songs(tmp_path)} == {"A", "B", "C"}


def test_quality_c_is_for_training_only(tmp_path):
    write_dances(tmp_path)
    index = tmp_path / "index.csv"
    index.write_text(index.read_text().replace("A,waltz,val,A", "A,waltz,val,C"))
    with pytest.raises(InputError, match="no dance of split 'val'"):
        load_pieces(tmp_path, "val")


def test_a_stretch_has_its_own_beats_and_music(tmp_path):
    write_dances(tmp_path)
    (piece,) = load_pieces(tmp_path, "val")
    stretch = cut_piece(piece, 4.0, 9.0)
    assert stretch.name == "A_4.0" and stretch.dance == "A"
    assert len(stretch.poses) == 120
    inside = (piece.beat_times >= 4.0) & (piece.beat_times < 9.0)
    np.testing.assert_allclose(stretch.beat_times, piece.beat_times[inside] - 4.0)
    np.testing.assert_array_equal(stretch.beat_numbers, piece.beat_numbers[inside])
    whole, part = piece.music().samples[0], stretch.music().samples[0]
    np.testing.assert_array_equal(part, whole[96_000:216_000])
    twice = cut_piece(stretch, 1.0, 3.0)
    assert twice.name == "A_4.0_5.0" and twice.start_s == 5.0
    np.testing.assert_array_equal(twice.music().samples[0], whole[120_000:168_000])


def test_a_built_set(tmp_path):
    for number in range(3):
        record = replace(make_record(f"dance_{number}", 0.0), split="val")
        work = tmp_path / "work" / str(number)
        fill_clip(work, record, seed=number)
        publish_clip(work, tmp_path / "set")
    write_manifest(tmp_path / "set")
    with pytest.raises(InputError, match="no clip with beats in split 'val'"):
        load_pieces(tmp_path / "set", "val")  # clips of one second have too few beats
    songs = load_songs(tmp_path / "set")
    assert len(songs) == 3
    assert all(song.path.is_file() for song in songs)


def test_neither_kind_of_folder(tmp_path):
    with pytest.raises(InputError, match="neither"):
        load_pieces(tmp_path, "val")


@pytest.mark.slow(1)
def test_figures_held_out(shared_data):
    pytest.importorskip("dancetomusic.data.figures")
    pieces = load_pieces(shared_data / "tang2018", "figures-1")
    assert len(pieces) > 10
    assert min(piece.duration_s for piece in pieces) > 4.9
    assert len({piece.name for piece in pieces}) == len(pieces)
    with pytest.raises(InputError, match="figures-9"):
        load_pieces(shared_data / "tang2018", "figures-9")
