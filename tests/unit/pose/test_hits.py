"""Hits and rests of a dance."""

from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.pose.hits import HIT_APART_S, HITS_PER_S, find_hits, find_rests, visible_hits
from dancetomusic.types import PoseSequence

FPS = 24.0


def poses(world: np.ndarray, present: np.ndarray | None = None) -> PoseSequence:
    there = np.ones(len(world), bool) if present is None else present
    return PoseSequence(world.astype(np.float32), there, np.ones(world.shape[:2], np.float32), FPS)


def standing(n_frames: int) -> np.ndarray:
    world = np.zeros((n_frames, 33, 3))
    world[:, :, 1] = np.linspace(-0.8, 0.9, 33)
    return world


def swinging(n_frames: int, size: np.ndarray | float = 0.2) -> np.ndarray:
    world = standing(n_frames)
    seconds = np.arange(n_frames) / FPS
    world[:, 11:23, 0] += (size * np.sin(2 * np.pi * 1.5 * seconds))[:, None]
    return world


def with_punches(stops_s: list[float], sizes: list[float], n_frames: int = 240) -> PoseSequence:
    """Hands that fly out for a fifth of a second, stop dead, and drift back."""
    world = standing(n_frames)
    seconds = np.arange(n_frames) / FPS
    for stop, size in zip(stops_s, sizes, strict=True):
        out = np.clip((seconds - stop + 0.2) / 0.2, 0.0, 1.0) ** 2
        back = 0.5 - 0.5 * np.cos(np.pi * np.clip((seconds - stop - 0.3) / 1.8, 0.0, 1.0))
        world[:, 15:23, 2] += (size * (out - back))[:, None]
    return poses(world)


def test_hits_are_where_hands_stop_and_the_strongest_has_one():
    hits = find_hits([with_punches([2.0, 5.0, 8.0], [0.5, 0.8, 0.5])])
    assert hits.times == pytest.approx([2.0, 5.0, 8.0], abs=0.09)
    assert hits.strengths.argmax() == 1 and hits.strengths[1] == 1.0


def test_a_landing_is_a_hit():
    world = standing(240)
    seconds = np.arange(240) / FPS
    # The body falls a quarter of a metre within a fifth of a second, and rises slowly.
    drop = np.clip((seconds - 4.8) / 0.2, 0, 1) ** 2 - np.clip((seconds - 6.0) / 2.0, 0, 1)
    world[:, 27:33, 1] -= 0.25 * drop[:, None]
    hits = find_hits([poses(world)])
    assert np.abs(hits.times - 5.0).min() < 0.12


def test_hits_are_few_and_apart():
    rng = np.random.default_rng(0)
    restless = np.cumsum(rng.normal(0.0, 0.02, (480, 33, 3)), axis=0)
    hits = find_hits([poses(restless)])
    assert 1 <= len(hits) <= HITS_PER_S * 20 + 1
    assert np.diff(hits.times).min() >= HIT_APART_S - 1 / FPS


def test_a_cut_is_no_hit():
    world = np.concatenate([swinging(120), swinging(120) + 1.0])
    present = np.ones(240, bool)
    present[118:122] = False
    hits = find_hits([poses(world, present)])
    assert (np.abs(hits.times - 5.0) > 0.15).all()


def test_nobody_hits_nothing():
    assert len(find_hits([])) == 0
    assert len(find_hits([poses(standing(2))])) == 0
    assert len(find_hits([poses(standing(100), np.zeros(100, bool))])) == 0
    assert visible_hits([poses(standing(50))]).max() == 0.0


def test_a_rest_is_where_all_freeze():
    size = np.full(240, 0.2)
    moving, later = swinging(240, size), swinging(240, size)
    moving[96:120] = moving[96]
    later[102:130] = later[102]
    alone = find_rests([poses(moving)])
    assert alone == pytest.approx(np.array([[4.0, 5.0]]), abs=0.09)
    both = find_rests([poses(moving), poses(later)])
    assert both == pytest.approx(np.array([[4.25, 5.0]]), abs=0.09)


def test_standing_before_and_after_is_no_rest():
    world = swinging(240)
    world[:48] = world[48]
    world[200:] = world[200]
    assert find_rests([poses(world)]).shape == (0, 2)
    assert find_rests([]).shape == (0, 2)
