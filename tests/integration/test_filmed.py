"""Dances as the real MediaPipe reads them from real renderings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.models.wavenet.training_data import film_dances, procedural_dances
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.synthesis.filmed import film
from dancetomusic.types import POSE_FPS


def speeds(world):
    return np.linalg.norm(np.diff(world[:, (27, 28, 31, 32)], axis=0), axis=-1).mean(axis=1)


@pytest.mark.slow(13)
def test_a_filmed_dance_moves_as_the_dance_does(tmp_path, monkeypatch):
    dance = procedural_dances(1, 0)[0]
    seen = film(dance, tmp_path / "filmed", seconds=3.0)
    assert seen.poses.fps == POSE_FPS and len(seen.poses) == 3 * POSE_FPS
    assert seen.poses.present.mean() > 0.9 and seen.beat_times.max() < 3.0
    true = speeds(resample_poses(dance.poses, POSE_FPS).world[: len(seen.poses)])
    assert np.corrcoef(true, speeds(seen.poses.world))[0, 1] > 0.5

    def refuse(*args, **kwargs):
        raise AssertionError("it was rendered again")

    monkeypatch.setattr("dancetomusic.synthesis.filmed.render_frames", refuse)
    again = film(dance, tmp_path / "filmed", seconds=3.0)
    np.testing.assert_array_equal(again.poses.world, seen.poses.world)
    with pytest.raises(AssertionError, match="rendered again"):
        film(dance, tmp_path / "filmed", seconds=3.0, seed=1)


def test_as_many_are_filmed_as_are_asked_for(tmp_path, monkeypatch):
    filmed = []

    def remember(dance, cache, *, seconds, seed):
        filmed.append(dance.dance_id)
        return replace(dance, dance_id="filmed")

    monkeypatch.setattr("dancetomusic.models.wavenet.training_data.film", remember)
    made = procedural_dances(3, 0)
    assert film_dances(made, 0, tmp_path, 0) == []
    assert len(film_dances(made, 2, tmp_path, 0)) == 2 == len(set(filmed))
    assert len(film_dances(made, 9, tmp_path, 0)) == 3
