"""Packed human performances: what is in them, and how bars are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from building_tools.pack_grooves import pack, read_performances
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.released import released_folder
from dancetomusic.score.grooves import (
    GrooveLibrary,
    choose_bars,
    choose_fill,
    choose_performance,
    fill_strokes,
    find_fills,
    read_library,
    released_library,
)


@pytest.fixture(scope="module")
def library() -> GrooveLibrary:
    return released_library()


def small_library(densities: list[int], label: str = "rock") -> GrooveLibrary:
    """One performance; bar ``k`` has ``densities[k]`` hi-hat strokes."""
    ticks = np.concatenate([np.arange(n) * (48 // max(n, 1)) for n in densities]).astype(np.uint8)
    n_notes, n_bars = ticks.size, len(densities)
    return GrooveLibrary(
        tick=ticks,
        offset=np.zeros(n_notes, np.int8),
        key=np.full(n_notes, 42, np.uint8),
        velocity=np.full(n_notes, 80, np.uint8),
        bar_start=np.concatenate([[0], np.cumsum(densities)]).astype(np.int32),
        bar_is_fill=np.zeros(n_bars, bool),
        first_bar=np.array([0, n_bars], np.int32),
        label=np.array([label]),
        drummer=np.array(["drummer1"]),
        bpm=np.array([100.0], np.float32),
        beats_per_bar=np.array([4], np.uint8),
        fills_only=np.zeros(1, bool),
    )


def test_the_training_performances_come_along(library):
    beats = np.diff(library.first_bar) * library.beats_per_bar
    hours = (beats * 60.0 / library.bpm)[~library.fills_only].sum() / 3600
    assert hours > 10.0
    assert library.bar_is_fill.mean() < 0.25
    starts, keys, velocities = library.bar(1000)
    assert (starts > -0.05).all() and (starts < 5).all()
    assert keys.min() >= 35 and keys.max() <= 81 and velocities.min() >= 1


def test_a_library_is_read_as_it_was_written(tmp_path):
    small = small_library([4, 8, 12])
    small.save(tmp_path / "grooves.npz")
    again = read_library(tmp_path / "grooves.npz")
    assert again.tick.tolist() == small.tick.tolist() and again.label.tolist() == ["rock"]
    (tmp_path / "grooves.npz").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="cannot read"):
        read_library(tmp_path / "grooves.npz")
    with pytest.raises(InputError, match="length"):
        GrooveLibrary(**{**vars(small), "bar_is_fill": np.zeros(2, bool)})


def test_density_is_followed_and_the_order_kept():
    library = small_library(list(range(1, 25)))
    wanted = np.concatenate([np.full(8, 0.2), np.full(8, 0.9)])
    starts = np.arange(16) % 4 == 0
    bars = choose_bars(library, 0, wanted, starts, np.random.default_rng(0))
    rank = library.density(0)[bars]
    assert rank[8:].mean() > rank[:8].mean() + 0.4
    assert (np.diff(bars) == 1).mean() > 0.5


def test_other_seeds_play_other_bars():
    library = small_library([8] * 30)
    level = np.full(16, 0.5)
    starts = np.arange(16) % 4 == 0
    first, same, other = (
        choose_bars(library, 0, level, starts, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == same).all() and (first != other).any()


def test_the_performance_is_of_the_style_the_metre_and_near_the_tempo(library):
    rng = np.random.default_rng(0)
    chosen = [
        choose_performance(library, ["funk"], bpm=100.0, beats_per_bar=4, n_bars=32, rng=rng)
        for _ in range(40)
    ]
    labels = {str(library.label[c]) for c in chosen}
    assert all(label.split("/")[0] == "funk" for label in labels) and len(labels) > 1
    assert np.abs(np.log2(library.bpm[chosen] / 100.0)).mean() < 0.3
    waltz = choose_performance(library, ["jazz"], bpm=120.0, beats_per_bar=3, n_bars=16, rng=rng)
    assert waltz is not None and library.beats_per_bar[waltz] == 3
    none = choose_performance(library, ["polka"], bpm=100.0, beats_per_bar=4, n_bars=8, rng=rng)
    assert none is None


def test_a_fill_has_the_strokes_that_are_asked_for(library):
    rng = np.random.default_rng(0)
    performance = choose_performance(
        library, ["rock"], bpm=120.0, beats_per_bar=4, n_bars=16, rng=rng
    )
    assert performance is not None
    bar = choose_fill(library, performance, ["rock"], rng, least=6)
    assert bar is not None and library.fill_strokes(bar) >= 6


def test_a_roll_in_the_second_half_is_a_fill():
    beats = np.array([0.0, 1.0, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5])
    snare, hat = np.full(8, 38, np.int64), np.full(8, 42, np.int64)
    loud, ghost = np.full(8, 90, np.int64), np.full(8, 30, np.int64)
    assert fill_strokes(beats, snare, loud, 4.0) == 6
    assert fill_strokes(beats, snare, ghost, 4.0) == 0
    assert fill_strokes(beats, hat, loud, 4.0) == 0
    assert find_fills(np.array([1, 1, 1, 6, 1])).tolist() == [False, False, False, True, False]
    assert find_fills(np.zeros(0, np.int64)).size == 0


def test_a_folder_that_did_not_come_along_is_named():
    assert (released_folder("grooves") / "LICENSE").is_file()
    with pytest.raises(CheckpointError, match="polkas"):
        released_folder("polkas")


def test_performances_are_packed_as_they_were_played(tmp_path):
    import mido

    with pytest.raises(InputError, match=r"info\.csv"):
        list(read_performances(tmp_path))
    midi = mido.MidiFile(ticks_per_beat=480)
    strokes = mido.MidiTrack()
    # A bass drum on 1, a pad's snare 10 ticks late on 2, and the stroke after the last bar.
    for wait, key in ((0, 36), (490, 40), (1430, 36)):
        strokes.append(mido.Message("note_on", channel=9, note=key, velocity=99, time=wait))
    midi.tracks.append(strokes)
    midi.save(tmp_path / "one.mid")
    columns = "drummer,style,bpm,beat_type,time_signature,midi_filename,split"
    rows = [
        "drummer1,rock/indie,120,beat,4-4,one.mid,train",
        "drummer1,rock,90,fill,4-4,one.mid,train",
        "drummer1,rock,120,beat,6-8,one.mid,train",
        "drummer2,rock,120,beat,4-4,one.mid,test",
    ]
    (tmp_path / "info.csv").write_text("\n".join([columns, *rows]), encoding="utf-8")
    library = pack(list(read_performances(tmp_path)))
    assert library.label.tolist() == ["rock/indie", "rock"]
    assert library.fills_only.tolist() == [False, True]
    assert library.bar_is_fill.tolist() == [False, True]
    starts, keys, velocities = library.bar(0)
    assert starts == pytest.approx([0.0, 490 / 480], abs=1e-3)
    assert keys.tolist() == [36, 38] and velocities.tolist() == [99, 99]
