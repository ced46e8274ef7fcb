"""Shared takes of motion capture are found whatever their view and tempo, and left out."""

from pathlib import Path

import numpy as np
import pytest

from dancetomusic.data.augment import turn
from dancetomusic.data.captures import WINDOW_BEATS, capture_disjoint, find_captures
from dancetomusic.data.dance import Dance, fully_visible
from dancetomusic.data.tang2018 import load_dances

FPS = 24.0


def _dance(name: str, world: np.ndarray, bpm: float) -> Dance:
    """Poses whose frames are sixteenths of a beat at 90 BPM, danced at another tempo."""
    n_beats = world.shape[0] // 16
    beats = np.arange(n_beats + 1) * 60.0 / bpm
    at = np.arange(int(beats[-1] * FPS)) / FPS * bpm / 60.0 * 16
    below = np.minimum(at.astype(int), world.shape[0] - 2)
    share = (at - below)[:, None, None]
    poses = (world[below] * (1 - share) + world[below + 1] * share).astype(np.float32)
    return Dance(
        dance_id=name,
        genre="rumba",
        split="train",
        sync_quality="A",
        bpm=bpm,
        poses=fully_visible(poses, FPS),
        beat_times=beats,
        beats_per_bar=4,
        downbeat_known=True,
        figures=(),
        audio_path=Path("none"),
    )


def _movement(seed: int, n_beats: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    body = rng.normal(0.0, 0.3, (33, 3))
    at = np.arange(16 * n_beats)[:, None, None] / 16
    sizes, pace, start = rng.normal(0.0, 0.2, (3, 1, 33, 3))
    return body + sizes * np.sin(2 * np.pi * (at * (0.25 + np.abs(pace)) + start))


def test_a_take_is_known_from_another_side_at_another_tempo() -> None:
    shared, other = _movement(0), _movement(1)
    seen = _dance("a", shared, 90.0)
    again = _dance("b", np.concatenate([other, turn(shared.astype(np.float32), 2.0)]), 110.0)
    captures = find_captures([seen, again])
    both = captures.shared_with([1], [0])
    found = set(captures.first_beat[both].tolist())
    assert set(range(13, 12 + 11 - WINDOW_BEATS)) <= found <= set(range(12, 12 + 13 - WINDOW_BEATS))


def test_what_a_held_out_dance_shows_is_not_learned_from() -> None:
    shared, other = _movement(0), _movement(1)
    held_out = _dance("a", shared, 90.0)
    both = _dance("b", np.concatenate([other, shared]), 90.0)
    alone = _dance("c", other, 90.0)
    kept = capture_disjoint([both, alone], [held_out])
    seconds = np.arange(len(both.poses)) / FPS
    late = seconds >= both.beat_times[12]
    inside = late & (seconds < both.beat_times[23])
    assert kept[0].poses.present[~late].all() and not kept[0].poses.present[inside].any()
    assert not kept[0].poses.world[inside].any()
    assert kept[1].poses.present.all()
    assert [dance.dance_id for dance in kept] == ["b", "c"]


def test_dances_of_less_than_four_beats_have_no_capture() -> None:
    short = _dance("a", _movement(0, n_beats=3), 90.0)
    assert find_captures([short]).capture.size == 0
    assert capture_disjoint([short], [short])[0].poses.present.all()


@pytest.mark.slow
def test_three_in_four_windows_of_val_are_shared_with_train(shared_data: Path) -> None:
    dances = load_dances(shared_data / "tang2018")
    rumbas = [dance for dance in dances if dance.genre == "rumba"]
    train = [index for index, dance in enumerate(rumbas) if dance.split == "train"]
    val = [index for index, dance in enumerate(rumbas) if dance.split == "val"]
    captures = find_captures(rumbas)
    share = captures.shared_with(val, train).sum() / np.isin(captures.dance, val).sum()
    assert share == pytest.approx(0.77, abs=0.25)
