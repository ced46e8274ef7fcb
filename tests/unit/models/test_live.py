"""The grid that is played, ahead of the dance."""

import numpy as np
import pytest

from dancetomusic.models.live import BeatEstimate, PlayedGrid
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.features import features_at, rhythm_features


def test_the_beats_around_the_position_have_the_features_of_the_whole_grid() -> None:
    wanted = rhythm_features(steady_grid(100.0, 4.0, beats_per_bar=3), 75.0, 300)
    grid, beat = PlayedGrid(), BeatEstimate(bpm=100.0, beats_per_bar=3)
    for start in range(0, 300, 3):
        track = grid.track(beat, 0.5, 7.0)
        rows = features_at(track, 7.0 + np.arange(min(18, 300 - start)) / 75)
        assert np.abs(rows - wanted[start : start + 18]).max() < 1e-4
        grid.advance(3 / 75, beat)


def test_the_played_grid_is_pulled_to_the_dance_and_never_jumps_while_heard() -> None:
    grid = PlayedGrid()
    beat = BeatEstimate(bpm=120.0)
    grid.aim(10.3, at_once=True)
    assert grid.position == pytest.approx(10.3)
    steps = []
    for number in range(60):
        before = grid.position
        grid.advance(0.04, beat)
        grid.aim(beat.at(0.04 * (number + 1)) + 10.6)
        steps.append(grid.position - before)
    assert min(steps) > 0.0 and max(steps) < 0.15
    assert grid.position == pytest.approx(beat.at(2.4) + 10.6, abs=0.01)
