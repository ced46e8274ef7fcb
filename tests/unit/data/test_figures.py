"""Figures held out: whole families, whole stretches, nothing of them left."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.data.dance import Dance, Figure, fully_visible
from dancetomusic.data.figures import (
    figure_block,
    figure_blocks,
    figure_family,
    hold_out,
    stretches_of,
    without_figures,
)
from dancetomusic.errors import InputError


def _dance(names: list[str], *, genre: str = "waltz", beats: float = 3.0) -> Dance:
    n_frames = int(len(names) * beats / 2 * 24)
    poses = fully_visible(np.ones((n_frames, 33, 3), np.float32), 24.0)
    return Dance(
        dance_id="D",
        genre=genre,
        split="train",
        sync_quality="A",
        bpm=120.0,
        poses=poses,
        beat_times=np.arange(int(len(names) * beats) + 1) / 2,
        beats_per_bar=3,
        downbeat_known=True,
        figures=tuple(Figure(name, beats * k, beats) for k, name in enumerate(names)),
        audio_path=Path("none"),
    )


def test_variations_are_one_figure_and_holds_are_none() -> None:
    assert figure_family("C-10-3") == figure_family("C-10-1") == "C-10"
    assert figure_family("HOLD") == ""


def test_blocks_share_out_every_figure_once_and_keep_neighbours_together() -> None:
    first, second, third = "ABC", "DEF", "GHI"
    dances = [
        _dance([f"W-{name}-1" for name in group * 6 + joint])
        for group, joint in ((first, "D"), (second, "G"), (third, "H"))
    ]
    blocks = figure_blocks(dances)
    assert sorted(name for block in blocks for name in block) == [f"W-{c}" for c in "ABCDEFGHI"]
    groups = {frozenset(f"W-{name}" for name in group) for group in (first, second, third)}
    assert set(blocks) == groups
    assert figure_blocks(dances) == blocks


def test_stretches_join_neighbours_and_end_with_the_dance() -> None:
    dance = _dance(["W-1-1", "W-2-1", "W-3-1", "HOLD", "W-2-2"])
    assert stretches_of(dance, frozenset({"W-2", "W-3"})) == [(1.5, 4.5), (6.0, 7.5)]


def test_held_out_movement_is_gone() -> None:
    dance = _dance(["W-1-1"] * 4 + ["W-2-1"] + ["W-1-1"] * 4)
    rest = without_figures(dance, frozenset({"W-2"}), margin_s=0.5)
    seconds = np.arange(len(rest.poses)) / 24
    gone = (seconds >= 5.5) & (seconds < 8.0)
    assert np.array_equal(~rest.poses.present, gone)
    assert not rest.poses.world[gone].any()
    assert rest.poses.world[~gone].all()
    assert dataclasses.replace(rest, poses=dance.poses) == dance


def test_a_block_or_a_genre_is_held_out_by_its_name() -> None:
    waltz = _dance(["W-1-1"] * 4 + ["W-2-1"] * 4 + ["W-3-1"] * 4)
    tango = _dance(["T-1-1"] * 4 + ["T-2-1"] * 4 + ["T-3-1"] * 4, genre="tango")
    dances = [waltz, tango]
    assert hold_out(dances, "tango", dances) == [waltz]
    left = hold_out(dances, "figures-1", dances)
    block = figure_block(dances, "figures-1")
    assert block == figure_blocks(dances)[1] and figure_block(dances, "figures") != block
    for dance, rest in zip(dances, left, strict=True):
        (start, end), *_ = stretches_of(dance, block)
        assert not rest.poses.present[int(start * 24) : int(end * 24)].any()
        assert rest.poses.present.any()


@pytest.mark.parametrize("name", ["figures-3", "figures-x", "samba", "figuresque"])
def test_what_cannot_be_held_out_is_refused(name: str) -> None:
    genres = (("W", "waltz"), ("T", "tango"))
    dances = [_dance([f"{g}-{n}-1" for n in (1, 2, 3)], genre=genre) for g, genre in genres]
    with pytest.raises(InputError):
        hold_out(dances, name, dances)
